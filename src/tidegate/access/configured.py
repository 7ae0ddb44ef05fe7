"""The keys of a configuration, found by the digests of their secrets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Protocol

from pydantic import SecretStr

from tidegate.access.keys import Peppers
from tidegate.config import Config, KeyConfig
from tidegate.types import Caller, Key, Secret
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, METRICS

ADMIN_TOKEN = "admin.token"  # noqa: S105 - its name
"""The name of the key that the setting `admin.token` makes."""
_ADMIN_SCOPES = frozenset({ADMIN_READ, ADMIN_WRITE, METRICS})


class Keys(Protocol):
    """Finds keys. The id of a configured key is the digest of its secret in hex digits."""

    def find(self, id: str) -> Key | None: ...


def peppers_of(config: Config) -> Peppers:
    """Return the configured pepper, or a new random one, whose digests are of no use after the end of the process."""
    pepper = config.auth.pepper
    return Peppers([secrets.token_bytes(32) if pepper is None else pepper.get_secret_value().encode()])


class Configured:
    """The keys of one configuration, `admin.token` among them. Satisfies `Keys`."""

    def __init__(self, config: Config, peppers: Peppers) -> None:
        """`peppers` are those of `peppers_of`."""
        self.by_name = dict(_keys(config, peppers))
        self._by_id = {key.id: key for key in self.by_name.values()}

    def find(self, id: str) -> Key | None:
        """See `Keys`."""
        return self._by_id.get(id)


def _keys(config: Config, peppers: Peppers) -> Iterator[tuple[str, Key]]:
    for name, settings in config.keys.items():
        digest = bytes.fromhex(settings.digest) if settings.digest else _digest(peppers, settings.secret)
        yield name, _key(name, settings, digest)
    if config.admin.token is not None:
        digest = _digest(peppers, config.admin.token)
        caller = Caller(key=ADMIN_TOKEN, scopes=_ADMIN_SCOPES)
        yield ADMIN_TOKEN, Key(id=digest.hex(), name=ADMIN_TOKEN, secrets=(Secret(digest),), caller=caller)


def _digest(peppers: Peppers, secret: SecretStr | None) -> bytes:
    assert secret is not None, "the settings of a key have its secret or the digest of that"
    return peppers.digest(secret.get_secret_value())


def _key(name: str, settings: KeyConfig, digest: bytes) -> Key:
    return Key(
        id=digest.hex(),
        name=name,
        secrets=(Secret(digest),),
        caller=Caller(
            key=name,
            user=settings.user or "",
            team=settings.team or "",
            organisation=settings.organisation or "",
            scopes=frozenset(settings.scopes),
        ),
        policy=settings.policy or "",
        models=settings.models,
        expires_at=settings.expires_at.timestamp() if settings.expires_at else None,
    )
