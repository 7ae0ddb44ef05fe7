"""The issuer of tokens: fetches its keys, and keeps them for as long as they may be used.

The keys are fetched in the background before they get old. A token that names an unknown key has them fetched at once, but
not more often than every 30 s, however many such tokens come; all that wait share one fetch. While the issuer does not
answer, the keys stay in use for `max_stale_s` more, and after that no token can be checked.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from tidegate.access.jwt.form import Refused
from tidegate.access.jwt.signers import Poisoned, PublicKey, Signers, signers_of
from tidegate.config import JwtConfig, urls
from tidegate.egress.exchange import Exchange, Headers, Timeouts
from tidegate.egress.pool import HttpClient
from tidegate.egress.tls import TlsFiles
from tidegate.errors import GatewayError, Overloaded, UpstreamError
from tidegate.ports import Clock, Spawn
from tidegate.telemetry.causes import cause_of, one_line

FRESH_S = 300.0
"""How often the keys are fetched in the background."""
AGAIN_S = 30.0
"""The least time between two fetches."""
FETCH_S = 5.0
"""The longest time of a fetch."""
MOST_BYTES = 256 * 1024
"""The largest answer. The largest key sets of public issuers have some 30 KB."""
DISCOVERY = ".well-known/openid-configuration"
"""Where an issuer describes itself (OpenID Connect Discovery 1.0, 4)."""

_TIMEOUTS = Timeouts(FETCH_S, FETCH_S, FETCH_S, FETCH_S)
_HEADERS: Headers = [(b"accept", b"application/json"), (b"user-agent", b"tidegate")]

log = logging.getLogger(__name__)


class _Described(msgspec.Struct, frozen=True):
    """What an issuer says of itself."""

    issuer: str
    jwks_uri: str


class Issuer:
    """The keys of one issuer. `open` starts the background task, and `close` ends it."""

    def __init__(self, config: JwtConfig, *, clock: Clock, spawn: Spawn) -> None:
        self.signers: Signers | None = None
        """The keys of the last good fetch. It stays the same object for as long as no key changes."""
        self.good_until = -math.inf
        """When the keys can no longer be used, in seconds of the clock."""
        self._config = config
        self._clock = clock
        self._spawn = spawn
        self._url = config.jwks_url
        self._tried_at = -math.inf
        self._why = ""  # why the last fetch failed
        self._fetching: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[NoReturn] | None = None

    def open(self) -> None:
        """Start to fetch the keys. Does not wait for them: without them, no token is accepted."""
        self._keeping = self._spawn(self._keep_fresh(), name="keep the issuer's keys fresh")

    async def close(self) -> None:
        """End the background tasks."""
        for task in (self._keeping, self._fetching):
            if task is not None:
                task.cancel()

    async def signer(self, kid: str | None, alg: str) -> PublicKey:
        """Return the key that a token names.

        Raises Refused if the issuer has no such key, and Overloaded if that cannot be known because the issuer does not
        answer. What the issuer said up to 30 s ago counts, so that senders of invented names cannot make the gateway ask.
        """
        if (found := self._find(kid, alg)) is None:
            await self._refresh()
            found = self._find(kid, alg)
        if found is not None:
            return found
        if self._why or self._clock() >= self.good_until:
            wait_s = max(1.0, self._tried_at + AGAIN_S - self._clock())
            raise Overloaded(
                "The token cannot be checked now: its issuer's keys cannot be fetched", retry_after_s=wait_s
            )
        raise Refused("its issuer has no such key" if kid else "it does not name one of several keys (kid)")

    def _find(self, kid: str | None, alg: str) -> PublicKey | None:
        if self.signers is None or self._clock() >= self.good_until:
            return None
        return self.signers.find(kid, alg)

    async def _keep_fresh(self) -> NoReturn:
        while True:
            await self._refresh()
            await asyncio.sleep(AGAIN_S if self._why else FRESH_S)

    async def _refresh(self) -> None:
        """Fetch the keys, or wait for the fetch that runs. Does nothing where the last one is less than 30 s ago."""
        if self._fetching is None:
            now = self._clock()
            if now < self._tried_at + AGAIN_S:
                return
            self._tried_at = now
            self._fetching = self._spawn(self._fetch(), name="fetch the issuer's keys")
        await asyncio.wait([self._fetching])  # which goes on if a caller leaves

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                signers = await self._fetched()
        except TimeoutError:
            self._failed(f"timed out after {FETCH_S:g} s")
        except Poisoned as error:
            self._failed(f"the answer {error.why}")
        except (GatewayError, OSError) as error:
            self._failed(cause_of(error))
        else:
            self._succeeded(signers)
        finally:
            self._fetching = None

    async def _fetched(self) -> Signers:
        if self._url is None:
            self._url = await self._discovered()
        answer = await self._get(self._url)
        return await asyncio.to_thread(signers_of, answer)  # a hundred keys take milliseconds

    async def _discovered(self) -> str:
        issuer = self._config.issuer
        answer = await self._get(f"{issuer.rstrip('/')}/{DISCOVERY}")
        try:
            described = msgspec.json.decode(answer, type=_Described)
            url = urls.check_trusted(described.jwks_uri)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Poisoned(f"to {DISCOVERY} is not the description of an issuer") from error
        except ValueError as error:
            raise Poisoned(f"to {DISCOVERY} has a jwks_uri that {error}") from error
        if described.issuer != issuer:
            raise Poisoned(f"to {DISCOVERY} describes another issuer than auth.jwt.issuer")
        if urls.is_local(url) and not urls.is_local(issuer):
            raise Poisoned(f"to {DISCOVERY} has a jwks_uri that leads to this machine")
        return url

    async def _get(self, url: str) -> bytes:
        """Return the body of the answer. Redirects are not followed: the answer is to come from where it was asked for."""
        parts = urlsplit(url)
        path = f"{parts.path.lstrip('/')}?{parts.query}" if parts.query else parts.path.lstrip("/")
        # A client for each fetch: the next one is minutes away. Making it reads the system's authorities.
        client = await asyncio.to_thread(
            HttpClient,
            f"{parts.scheme}://{parts.netloc}",
            _TIMEOUTS,
            max_connections=1,
            files=TlsFiles(self._config.ca_path),
        )
        try:
            exchange = await client.send(client.target("GET", path, _HEADERS), [], b"", FETCH_S)
            if exchange.status != 200:
                raise UpstreamError(f"answered with status {exchange.status}")
            return await _whole(exchange)
        finally:
            await client.close()

    def _succeeded(self, signers: Signers) -> None:
        if self._why:
            log.info("the keys of the issuer %s can be fetched again", self._named)
        if self.signers is None or not signers.same(self.signers):
            log.info("the issuer %s has %d keys for signatures", self._named, len(signers))
            self.signers = signers
        self._why = ""
        self.good_until = self._clock() + FRESH_S + self._config.max_stale_s

    def _failed(self, why: str) -> None:
        self._url = self._config.jwks_url  # which may have changed
        if why != self._why:
            left_s = self.good_until - self._clock()
            effect = f"known keys stay in use for {left_s:.0f} s" if left_s > 0 else "no token can be checked"
            log.warning(
                "the keys of the issuer %s cannot be fetched: %s; %s", self._named, one_line(why), effect
            )
        self._why = why

    @property
    def _named(self) -> str:
        return one_line(self._config.issuer)


async def _whole(exchange: Exchange) -> bytes:
    body = bytearray()
    while data := await exchange.read():
        body += data
        if len(body) > MOST_BYTES:
            raise Poisoned(f"is larger than {MOST_BYTES} bytes")
    return bytes(body)
