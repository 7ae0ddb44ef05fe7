"""Answers by key, kept for a while after their end: bounded by their number, their age and their memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar

import msgspec
from prometheus_client.core import Metric

from tidegate.caches.joining import Run
from tidegate.config import IdempotencyConfig
from tidegate.ports import Clock
from tidegate.telemetry.metrics import counter, counts, gauge

T = TypeVar("T")


class _Entry(msgspec.Struct, Generic[T]):
    run: Run[T]
    request: bytes
    ended_at: float = 0.0


class Answers(Generic[T]):
    """The runs of a process, running or kept. Satisfies `Keeper`.

    Running ones are never evicted: each has a client, so the number of connections bounds them. All that is held stays
    within `max_bytes`, except for 64 KiB and one batch of each run that is not kept.
    """

    def __init__(self, clock: Clock) -> None:
        self.held_bytes = 0
        self.evicted = 0
        self.used = {"new": 0, "joined": 0, "replayed": 0}
        """The number of requests by how they were answered."""
        self._rules = IdempotencyConfig()
        self._clock = clock
        self._entries: dict[Hashable, _Entry[T]] = {}
        self._ended: dict[Hashable, _Entry[T]] = {}  # the oldest first
        self._sizes: dict[Run[Any], int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def configure(self, rules: IdempotencyConfig) -> None:
        """Put settings in force, also for what is kept already."""
        self._rules = rules
        self._trim()

    def find(self, key: Hashable) -> tuple[Run[T], bytes] | None:
        """Return the run of a key with the digest of its request. None if there is none, or if it is too old."""
        self._forget_old()
        entry = self._entries.get(key)
        return None if entry is None else (entry.run, entry.request)

    def open(self, key: Hashable, request: bytes, *, source: T, streamed: bool) -> Run[T]:
        """Return a new run for a key that has none. `request` is the digest of the request."""
        assert key not in self._entries, "a key has one run"
        run = Run(key, self, source=source, streamed=streamed)
        self._entries[key] = _Entry(run, request)
        self._sizes[run] = 0
        return run

    def forget(self, run: Run[T]) -> None:
        """Forget a run: a request with its key begins a new one."""
        entry = self._entries.get(run.key)
        if entry is not None and entry.run is run:
            del self._entries[run.key]
            self._ended.pop(run.key, None)
        self.held_bytes -= self._sizes.pop(run, 0)

    # -- the Keeper ----------------------------------------------------------------------------------------------------

    def grown(self, run: Run[Any], by_bytes: int) -> bool:
        """See `Keeper`. Kept answers make room for those that are being made."""
        if run not in self._sizes:
            return False
        self._sizes[run] += by_bytes
        self.held_bytes += by_bytes
        self._trim()
        rules = self._rules
        return self.held_bytes <= rules.max_bytes and self._sizes[run] <= rules.max_answer_bytes

    def shrunk(self, run: Run[Any], by_bytes: int) -> None:
        """See `Keeper`."""
        if run in self._sizes:
            self._sizes[run] -= by_bytes
            self.held_bytes -= by_bytes

    def ended(self, run: Run[Any]) -> None:
        """See `Keeper`. A failed answer is not kept: the next request with its key tries anew."""
        entry = self._entries.get(run.key)
        if entry is None or entry.run is not run or run.error is not None or not run.kept or run.is_empty:
            self.forget(run)
            return
        entry.ended_at = self._clock()
        self._ended[run.key] = entry
        self._trim()
        self._forget_old()

    # -- bounds --------------------------------------------------------------------------------------------------------

    def _trim(self) -> None:
        """Evict the oldest answers until the rest fits."""
        rules = self._rules
        while self._ended and (len(self._ended) > rules.max_entries or self.held_bytes > rules.max_bytes):
            self.evicted += 1
            self._forget_oldest()

    def _forget_old(self) -> None:
        until = self._clock() - self._rules.ttl_s
        while self._ended and next(iter(self._ended.values())).ended_at <= until:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self.forget(next(iter(self._ended.values())).run)

    def metrics(self) -> Iterable[Metric]:
        """Return the metrics. What is too old is forgotten first, so that it does not stay while no request comes."""
        self._forget_old()
        yield gauge(
            "idempotency_answers",
            "Answers that are made or kept for an idempotency key.",
            [],
            [((), len(self))],
        )
        yield counts(
            "idempotency_requests",
            "Requests with an idempotency key, by how they were answered.",
            "how",
            self.used,
        )
        yield gauge("idempotency_bytes", "Memory of these answers.", [], [((), self.held_bytes)])
        yield counter("idempotency_evictions", "Kept answers that had to make room.", self.evicted)
