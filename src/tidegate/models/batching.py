"""Runs a model in a thread of its own, off the event loop, with texts of several calls in a batch.

One worker thread owns the model. While the thread runs a batch, the texts of other calls wait in a queue. Then the thread
takes the next batch, one text from each call in turn, so that a long list never delays a short one. The thread never waits
for a batch to fill. Importing this module is cheap: a model is loaded with the first text, or with `load`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from tidegate.errors import DeadlineExceeded, GatewayError, Overloaded, UpstreamError
from tidegate.ports import Clock

NICER: Final = 4
"""How much nicer the worker's thread is than its process: with 4, it has two fifths as much of a core that both want."""


class Row(Protocol):
    """What a model reads at once: the token ids of a text, or of a part of one."""

    @property
    def ids(self) -> list[int]: ...


R = TypeVar("R", bound=Row)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Model(Protocol[R, T_co]):
    """A model as its worker sees it. Only the worker's thread calls these methods, and `unload` once the thread has ended.

    `name` is what messages call it, such as `embedding model`. `load` does nothing if the model is loaded. `rows` returns
    what is read of one text, at least one row, and `run` one result for each row.
    """

    name: str

    def load(self) -> None: ...
    def rows(self, text: str) -> Sequence[R]: ...
    def run(self, rows: Sequence[R]) -> Sequence[T_co]: ...
    def unload(self) -> None: ...


_UNREADABLE: Final = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, GatewayError)
"""What reading one text may raise. All else is a fault of the model, and fails the whole batch."""


class Sizes(NamedTuple):
    """Limits of a worker.

    `texts` limits the texts of a batch, and `batch_tokens` its tokens: the last text of a batch may exceed it.
    `run_tokens` limits the tokens of a run, padding included; a longer row runs alone. `waiting` limits the texts that
    wait. `run_padding` limits the tokens of padding in a run: more of them take longer than one more run.
    """

    texts: int = 16
    batch_tokens: int = 4096
    run_tokens: int = 512
    waiting: int = 1024
    run_padding: int = 16


class Request(Generic[T]):
    """The texts and results of one call. The caller's thread and the worker thread share it.

    A text has a list of results, one for each of its rows. `until` is the time of the clock from which nobody needs the
    results; the caller may put it off.
    """

    __slots__ = ("future", "missing", "results", "taken", "texts", "until")

    def __init__(self, texts: Sequence[str], until: float) -> None:
        self.texts = texts
        self.until = until
        self.taken = 0
        self.missing = len(texts)
        self.results: list[Sequence[T]] = [()] * len(texts)
        # Pending until the last result is there, so that a cancelled call can be detected at any time.
        self.future: Future[list[Sequence[T]]] = Future()

    @property
    def waiting(self) -> int:
        """The number of texts that no batch has taken yet."""
        return len(self.texts) - self.taken

    def put(self, place: int, results: Sequence[T]) -> None:
        """Set the results of one text. Those of the last missing text answer the caller."""
        self.results[place] = results
        self.missing -= 1
        if not self.missing and self.future.set_running_or_notify_cancel():
            self.future.set_result(self.results)

    def fail(self, error: GatewayError) -> None:
        """Answer the caller with an error, unless the caller already has an answer."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def _give_way() -> None:
    """Make this thread `NICER`, so that a model does not keep event loops from a core: their streams would stutter.

    Only Linux has a niceness for each thread. Elsewhere it is that of the whole process, and stays as it is.
    """
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)


class Text(Generic[T]):
    """One text of one request in a batch, identified by its index in the request's list, with the results of its rows."""

    __slots__ = ("place", "request", "results", "rows")

    def __init__(self, request: Request[T], place: int) -> None:
        self.request = request
        self.place = place
        self.rows = 0
        """How many results there will be."""
        self.results: dict[int, T] = {}

    def put(self, at: int, result: T) -> None:
        """Set the result of one row. That of the last missing row answers the request."""
        self.results[at] = result
        if len(self.results) == self.rows:
            self.request.put(self.place, [self.results[row] for row in range(self.rows)])


class Piece(NamedTuple, Generic[R, T]):
    """One row of one text, identified by its index among the text's rows."""

    row: R
    text: Text[T]
    at: int


class Batching(Generic[R, T]):
    """The worker of one model. `runs` and `rows` count the runs of the model and the rows in them."""

    def __init__(self, model: Model[R, T], sizes: Sizes, clock: Clock) -> None:
        self.runs = 0
        self.rows = 0
        self._model = model
        self._sizes = sizes
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=model.name, initializer=_give_way)
        self._lock = threading.Lock()  # guards the next six attributes
        self._queue: deque[Request[T]] = deque()
        self._waiting = 0
        self._batch: list[Text[T]] = []
        self._busy = False
        self._closed = False
        self._text_s = 0.002  # seconds per text in the last batch

    def submit(self, texts: Sequence[str], until: float = float("inf")) -> Request[T]:
        """Put texts into the queue, and return the request, whose future has the results or a GatewayError.

        The future's error is DeadlineExceeded if the time `until` has come before the model has read all texts, Overloaded
        if the worker was closed, and UpstreamError if the model cannot be loaded or run. Cancelling the future removes the
        texts from the queue. Raises Overloaded when too many texts wait.
        """
        request = Request[T](texts, until)
        with self._lock:
            if self._closed:
                raise Overloaded(f"The {self._model.name} is closed", retry_after_s=1)
            if self._waiting >= self._sizes.waiting:
                wait_s = self._waiting * self._text_s
                raise Overloaded(f"Too many texts wait for the {self._model.name}", retry_after_s=wait_s)
            self._queue.append(request)
            self._waiting += len(texts)
        self._start()
        return request

    async def load(self) -> None:
        """Load the model, if it is not loaded. Raises UpstreamError if that fails, and Overloaded if this is closed."""
        with self._lock:
            if self._closed:
                raise Overloaded(f"The {self._model.name} is closed", retry_after_s=1)
            job = self._pool.submit(self._model.load)
        loading = asyncio.wrap_future(job)
        await asyncio.wait([loading])
        if error := loading.exception():
            raise self._failure(error)

    async def close(self) -> None:
        """Refuse waiting calls, wait for the running batch, and free the model. Later, `submit` raises Overloaded."""
        with self._lock:
            self._closed = True
            refused = list(self._queue)
            self._queue.clear()
            self._waiting = 0
        for request in refused:
            request.fail(Overloaded(f"The {self._model.name} was closed", retry_after_s=1))
        await asyncio.to_thread(self._pool.shutdown)
        self._model.unload()

    def _start(self) -> None:
        with self._lock:
            if self._busy or self._closed or not self._queue:
                return
            self._busy = True
            job = self._pool.submit(self._work)
        # Outside the lock: if the job is already done, the callback runs at once.
        job.add_done_callback(self._after)

    def _work(self) -> None:
        """Run one batch, in the worker thread. An exception reaches `_after` through the job's future."""
        text = self._take()
        if text is None:
            return
        self._model.load()
        began = self._clock()
        pieces: list[Piece[R, T]] = []
        tokens = texts = 0
        while text is not None:
            rows = self._rows(text)
            text.rows = len(rows)
            pieces += [Piece(row, text, at) for at, row in enumerate(rows)]
            texts += 1
            tokens += sum(len(row.ids) for row in rows)
            full = texts >= self._sizes.texts or tokens >= self._sizes.batch_tokens
            text = None if full else self._take()
        for group in self._groups(sorted(pieces, key=lambda one: len(one.row.ids))):
            self._run(group)
        with self._lock:
            self._text_s = (self._clock() - began) / texts

    def _rows(self, text: Text[T]) -> Sequence[R]:
        """Return what is read of a text. One that cannot be read fails alone, and not the texts of others in its batch."""
        try:
            return self._model.rows(text.request.texts[text.place])
        except _UNREADABLE as error:
            text.request.fail(self._failure(error))
            return ()

    def _run(self, group: Iterable[Piece[R, T]]) -> None:
        wanted = [one for one in group if self._is_wanted(one.text.request)]
        if not wanted:
            return
        results = self._model.run([one.row for one in wanted])
        self.runs += 1
        self.rows += len(wanted)
        for one, result in zip(wanted, results, strict=True):
            one.text.put(one.at, result)

    def _is_wanted(self, request: Request[T]) -> bool:
        """Whether somebody still waits for a request. One that is late fails here."""
        if self._clock() >= request.until:
            request.fail(DeadlineExceeded(f"The {self._model.name} had no time left for the text"))
        return not request.future.done()

    def _after(self, job: Future[None]) -> None:
        """Answer the calls of a failed batch with an error, then start the next batch."""
        with self._lock:
            batch, self._batch = self._batch, []
            self._busy = False
        if error := job.exception():
            for text in batch:
                # One error per caller, since each raise adds to the exception's traceback.
                text.request.fail(self._failure(error))
        self._start()

    def _failure(self, error: BaseException) -> UpstreamError:
        words = error.message if isinstance(error, GatewayError) else f"The {self._model.name} failed"
        failure = UpstreamError(words)
        failure.__cause__ = error
        return failure

    def _take(self) -> Text[T] | None:
        """Take the next text from the queue: one of each request in turn."""
        with self._lock:
            while self._queue:
                request = self._queue.popleft()
                if not self._is_wanted(request):  # cancelled, late, or failed with another batch
                    self._waiting -= request.waiting
                    continue
                text = Text(request, request.taken)
                request.taken += 1
                self._waiting -= 1
                if request.waiting:
                    self._queue.append(request)
                self._batch.append(text)
                return text
        return None

    def _groups(self, pieces: list[Piece[R, T]]) -> Iterator[list[Piece[R, T]]]:
        """Divide rows that are sorted by length into runs within `run_tokens` and `run_padding`."""
        group: list[Piece[R, T]] = []
        tokens = 0
        for one in pieces:
            length = len(one.row.ids)
            padded = length * (len(group) + 1)
            padding = padded - tokens - length
            if group and (padded > self._sizes.run_tokens or padding > self._sizes.run_padding):
                yield group
                group, tokens = [], 0
            group.append(one)
            tokens += length
        yield group
