"""A service that a rail asks over HTTP: its settings, and one way to ask it.

A request is sent a second time after a connection that failed, a 429 or a 5xx, if the rail's time and a budget of retries
allow it. A breaker keeps calls away for a while from a service that has failed too often. What a service answers is never
quoted in an error: it may repeat the text under check, or the key.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from pydantic import AfterValidator, Field

from tidegate.config import ConnectionConfig, TimeoutsConfig
from tidegate.config.rails import RailConfig
from tidegate.egress.exchange import Client, Exchange, Headers, Target
from tidegate.egress.open import open_client, own_headers
from tidegate.errors import DeadlineExceeded, GatewayError, UpstreamTimeout, UpstreamUnreachable
from tidegate.kernel.backoff import Backoff
from tidegate.kernel.breaker import Breaker
from tidegate.kernel.retrybudget import RetryBudget
from tidegate.ports import Clock, Services
from tidegate.rails.asked.asking import NoAnswer
from tidegate.types import Scene

log = logging.getLogger(__name__)

JSON = b"application/json"
_SHARE = 0.95
"""The part of a rail's `timeout_ms` that the service gets, so that the rail can still say why it has no verdict."""
_PAUSE = Backoff(base_s=0.05)
_LONGEST_WAIT_S = 1.0
"""A service that asks to be left alone for longer is not asked again by the same check."""
_SERVER_ERRORS = 500
_FIXES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "check the credentials, `api_key`",
    HTTPStatus.FORBIDDEN: "check the rights of the credentials, `api_key`",
    HTTPStatus.NOT_FOUND: "check `url`, and what else the settings name",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "put the user and the password of the proxy into `proxy`",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the text is longer than the service takes",
    HTTPStatus.TOO_MANY_REQUESTS: "raise the quota of the account, or `cache_s`",
}


def shaped(pattern: str, example: str) -> AfterValidator:
    """Return a check that a whole text matches a pattern. Its message has the example."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must look like {example}")
        return text

    return AfterValidator(check)


class RemoteConfig(ConnectionConfig, RailConfig):
    """A rail that asks a service over HTTP."""

    max_connections: int = Field(
        default=64,
        gt=0,
        description="Largest number of connections to the service; further checks wait in line.",
    )
    max_response_bytes: int = Field(
        default=2**20, gt=0, description="Largest answer of the service. A larger one is no verdict."
    )
    timeouts: TimeoutsConfig = Field(
        default=TimeoutsConfig(connect_ms=1000, first_byte_ms=2500, idle_ms=2500, total_ms=2500),
        description="How long the service may be silent. Default: 1 s to connect and 2.5 s in all, which is less than"
        " `rails.judge_budget_ms`.",
    )
    retries: int = Field(
        default=1,
        ge=0,
        le=1,
        description="How often a request is sent again after a failed connection, a 429 or a 5xx. In addition, at most a"
        " tenth of the requests of late may be sent again.",
    )
    cache_s: float = Field(
        default=300,
        ge=0,
        description="How long the verdict on the same content is remembered, in seconds; 0 asks every time.",
    )


class _Failure(NamedTuple):
    """Why there is no answer. `again` says that a second try may help, after `wait_s` seconds at the least."""

    why: str
    again: bool = True
    wait_s: float = 0.0


class Service:
    """The service of one rail."""

    def __init__(
        self, config: RemoteConfig, headers: Headers | None = None, *, content_type: bytes = JSON
    ) -> None:
        """`headers` replace those that the settings give, `api_key` as a bearer token and `headers`."""
        self._rail = config.name or config.kind
        self._config = config
        sent = own_headers(config) if headers is None else headers
        self._headers: Headers = [(b"content-type", content_type), *sent]
        self._limit_s = _SHARE * config.timeout_ms / 1000 if config.timeout_ms else float("inf")
        self._targets: dict[tuple[str, str], Target] = {}
        self._breaker = Breaker()
        self._budget = RetryBudget()
        self._client: Client
        self._clock: Clock

    async def open(self, services: Services) -> None:
        """Prepare the connections. No request is sent. Raises ValueError for files of certificates that cannot be used."""
        self._clock = services.clock
        try:
            # In a thread, since it reads the system's authorities.
            self._client = await asyncio.to_thread(open_client, self._config)
        except OSError as error:
            raise ValueError("the files of ca_path or client_certificate_path cannot be used") from error

    async def close(self) -> None:
        """Drop every connection."""
        await self._client.close()

    async def post(
        self, path: str, body: bytes, scene: Scene, headers: Headers, method: str = "POST"
    ) -> bytes:
        """Send a request to a path below the URL and return the body of the answer, whose status is a success.

        `headers` are sent in addition. Raises NoAnswer, whose message has the status and the setting to look at.
        """
        target = self._targets.get((method, path))
        if target is None:
            target = self._client.target(method, path, self._headers)
            self._targets[method, path] = target
        until = min(scene.deadline, self._clock() + self._limit_s)
        self._budget.requested()
        found = await self._once(target, headers, body, until)
        if isinstance(found, _Failure) and self._retries(found, until):
            await asyncio.sleep(found.wait_s)
            found = await self._once(target, headers, body, until)
        if isinstance(found, _Failure):
            raise NoAnswer(found.why)
        return found

    def _retries(self, failure: _Failure, until: float) -> bool:
        in_time = failure.wait_s <= _LONGEST_WAIT_S and self._clock() + failure.wait_s < until
        return bool(self._config.retries) and failure.again and in_time and self._budget.take()

    async def _once(self, target: Target, headers: Headers, body: bytes, until: float) -> bytes | _Failure:
        now, breaker = self._clock(), self._breaker
        if not breaker.allows(now):
            return _Failure("the service at `url` has failed too often and is not asked for now", again=False)
        probe = breaker.begins(now)
        try:
            found = await self._sent(target, headers, body, until - now)
        except GatewayError as error:
            found = _Failure(_why(error), again=isinstance(error, UpstreamUnreachable))
            self._failed(found, probe=probe)
        except asyncio.CancelledError:
            breaker.abandoned(probe=probe)
            raise
        else:
            if isinstance(found, _Failure) and found.again:
                self._failed(found, probe=probe)
            else:
                breaker.succeeded(self._clock(), probe=probe)
        return found

    def _failed(self, failure: _Failure, *, probe: bool) -> None:
        if self._breaker.failed(self._clock(), probe=probe):
            log.warning("the rail '%s' does not ask its service for a while: %s", self._rail, failure.why)

    async def _sent(self, target: Target, headers: Headers, body: bytes, within_s: float) -> bytes | _Failure:
        exchange = await self._client.send(target, headers, body, within_s)
        try:
            status = exchange.status
            if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                return _refused(exchange)
            return await self._whole(exchange)
        finally:
            await exchange.close()

    async def _whole(self, exchange: Exchange) -> bytes | _Failure:
        body = bytearray()
        while data := await exchange.read():
            body += data
            if len(body) > self._config.max_response_bytes:
                return _Failure("the service answered with more than `max_response_bytes`", again=False)
        return bytes(body)


def further_headers(config: RemoteConfig) -> Headers:
    """Return the `headers` of the settings, for a service that does not take its key as a bearer token."""
    return [
        (name.lower().encode(), value.get_secret_value().encode()) for name, value in config.headers.items()
    ]


def _refused(exchange: Exchange) -> _Failure:
    status = exchange.status
    fix = _FIXES.get(status)
    why = f"the service answered with status {status}" + (f": {fix}" if fix else "")
    again = status == HTTPStatus.TOO_MANY_REQUESTS or status >= _SERVER_ERRORS
    said = dict(exchange.headers).get(b"retry-after", b"").strip()
    wait_s = _PAUSE.delay(2)
    if said:  # a date means seconds at the least, which no check waits for
        wait_s = max(wait_s, float(said[:9])) if said.isdigit() else float("inf")
    return _Failure(why, again, wait_s)


def _why(error: GatewayError) -> str:
    if isinstance(error, UpstreamUnreachable):
        return "the service cannot be reached: check `url`, and `proxy` if there is one"
    if isinstance(error, DeadlineExceeded | UpstreamTimeout):
        return "the service did not answer within `timeouts` and `timeout_ms`"
    return "the service broke off its answer"
