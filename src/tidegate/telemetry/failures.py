"""The log of failed calls: a line for each, and one line a second for all that were refused for want of capacity.

A line names everything that an operator needs to find the cause without a second source: the engine, the deployment, the
URL without secrets, the status, the engine's own id for the request, and the cause in words.
"""

from __future__ import annotations

import logging

import msgspec

from tidegate.errors import GatewayError
from tidegate.ports import Clock
from tidegate.telemetry.causes import cause_of, one_line

EVERY_S = 1.0
"""Refusals are told so often at the most. Under overload, a line for each would cost more than the refusal itself."""

log = logging.getLogger("tidegate.calls")


class Asked(msgspec.Struct, frozen=True):
    """What a call had asked for: `model` as the client wrote it, `route` the configured name that it matched."""

    request_id: str
    model: str = ""
    route: str = ""


class FailureLog:
    """Tells calls that have failed. `clock` is in monotonic seconds; `flush` tells what is still to be told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0.0
        self._level = logging.WARNING
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def tell(self, asked: Asked, error: GatewayError) -> None:
        """Log one failed call at its error's level; what is the client's own mistake is not logged."""
        if error.level < logging.WARNING:
            return
        if not error.aggregated:
            log.log(error.level, "call %s", line(asked, error))
            return
        now = self._clock()
        if self._counts and now >= self._since + EVERY_S:
            self.flush()
        if not self._counts:
            self._since = now
        code = error.code
        if code not in self._counts:
            self._counts[code] = 0
            self._first[code] = line(asked, error)
            self._level = max(self._level, error.level)
        self._counts[code] += 1

    def flush(self) -> None:
        """Log the refusals since the last time, by code, with the first of each."""
        if not self._counts:
            return
        seconds = self._clock() - self._since
        counts = ", ".join(f"{code}: {count}" for code, count in self._counts.items())
        firsts = "; ".join(f"first call {first}" for first in self._first.values())
        total = sum(self._counts.values())
        log.log(self._level, "%d calls failed in %.1f s (%s); %s", total, seconds, counts, firsts)
        self._counts, self._first, self._level = {}, {}, logging.WARNING


def line(asked: Asked, error: GatewayError) -> str:
    """One failed call on one line."""
    where, cause = error.upstream, cause_of(error)
    facts = {
        "cause": cause,
        "model": asked.model,
        "route": asked.route,
        "engine": where.engine,
        "deployment": f"{where.engine}/{where.model}" if where.model else "",
        "url": where.url,
        "engine_status": str(where.status or ""),
        "engine_request_id": where.request_id,
    }
    told = " ".join(f"{name}={_quoted(value)}" for name, value in facts.items() if value)
    return f"{asked.request_id}: {error.code} {error.status}: {one_line(error.message)} [{told}]"


def _quoted(value: str) -> str:
    """A value that a log's reader can tell from the next; what a client chose cannot make a line of its own."""
    value = one_line(value)
    if value.isascii() and not any(character in value for character in ' "=[]\\'):
        return value
    return msgspec.json.encode(value).decode()
