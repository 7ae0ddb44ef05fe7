"""The options of a load test, as plain data. The command makes them, and the sending process reads them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tidegate.ops.load.figures import Slo
from tidegate.ops.load.judge import Criteria
from tidegate.ops.load.plan import Arrival, BadTrace, Closed, Open, Process, Step, arrivals, read_trace
from tidegate.ops.load.prompts import Shape

RAMP = (10, 50, 100, 200)


class BadOptions(ValueError):
    """Options that are not valid, alone or together. The message names them and says what to give instead."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one load test: the server, the requests, and the levels of load.

    One of `users` (closed loops), `rates` (open loops, requests per second) and `trace` sets the load. If all are empty,
    the load is the default ramp.
    `duration_s` is the length of each step, `requests` the largest number per step. `speed` replays a trace faster.
    `ca_path` is a PEM file with a certificate authority to trust in addition to the system's. Empty means none.
    """

    url: str
    model: str = ""
    users: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    trace: str = ""
    duration_s: float = 30.0
    requests: int | None = None
    arrivals: Process = "poisson"
    burstiness: float = 1.0
    speed: float = 1.0
    max_in_flight: int = 1000
    warmup: int = 0
    prompts: str = ""
    shape: Shape = Shape()
    stream: bool = True
    fields: dict[str, Any] = {}
    timeout_s: float = 120.0
    ca_path: str = ""
    seed: int = 0
    slo: Slo = Slo()
    criteria: Criteria = Criteria()

    def steps(self) -> list[Step]:
        """Return the levels of load, in order. Raises BadOptions."""
        given = [name for name in ("users", "rates", "trace") if getattr(self, name)]
        if len(given) > 1:
            raise BadOptions("--users, --rate and --trace exclude each other: give one of them")
        if not self.stream and (self.slo.ttft_ms is not None or self.slo.itl_ms is not None):
            raise BadOptions("--slo: without --stream only latency is measured, not ttft and itl")
        try:
            if self.trace:
                return [self._replay()]
            if self.rates:
                return [self._open(index, rate) for index, rate in enumerate(self.rates)]
        except BadTrace as error:
            raise BadOptions(f"--trace: {error}") from error
        users = self.users or RAMP
        return [Closed(users=n, duration_s=self.duration_s, requests=self.requests) for n in users]

    @property
    def most_connections(self) -> int:
        """Return the largest number of requests that can run at once."""
        if self.rates or self.trace:
            return self.max_in_flight
        return max(self.users or RAMP)

    def _open(self, index: int, rate: float) -> Open:
        due: Iterable[Arrival] = arrivals(
            rate,
            self.duration_s,
            process=self.arrivals,
            burstiness=self.burstiness,
            seed=self.seed + index,
        )
        lasts = self.duration_s
        if self.requests is not None:
            few = list(itertools.islice(due, self.requests + 1))
            if len(few) > self.requests:
                lasts = few.pop().at_s
            due = few
        return Open(
            name=f"{rate:g} req/s",
            rate=rate,
            arrivals=due,
            duration_s=lasts,
            max_in_flight=self.max_in_flight,
        )

    def _replay(self) -> Open:
        path = Path(self.trace)
        rows = read_trace(path, speed=self.speed)[: self.requests]
        lasts = max(rows[-1].at_s, 1e-3)
        return Open(
            name=path.name,
            rate=len(rows) / lasts,
            arrivals=rows,
            duration_s=lasts,
            max_in_flight=self.max_in_flight,
        )


def base_url(text: str) -> str:
    """Return the base URL of the API: `host:port`, `http://host:port` and `…/v1/chat/completions` all become `…/v1`.

    Raises BadOptions if the text is not an address.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    except ValueError:  # an unclosed bracket, or a port that is not a number
        parts, host = None, None
    if parts is None or not host:
        raise BadOptions(f"{text!r} is not an address: give one like http://127.0.0.1:8080/v1")
    if parts.username is not None:
        raise BadOptions("the report would show the password in this address: give --api-key instead")
    if parts.query or parts.fragment:
        raise BadOptions(f"{text!r} has a query, which would not be sent: give the address without it")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def parse_slo(text: str) -> Slo:
    """Parse limits in ms such as `ttft:500 itl:50 latency:10000`, separated by commas or blanks. Raises BadOptions."""
    known = {"ttft": "ttft_ms", "itl": "itl_ms", "latency": "latency_ms"}
    limits: dict[str, float] = {}
    for pair in text.replace(",", " ").split():
        name, _, value = pair.partition(":")
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if name not in known or not 0 < limit < math.inf:
            raise BadOptions(f"--slo: {pair!r} is not ttft, itl or latency and a limit in ms, like ttft:500")
        limits[known[name]] = limit
    return Slo(**limits)
