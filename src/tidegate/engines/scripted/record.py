"""The record of a scripted server: what it received and sent, so that tests can check concurrency and cancellation.

Counts cover everything since the last reset. Details are kept only for the newest requests. Times are seconds of the
monotonic clock. All processes of one machine share this clock, so a client can compare these times with its own.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec

from tidegate.ports import Clock

KEPT_REQUESTS = 1000
KEPT_BODY_BYTES = 65_536


class Entry(msgspec.Struct, kw_only=True):
    """One request as the server received it.

    `outcome` is one of: running, finished, faulted (as scripted), cancelled (the client left), refused (no free slot),
    rejected (a bad request), stopped (the server was stopped). `delivered` counts the tokens that were passed to the
    network. `body` is None if it could not be decoded or is over 64 KiB.
    """

    number: int
    path: str
    headers: dict[str, str]
    received_at: float
    body: msgspec.Raw | None = None
    fault: str = "none"
    first_token_at: float | None = None
    ended_at: float | None = None
    delivered: int = 0
    outcome: str = "running"

    @property
    def fields(self) -> dict[str, Any]:
        """The decoded request body; empty if the body was not kept."""
        return msgspec.json.decode(self.body, type=dict[str, Any]) if self.body else {}


class Figures(msgspec.Struct, kw_only=True):
    """The record as `GET /record` shows it. `now` is the time of this snapshot."""

    now: float
    requests: int
    in_flight: int
    max_in_flight: int
    delivered_tokens: int
    finished: int
    faulted: int
    cancelled: int
    refused: int
    rejected: int
    connections: int
    open_connections: int
    cancelled_at: list[float]
    entries: list[Entry]


class Record:
    """The live figures. `requests` counts calls of the three OpenAI endpoints, including refused and rejected calls."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.in_flight = 0
        self.open_connections = 0
        self.reset()

    def reset(self) -> None:
        """Reset all counts. Requests in flight and open connections are still counted as such."""
        self.requests = 0
        self.max_in_flight = self.in_flight
        self.delivered_tokens = 0
        self.connections = self.open_connections
        self.outcomes = {
            "finished": 0,
            "faulted": 0,
            "cancelled": 0,
            "refused": 0,
            "rejected": 0,
            "stopped": 0,
        }
        self.entries: deque[Entry] = deque(maxlen=KEPT_REQUESTS)

    @property
    def cancelled(self) -> int:
        """The number of requests whose client left before the end of the answer."""
        return self.outcomes["cancelled"]

    @property
    def cancelled_at(self) -> list[float]:
        """The times at which the server noticed that a client had left, oldest first, for the requests that are kept."""
        return [entry.ended_at for entry in self.entries if entry.outcome == "cancelled" and entry.ended_at]

    def opened(self) -> None:
        """Count a new connection."""
        self.connections += 1
        self.open_connections += 1

    def closed(self) -> None:
        """Count a connection that has closed."""
        self.open_connections -= 1

    def received(self, path: str, headers: dict[str, str]) -> Entry:
        """Add an entry for a request that has arrived. It is not in flight yet."""
        self.requests += 1
        entry = Entry(number=self.requests, path=path, headers=headers, received_at=self._clock())
        self.entries.append(entry)
        return entry

    def understood(self, entry: Entry, body: bytes) -> None:
        """Keep the body of a request that could be decoded."""
        entry.body = msgspec.Raw(body) if len(body) <= KEPT_BODY_BYTES else None

    def began(self, entry: Entry, fault: str) -> None:
        """Count a request as in flight."""
        entry.fault = fault
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def delivered(self, entry: Entry, tokens: int) -> None:
        """Count tokens of an answer that were passed to the network."""
        if entry.first_token_at is None:
            entry.first_token_at = self._clock()
        entry.delivered += tokens
        self.delivered_tokens += tokens

    def ended(self, entry: Entry, outcome: str) -> None:
        """Count a request in flight as ended."""
        self.in_flight -= 1
        self.turned_away(entry, outcome)

    def turned_away(self, entry: Entry, outcome: str) -> None:
        """Count a request that was never in flight as ended."""
        entry.outcome = outcome
        entry.ended_at = self._clock()
        self.outcomes[outcome] += 1

    def figures(self) -> Figures:
        """Return all current figures."""
        return Figures(
            now=self._clock(),
            requests=self.requests,
            in_flight=self.in_flight,
            max_in_flight=self.max_in_flight,
            delivered_tokens=self.delivered_tokens,
            finished=self.outcomes["finished"],
            faulted=self.outcomes["faulted"],
            cancelled=self.outcomes["cancelled"],
            refused=self.outcomes["refused"],
            rejected=self.outcomes["rejected"],
            connections=self.connections,
            open_connections=self.open_connections,
            cancelled_at=self.cancelled_at,
            entries=list(self.entries),
        )
