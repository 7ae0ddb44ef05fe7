"""The log of failed calls: one line per call. Calls refused for lack of capacity share one line per second.

A line has everything that an operator needs to find the cause: the engine, the deployment, the URL without secrets, the
status, the engine's own id for the request, and the cause in words.
"""

from __future__ import annotations

import logging

import msgspec

from tidegate.errors import GatewayError
from tidegate.ports import Clock
from tidegate.telemetry.causes import cause_of, one_line

EVERY_S = 1.0
"""Seconds between two lines about refused calls. Under overload, a line per call would cost more than the refusal."""

log = logging.getLogger("tidegate.calls")


class Asked(msgspec.Struct, frozen=True):
    """The request of a failed call. `model` is the client's model name, `route` the configured name that it matched."""

    request_id: str
    model: str = ""
    route: str = ""


class FailureLog:
    """Logs failed calls. `clock` returns monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0.0
        self._level = logging.WARNING
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def tell(self, asked: Asked, error: GatewayError) -> None:
        """Log one failed call at its error's level, or count it for `flush`. Clients' mistakes are not logged."""
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
        """Log the number of refused calls since the last `flush` by error code, with the first call of each code."""
        if not self._counts:
            return
        seconds = self._clock() - self._since
        counts = ", ".join(f"{code}: {count}" for code, count in self._counts.items())
        firsts = "; ".join(f"first call {first}" for first in self._first.values())
        total = sum(self._counts.values())
        log.log(self._level, "%d calls failed in %.1f s (%s); %s", total, seconds, counts, firsts)
        self._counts, self._first, self._level = {}, {}, logging.WARNING


def line(asked: Asked, error: GatewayError) -> str:
    """Return the line about one failed call."""
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
    """Quote a value if it could be mistaken for more than one field or line."""
    value = one_line(value)
    if value.isascii() and not any(character in value for character in ' "=[]\\'):
        return value
    return msgspec.json.encode(value).decode()
