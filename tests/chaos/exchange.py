"""One request of a client and what became of it, whichever way the bytes travel."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Protocol

from tidegate.errors import DeadlineExceeded, Overloaded, RateLimited, UpstreamBusy

_OVERLAP = 16
_CODE = re.compile(rb'"code": ?"([a-z_]+)"')
STATUS_OF = {kind.code: kind.status for kind in (Overloaded, UpstreamBusy, DeadlineExceeded, RateLimited)}
"""The statuses of errors that arrive as the last event of a stream, after a 200."""


def body(marker: str, *, words: int = 0, **more: object) -> bytes:
    """A streamed chat request whose marker tells the scripted engine what to do. `words` make the prompt longer."""
    text = f"[[scripted {marker}]]{' tide' * words}"
    fields = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}], **more}
    return json.dumps(fields).encode()


def request(content: bytes, key: str, *headers: str) -> bytes:
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        "connection: close",
        "content-type: application/json",
        f"authorization: Bearer {key}",
        f"content-length: {len(content)}",
        *headers,
    )
    return "\r\n".join([*lines, "", ""]).encode() + content


class Exchange:
    """A request on a connection of its own. `begun` ends with the first content or the end, `ended` with the end.

    `status` is that of the answer; for an error within a stream, the status that the error stands for. It is 0 before the
    answer and for a connection that ended without one.
    """

    def __init__(self, clock: Callable[[], float], close: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._clock = clock
        self._close = close
        self.left_at: float | None = None
        self.sent_at = clock()
        self.first_at: float | None = None
        self.ended_at: float | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.whole = False
        self.code = ""
        self.events = 0
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._head = b""
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take in bytes of the answer."""
        if not self.status:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._read_head(head.decode())
        seen = self._tail + data
        self._tail = seen[-_OVERLAP:]
        if self.status != 200:
            self._note_error(seen)
            return
        found = data.count(b'"choices"') or (b'"choices"' in seen and self.first_at is None)
        if found:
            self.events += int(found)
            if self.first_at is None:
                self.first_at = self._clock()
                _finish(self.begun)
        if b"[DONE]" in seen:
            self.whole = True
        elif b'"error"' in seen:
            self._note_error(seen)
            self.status = STATUS_OF.get(self.code, 502)

    def leave(self) -> None:
        """Close the connection from the client's side."""
        if self.ended_at is None:
            self.left_at = self._clock()
            self._close()

    def closed(self) -> None:
        """Take in the end of the connection."""
        if self.ended_at is None:
            self.ended_at = self._clock()
            if self.status == 200 and not self.whole and self.left_at is None:
                self.status = 502
            _finish(self.begun)
            _finish(self.ended)

    def _note_error(self, seen: bytes) -> None:
        if found := _CODE.search(seen):
            self.code = found[1].decode()

    def _read_head(self, head: str) -> None:
        line, *lines = head.split("\r\n")
        self.status = int(line.split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}

    @property
    def retry_after_s(self) -> float | None:
        """When to come back, as OpenAI's client reads it."""
        if ms := self.headers.get("retry-after-ms"):
            return float(ms) / 1000
        after = self.headers.get("retry-after")
        return None if after is None else float(after)

    @property
    def waits_ms(self) -> tuple[float, float] | None:
        """The predicted and the real wait of `x-tidegate-queue`, for a call that waited and was served."""
        pairs = (part.partition("=") for part in self.headers.get("x-tidegate-queue", "").split(";"))
        told = {name.strip(): value.strip() for name, _, value in pairs}
        if "predicted_ms" not in told or "waited_ms" not in told:
            return None
        return float(told["predicted_ms"]), float(told["waited_ms"])


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Door(Protocol):
    """The way to a gateway."""

    def clock(self) -> float:
        """Seconds."""
        ...

    def send(self, content: bytes, key: str, *headers: str) -> Exchange:
        """Send a request on a new connection. Its `leave` closes it."""
        ...

    def memory_mib(self) -> float | None:
        """The largest resident memory of the gateway's process so far; None if it has no process of its own."""
        ...

    async def engine_most(self) -> int:
        """The most calls that the engine has had at once."""
        ...
