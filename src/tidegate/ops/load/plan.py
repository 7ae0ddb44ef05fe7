"""Plans when requests are due: closed loops, open loops with three kinds of arrivals, and the replay of a trace.

In a closed loop each user sends the next request when the last one is answered, so the load falls when the server gets
slow. In an open loop requests are sent at set times, like those of independent users. Times are in seconds from the start
of a step.
"""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

Process = Literal["constant", "poisson", "gamma"]


class Arrival(msgspec.Struct, frozen=True):
    """A request that is due at `at_s`. A trace may also give lengths in tokens, and ids of shared prefixes, `blocks`."""

    at_s: float
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    blocks: tuple[int, ...] = ()


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A closed loop of `users`. It ends after `duration_s` or after `requests` requests, whichever is earlier."""

    users: int
    duration_s: float
    requests: int | None = None

    @property
    def name(self) -> str:
        """The name of the load in tables."""
        return f"{self.users} user" + ("s" if self.users != 1 else "")


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """An open loop with `rate` requests per second, or with the arrivals of a trace. At most `max_in_flight` run at once.

    A request may have to wait for this limit. The time at which it was due does not change.
    """

    name: str
    rate: float
    arrivals: Iterable[Arrival]
    duration_s: float
    max_in_flight: int


Step = Closed | Open


def arrivals(
    rate: float, duration_s: float, *, process: Process = "poisson", burstiness: float = 1.0, seed: int = 0
) -> Iterator[Arrival]:
    """Yield the times of arrivals at `rate` per second, for `duration_s` seconds.

    `burstiness` is the shape of the gamma distribution that gaps are drawn from: 1 is Poisson, below 1 comes in bursts
    (the coefficient of variation of the gaps is 1/√shape), above 1 is more even.
    """
    rng = random.Random(seed)  # noqa: S311  (arrivals, no secrets)
    shape = {"constant": 0.0, "poisson": 1.0, "gamma": burstiness}[process]
    at = 0.0
    for index in itertools.count(1):
        at = index / rate if not shape else at + rng.gammavariate(shape, 1 / (rate * shape))
        if at > duration_s:
            return
        yield Arrival(at)


class BadTrace(ValueError):
    """A trace that cannot be replayed. The message names the file, the line and the expected content."""


def read_trace(path: Path, *, speed: float = 1.0) -> list[Arrival]:
    """Return the requests of a trace. The first one is due at 0, and the gaps are divided by `speed`. Raises BadTrace.

    A trace is CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens (the format of Azure's public traces), or JSON
    lines with timestamp (ms), input_length, output_length and perhaps hash_ids (the format of Mooncake's traces).
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = _csv_rows(path, lines) if path.suffix == ".csv" else _json_rows(path, lines)
            read = sorted(rows, key=lambda row: row.at_s)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTrace(f"{path} cannot be read: {error}") from error
    if not read:
        raise BadTrace(f"{path} holds no requests")
    first = read[0].at_s
    return [msgspec.structs.replace(row, at_s=(row.at_s - first) / speed) for row in read]


def _csv_rows(path: Path, lines: Iterable[str]) -> Iterator[Arrival]:
    for number, row in enumerate(csv.DictReader(lines), 2):
        try:
            stamp = datetime.fromisoformat(_microseconds(row["TIMESTAMP"]))
            lengths = int(row["ContextTokens"]), int(row["GeneratedTokens"])
        except (KeyError, TypeError, ValueError) as error:
            wanted = "TIMESTAMP,ContextTokens,GeneratedTokens"
            raise BadTrace(f"{path}, line {number}: not a row of {wanted}") from error
        # A time without a zone is read as UTC. In a local zone, one hour of the year is ambiguous.
        zoned = stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC)
        yield Arrival(zoned.timestamp(), *lengths)


def _microseconds(stamp: str) -> str:
    # Azure's times have seven digits after the point, but Python reads only six.
    whole, dot, fraction = stamp.partition(".")
    return whole + dot + fraction[:6] if fraction.isdigit() else stamp


class _Row(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...] = ()


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[Arrival]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=_Row)
        except msgspec.DecodeError as error:
            wanted = "an object with timestamp (ms), input_length and output_length"
            raise BadTrace(f"{path}, line {number}: not {wanted}: {error}") from error
        yield Arrival(row.timestamp / 1000, row.input_length, row.output_length, row.hash_ids)
