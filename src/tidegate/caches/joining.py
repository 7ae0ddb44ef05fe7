"""An answer that is made once and read by several clients, each at its own pace.

A Run has the batches of one answer. A task fills it, and its followers read it. As long as the run is kept, it has the
answer from its beginning, so that clients can join it at any time, also after its end. A run that may not grow any more
is no longer kept: it holds only what its slowest follower has not read yet, and the engine waits for that follower.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from tidegate.errors import DeadlineExceeded, GatewayError, Overloaded
from tidegate.kernel import sse
from tidegate.types import Answer, Batch, Headers, Piece, Reply

T = TypeVar("T")

PASSING_BYTES = 64 * 1024
"""What a run that is not kept holds at most, apart from the batch that arrived last."""
AT_ONCE_BYTES = 64 * 1024
"""A follower that is behind gets batches of about this size together."""
PIECE_BYTES = 500
"""The memory of a piece apart from its bytes; measured with events of one token."""

_UNREAD = Answer()


class Keeper(Protocol):
    """The memory that the runs of a process share."""

    def grown(self, run: Run[Any], by_bytes: int) -> bool:
        """Count the bytes of a run. Return whether the run may still be kept."""
        ...

    def shrunk(self, run: Run[Any], by_bytes: int) -> None:
        """Count bytes that a run has freed."""
        ...

    def ended(self, run: Run[Any]) -> None:
        """Take in that a run has ended."""
        ...


class Opening(NamedTuple):
    """What is known of a reply before its first batch."""

    media_type: bytes
    headers: Headers


class _Held(NamedTuple):
    size_bytes: int
    batch: Batch


class Run(Generic[T]):
    """One answer. `source` is what makes it, until nobody needs it any more. `error` is why the answer has failed.

    The followers are in the order in which they came. The owner starts the `task`, which calls `fill`.
    """

    def __init__(self, key: Hashable, keeper: Keeper, *, source: T, streamed: bool) -> None:
        self.key = key
        self.source: T | None = source
        self.followers: list[Follower[T]] = []
        self.task: asyncio.Task[None] | None = None
        self.opening: Opening | None = None
        self.kept = True
        self.ended = False
        self.error: GatewayError | None = None
        self._keeper = keeper
        self._streamed = streamed
        self._held: list[_Held] = []
        self._first = 0  # the number of batches that are no longer held
        self._held_bytes = 0
        self._room: asyncio.Future[None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing has arrived."""
        return not self._held and not self._first

    @property
    def held_bytes(self) -> int:
        """The memory of what is held, about."""
        return self._held_bytes

    # -- the side of the engine ----------------------------------------------------------------------------------------

    async def fill(self, asked: AbstractAsyncContextManager[Reply]) -> None:
        """Fill the run with a reply to its end. A GatewayError becomes that of the run."""
        try:
            async with asked as reply:
                self.opening = Opening(reply.media_type, reply.headers)
                self._wake()
                async for batch in reply.pieces:
                    await self._put(batch)
        except GatewayError as error:
            # The traceback has frames that keep this run.
            self._end(error.with_traceback(None))
        else:
            self._end()

    def stopped(self, task: asyncio.Task[None]) -> None:
        """End the run if its task has ended otherwise. A callback of the task."""
        if self.ended:
            return
        if task.cancelled():
            self._end(Overloaded("The call was stopped"))
        else:
            self._end(GatewayError("The gateway failed; the operator can find the cause in the log"))

    async def _put(self, batch: Batch) -> None:
        size_bytes = sum(map(_size, batch))
        self._held.append(_Held(size_bytes, batch))
        self._held_bytes += size_bytes
        if not self._keeper.grown(self, size_bytes):
            self.kept = False
        self._wake()
        if not self.kept:
            self._drop_read()
            if self._held_bytes > PASSING_BYTES:
                self._room = asyncio.get_running_loop().create_future()
                await self._room

    def _drop_read(self) -> None:
        """Forget what all followers have read."""
        read = min((one.at for one in self.followers), default=self._first) - self._first
        freed = sum(one.size_bytes for one in self._held[:read])
        del self._held[:read]
        self._first += read
        self._held_bytes -= freed
        self._keeper.shrunk(self, freed)

    def _end(self, error: GatewayError | None = None) -> None:
        self.ended, self.error = True, error
        self._wake()
        self._keeper.ended(self)

    def _wake(self) -> None:
        for one in self.followers:
            one.wake()

    # -- the side of the clients ---------------------------------------------------------------------------------------

    def join(self, client: T, left_s: Callable[[], float]) -> Follower[T]:
        """Return a new follower that reads the answer from its beginning.

        `left_s` returns how long the client may still wait. The follower has to leave in the end.
        """
        assert self.kept, "the beginning may be gone"
        follower = Follower(self, client, left_s)
        self.followers.append(follower)
        return follower

    def leave(self, follower: Follower[T]) -> None:
        """Remove a follower."""
        self.followers.remove(follower)
        if not self.kept:
            self._make_room()
        elif self.ended and not self.followers:
            self.source = None
            self._compact()

    def read(self, follower: Follower[T]) -> Batch | None:
        """Return the next batch of a follower, or several as one if it is behind. None if there is none yet."""
        held, begin = self._held, follower.at - self._first
        if begin >= len(held):
            return None
        size_bytes, end = held[begin].size_bytes, begin + 1
        while end < len(held) and size_bytes + held[end].size_bytes <= AT_ONCE_BYTES:
            size_bytes += held[end].size_bytes
            end += 1
        found = held[begin:end]
        follower.at += len(found)
        if not self.kept:
            self._make_room()
        return found[0].batch if len(found) == 1 else [piece for one in found for piece in one.batch]

    def _make_room(self) -> None:
        """Forget what all have read, and let the engine go on if there is room."""
        self._drop_read()
        if self._held_bytes <= PASSING_BYTES and self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _compact(self) -> None:
        """Keep only the bytes that are sent again."""
        pieces = [piece for held in self._held for piece in held.batch]
        batches: list[Batch]
        if self._streamed:
            events = b"".join([piece.event or sse.encode(piece.data) for piece in pieces])
            parts = [events[at : at + AT_ONCE_BYTES] for at in range(0, len(events), AT_ONCE_BYTES)]
            batches = [[Piece(b"", _UNREAD, part)] for part in parts]
        else:
            batches = [[Piece(piece.data, _UNREAD)] for piece in pieces]
        self._held = [_Held(sum(map(_size, batch)), batch) for batch in batches]
        before, self._held_bytes = self._held_bytes, sum(held.size_bytes for held in self._held)
        self._keeper.shrunk(self, before - self._held_bytes)


class Follower(Generic[T]):
    """One reader of a run: an iterator over its batches. `at` is the number of batches that it has read."""

    __slots__ = ("_left_s", "_run", "_woken", "at", "client")

    def __init__(self, run: Run[T], client: T, left_s: Callable[[], float]) -> None:
        self.client = client
        self.at = 0
        self._run = run
        self._left_s = left_s
        self._woken: asyncio.Future[None] | None = None

    async def opening(self) -> Opening:
        """Return the opening of the reply. Raises the GatewayError that refused it."""
        while self._run.opening is None:
            if self._run.error is not None:
                raise _same(self._run.error) from self._run.error.__cause__
            await self._wait()
        return self._run.opening

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        run = self._run
        while True:
            batch = run.read(self)
            if batch is not None:
                return batch
            if run.error is not None:
                raise _same(run.error) from run.error.__cause__
            if run.ended:
                raise StopAsyncIteration
            await self._wait()

    def wake(self) -> None:
        """Go on, because something has changed."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _wait(self) -> None:
        self._woken = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._left_s()):
                await self._woken
        except TimeoutError:
            raise DeadlineExceeded("The deadline passed before the engine had answered") from None
        finally:
            self._woken = None


def _size(piece: Piece) -> int:
    return len(piece.data) + len(piece.event or b"") + PIECE_BYTES


def _same(error: GatewayError) -> GatewayError:
    """Return a copy of an error. An error that is raised collects the frames of whoever raises it."""
    return copy.copy(error)
