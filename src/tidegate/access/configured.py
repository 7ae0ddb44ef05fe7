"""The keys of a configuration."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from tidegate.access.keys import Peppers
from tidegate.config import Config, KeyConfig
from tidegate.types import Caller, Key, Secret
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, METRICS, REVIEW

ADMIN_TOKEN = "admin.token"  # noqa: S105 - its name
"""The name of the key that the setting `admin.token` makes."""
_ADMIN_SCOPES = frozenset({ADMIN_READ, ADMIN_WRITE, METRICS, REVIEW})


def peppers_of(config: Config) -> Peppers:
    """Return the configured peppers, or a new random one, whose digests are of no use after the end of the process."""
    if config.auth.pepper is None:
        return Peppers([secrets.token_bytes(32)])
    return Peppers([pepper.get_secret_value().encode() for pepper in config.auth.pepper])


def configured_keys(config: Config, peppers: Peppers) -> Mapping[str, Key]:
    """Return the keys of a configuration by their names, `admin.token` among them. `peppers` are those of `peppers_of`.

    The id of such a key is the digest of its secret in hex digits.
    """
    return dict(_keys(config, peppers))


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
