"""Access tokens of a service account of Google Cloud: fetched with a signed assertion, and renewed before they expire.

This is the JWT bearer grant (RFC 7523) as Google describes it in "Using OAuth 2.0 for server to server applications".
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from tidegate.config import urls
from tidegate.ports import Clock, Services, Wall
from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.remote.service import RemoteConfig, Service
from tidegate.types import Scene

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE_S = 3600
_EARLY_S = 300.0
"""A token is renewed so long before it expires. If that fails, it is used until its end."""


class GoogleToken:
    """The access token of one service account."""

    def __init__(self, config: RemoteConfig, path: Path) -> None:
        """Read the key of the service account. Raises ValueError if the file has none."""
        try:
            account = _ACCOUNT.decode(path.read_bytes())
            audience = urls.check_trusted(account.token_uri)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"service_account_path: {path} is not the key of a service account") from error
        except ValueError as error:
            raise ValueError(f"service_account_path: the token_uri in {path} {error}") from error
        self._account = account
        self._key = _key_of(account, path)
        parts = urlsplit(audience)
        self._path = parts.path.removeprefix("/")
        at = config.model_copy(update={"url": f"{parts.scheme}://{parts.netloc}"})
        self._service = Service(at, [], content_type=b"application/x-www-form-urlencoded")
        self._renewing = asyncio.Lock()
        self._token = ""
        self._until = 0.0
        self._clock: Clock
        self._wall: Wall

    async def open(self, services: Services) -> None:
        """Prepare the connections. No token is fetched before the first check."""
        self._clock, self._wall = services.clock, services.wall
        await self._service.open(services)

    async def close(self) -> None:
        """Drop every connection."""
        await self._service.close()

    async def current(self, scene: Scene) -> str:
        """Return a token that is valid. Raises NoAnswer if none can be fetched."""
        if self._clock() < self._until - _EARLY_S:
            return self._token
        async with self._renewing:
            if self._clock() < self._until - _EARLY_S:
                return self._token  # another check has renewed it
            try:
                await self._renew(scene)
            except NoAnswer as error:
                if self._clock() < self._until:
                    return self._token
                raise NoAnswer(f"no access token for service_account_path: {error}") from error
        return self._token

    async def _renew(self, scene: Scene) -> None:
        asked_at = self._clock()
        body = urlencode({"grant_type": _GRANT, "assertion": self._assertion()}).encode()
        answer = await self._service.post(self._path, body, scene, [])
        try:
            found = _ANSWER.decode(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NoAnswer("the answer of token_uri has no token") from error
        if not found.access_token.isprintable() or not found.access_token.isascii():
            raise NoAnswer("the answer of token_uri has no token")
        self._token, self._until = found.access_token, asked_at + found.expires_in

    def _assertion(self) -> str:
        from joserfc import jwt  # noqa: PLC0415 - takes 11 MB, which a gateway without tokens saves

        now = int(self._wall())
        header: dict[str, Any] = {"alg": "RS256", "typ": "JWT"}
        if self._account.private_key_id:
            header["kid"] = self._account.private_key_id
        claims: dict[str, Any] = {
            "iss": self._account.client_email,
            "scope": _SCOPE,
            "aud": self._account.token_uri,
            "iat": now,
            "exp": now + _LIFE_S,
        }
        return jwt.encode(header, claims, self._key)


class _Account(msgspec.Struct):
    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float


_ACCOUNT = msgspec.json.Decoder(_Account)
_ANSWER = msgspec.json.Decoder(_Answer)


def _key_of(account: _Account, path: Path) -> Any:
    from joserfc.jwk import RSAKey  # noqa: PLC0415 - see `_assertion`

    try:
        return RSAKey.import_key(account.private_key)
    except ValueError as error:
        raise ValueError(f"service_account_path: the private_key in {path} cannot be used") from error
