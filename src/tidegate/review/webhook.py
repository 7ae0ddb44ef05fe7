"""Tells a URL of each new case, in the background: signed, and again after a failure.

The body has no text of a call: who needs the texts reads them with the scope `review`. The signature is HMAC-SHA256 (RFC
2104) over the time, a dot and the body, so that a message cannot be sent again later.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from urllib.parse import urlsplit

import msgspec

from tidegate.config.review import WebhookConfig
from tidegate.egress.exchange import Client, Timeouts
from tidegate.egress.pool import HttpClient
from tidegate.errors import GatewayError
from tidegate.kernel.backoff import Backoff
from tidegate.ports import Spawn, Wall
from tidegate.types import Case

TRIES = 8
"""How often a case is told: within about two minutes."""
MOST_WAITING = 1000
"""How many cases may wait until the URL takes them. Of more, it is not told."""
BACKOFF = Backoff(base_s=1.0, cap_s=60.0)
"""The pauses between the tries."""
_TIMEOUTS = Timeouts(connect=5.0, first_byte=10.0, idle=10.0, total=15.0)
_CONNECTIONS = 4
_TEXTS = ("question", "text")

log = logging.getLogger(__name__)


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the value of `x-tidegate-signature`. `at` is the value of `x-tidegate-timestamp`, seconds since the epoch."""
    return "sha256=" + hmac.new(secret.encode(), b"%d." % at + body, "sha256").hexdigest()


class Webhook:
    """Tells the URL."""

    def __init__(
        self,
        config: WebhookConfig,
        told: dict[str, int],
        *,
        wall: Wall,
        spawn: Spawn,
        backoff: Backoff = BACKOFF,
    ) -> None:
        """`told` counts the cases by what became of their messages: `sent`, `failed` and `dropped`."""
        self._told = told
        parts = urlsplit(config.url)
        self._client: Client = HttpClient(
            f"{parts.scheme}://{parts.netloc}", _TIMEOUTS, max_connections=_CONNECTIONS, proxy=config.proxy
        )
        path = parts.path.removeprefix("/") + (f"?{parts.query}" if parts.query else "")
        fixed = [(b"content-type", b"application/json"), (b"user-agent", b"tidegate")]
        self._target = self._client.target("POST", path, fixed)
        self._secret = config.secret.get_secret_value()
        self._wall = wall
        self._backoff = backoff
        self._spawn = spawn
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, case: Case) -> None:
        """Begin to tell of a case. Never waits."""
        if len(self._tasks) >= MOST_WAITING:
            self._told["dropped"] += 1
            return
        task = self._spawn(self._tell(case), name=f"tell of {case.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def _tell(self, case: Case) -> None:
        told = {name: value for name, value in msgspec.to_builtins(case).items() if name not in _TEXTS}
        body = msgspec.json.encode({"event": "case.created", "case": told})
        why = ""
        for failures in range(1, TRIES + 1):
            why = await self._sent(body)
            if not why:
                self._told["sent"] += 1
                return
            if failures < TRIES:
                await asyncio.sleep(self._backoff.delay(failures + 1))
        self._told["failed"] += 1
        log.warning("the webhook was not told of %s after %d tries: %s", case.id, TRIES, why)

    async def _sent(self, body: bytes) -> str:
        """Send a body once. Returns why that failed; empty if the answer is a success."""
        at = int(self._wall())
        headers = [
            (b"x-tidegate-timestamp", b"%d" % at),
            (b"x-tidegate-signature", signature(self._secret, at, body).encode()),
        ]
        try:
            exchange = await self._client.send(self._target, headers, body, _TIMEOUTS.total)
            status = exchange.status
            await exchange.close()
        except GatewayError as error:
            return error.message.replace("the engine", "the receiver")
        return "" if 200 <= status < 300 else f"it answers with status {status}"
