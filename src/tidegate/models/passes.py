"""Passes of a model that several callers share: those under way, and the results of those that ended a short time ago.

Threads may share it, and event loops: a result is handed to the loop that waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from tidegate.errors import DeadlineExceeded
from tidegate.models.batching import Request
from tidegate.ports import Clock

T = TypeVar("T")
V = TypeVar("V")

MOST: Final = 1024
"""The most results that are remembered. One of 17 figures takes about 1.5 kB."""


class _Pass(Generic[T]):
    """A pass under way, and how many callers wait for it."""

    def __init__(self, request: Request[T]) -> None:
        self.request = request
        self.waiting = 0


class Passes(Generic[T, V]):
    """The passes of one model. `value_of` makes the result of a pass of what the model gave for its texts."""

    def __init__(
        self,
        begin: Callable[[Sequence[str], float], Request[T]],
        value_of: Callable[[list[Sequence[T]]], V],
        clock: Clock,
    ) -> None:
        self._begin = begin
        self._value_of = value_of
        self._clock = clock
        self._lock = threading.Lock()  # guards the next two attributes
        self._running: dict[bytes, _Pass[T]] = {}
        self._ended: OrderedDict[bytes, tuple[float, V]] = OrderedDict()

    async def result(self, key: bytes, texts: Sequence[str], *, until: float, fresh_s: float) -> V:
        """Return the result for some texts, whose key is `key`: of a pass under way, if there is one.

        A result that is not older than `fresh_s` seconds is returned at once; with 0, none is. A pass goes on as long as
        somebody waits for it. Raises DeadlineExceeded at the time `until`, and what a request raises.
        """
        while True:
            with self._lock:
                ended = self._ended.get(key)
                if ended is not None and ended[0] + fresh_s > self._clock():
                    self._ended.move_to_end(key)
                    return ended[1]
                joined = self._joined(key, texts, until)
            try:
                await waited(joined.request.future, until - self._clock())
                value = self._value_of(joined.request.future.result())
            except DeadlineExceeded:
                if self._clock() >= until or not joined.request.future.done():
                    raise
                continue  # it ended by the time of those who came before
            finally:
                self._leave(key, joined)
            self._remember(key, value)
            return value

    def _joined(self, key: bytes, texts: Sequence[str], until: float) -> _Pass[T]:
        """Return the pass with this key, which one more caller waits for now."""
        found = self._running.get(key)
        if found is None or found.request.future.done():
            found = self._running[key] = _Pass(self._begin(texts, until))
        request = found.request
        request.until = max(request.until, until)
        found.waiting += 1
        return found

    def _leave(self, key: bytes, left: _Pass[T]) -> None:
        with self._lock:
            left.waiting -= 1
            if left.waiting:
                return
            if self._running.get(key) is left:
                del self._running[key]
        left.request.future.cancel()  # which has no effect on one that has ended

    def _remember(self, key: bytes, value: V) -> None:
        with self._lock:
            self._ended[key] = self._clock(), value
            self._ended.move_to_end(key)
            if len(self._ended) > MOST:
                self._ended.popitem(last=False)


async def waited(future: Future[T], within_s: float) -> None:
    """Wait until a future is done, and leave it alone if this is cancelled. Raises DeadlineExceeded if it takes longer."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits in it
            loop.call_soon_threadsafe(_end, over)

    future.add_done_callback(wake)
    late = None if within_s == float("inf") else loop.call_later(within_s, _end, over)
    try:
        await over
    finally:
        if late is not None:
            late.cancel()
    if not future.done():
        raise DeadlineExceeded("The model did not read the text in its time")


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
