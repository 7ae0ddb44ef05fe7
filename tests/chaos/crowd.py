"""The clients: who they are, when they arrive, how long they wait, and when they come back."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from chaos.exchange import Door, Exchange, body

ITL_S = 0.25
TTFT_S = 0.15
"""An engine's time to the first token, and between tokens. Slow, so that seconds of a seat cost few events."""
MEDIAN_S, SIGMA, LONGEST_S = 4.5, 0.8, 60.0
"""The length of answers: lognormal, cut at the longest."""
TRIES = 3
PATIENCE_S = (20.0, 40.0)


@dataclass(frozen=True)
class Kind:
    """A class of calls: its promise for the time to the first token, its share of the arrivals, its tenants by weight."""

    name: str
    slo_s: float
    mix: float
    tenants: Mapping[str, float]


SLOS_S = {"interactive": 2.0, "default": 5.0, "batch": 60.0}


def kinds(slos: Mapping[str, float] = SLOS_S, **mix: float) -> tuple[Kind, ...]:
    """The three classes of the gateway. `mix` are their shares of the arrivals, by default 50, 30 and 20 %."""
    shares = mix or {"interactive": 0.5, "default": 0.3, "batch": 0.2}
    return tuple(
        Kind(name, slos[name], share, {f"{name}-{n}": 2.0**-n for n in range(4)})
        for name, share in shares.items()
    )


def tokens_drawn(chance: random.Random) -> int:
    length_s = min(LONGEST_S, chance.lognormvariate(math.log(MEDIAN_S), SIGMA))
    return max(1, round((length_s - TTFT_S) / ITL_S) + 1)


def service_s(tokens: int) -> float:
    """The seconds that an answer takes at the engine."""
    return TTFT_S + (tokens - 1) * ITL_S


def capacity_per_s(seats: int) -> float:
    """The calls a second that so many seats can serve, by the mean length of an answer."""
    chance = random.Random(1)
    lengths = [service_s(tokens_drawn(chance)) for _ in range(20_000)]
    return seats * len(lengths) / sum(lengths)


@dataclass(slots=True)
class Try:
    """One attempt of a client. `number` is 0 for the first one, and `refused_before` counts the refusals before it."""

    kind: Kind
    tenant: str
    tokens: int
    number: int
    exchange: Exchange
    refused_before: int = 0
    left: bool = False

    @property
    def status(self) -> int:
        return 0 if self.left else self.exchange.status

    @property
    def refused(self) -> bool:
        return self.status in {429, 503}

    @property
    def ttft_s(self) -> float | None:
        first = self.exchange.first_at
        return None if first is None else first - self.exchange.sent_at

    @property
    def kept(self) -> bool:
        """Whether the first token came within the promise of the class, and nothing broke off."""
        ttft = self.ttft_s
        return ttft is not None and ttft <= self.kind.slo_s and self.status in {0, 200} and not self.left

    def seat_s(self, begin: float, end: float) -> float:
        """The seconds between two times in which this attempt had a seat, as its answer shows it."""
        first = self.exchange.first_at
        if first is None:
            return 0.0
        ended = self.exchange.ended_at
        last = min(math.inf if ended is None else ended, first - TTFT_S + service_s(self.tokens))
        return max(0.0, min(end, last) - max(begin, first - TTFT_S))


@dataclass
class Crowd:
    """Clients that arrive as a Poisson process. Each waits for its first token as long as it has patience.

    A client that is refused comes back when it was told to. One that has lost patience hangs up and asks again at once.
    """

    door: Door
    seats: int
    kinds: tuple[Kind, ...]
    chance: random.Random
    most_tries: int = TRIES
    patience_s: tuple[float, float] = PATIENCE_S
    tries: list[Try] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    """How late each client came. If these are not small, the machine is too slow to measure with."""

    def __post_init__(self) -> None:
        self._rate = capacity_per_s(self.seats)

    async def arrive(self, phases: list[tuple[float, float]]) -> None:
        """Let clients arrive, and hang up at the end. `phases` are loads, as multiples of the capacity, and seconds."""
        async with asyncio.TaskGroup() as group:
            clients: set[asyncio.Task[None]] = set()
            for at in self._arrivals(phases):
                while (early := at - self.door.clock()) > 0:
                    await asyncio.sleep(early)
                self.late_s.append(-early)
                client = group.create_task(self._client(random.Random(self.chance.random())))
                clients.add(client)
                client.add_done_callback(clients.discard)
            for client in list(clients):
                client.cancel()

    def _arrivals(self, phases: list[tuple[float, float]]) -> Iterator[float]:
        at = self.door.clock()
        for load, seconds in phases:
            end = at + seconds
            while (at := at + self.chance.expovariate(load * self._rate)) < end:
                yield at
            at = end  # the process has no memory
        yield at

    async def _client(self, chance: random.Random) -> None:
        kind = chance.choices(self.kinds, [one.mix for one in self.kinds])[0]
        tenant = chance.choices(list(kind.tenants), list(kind.tenants.values()))[0]
        tokens = tokens_drawn(chance)
        content = body(
            f"ttft={TTFT_S * 1000:g} itl={ITL_S * 1000:g} tokens={tokens}", words=chance.randint(5, 60)
        )
        refusals = 0
        for number in range(self.most_tries):
            attempt = Try(kind, tenant, tokens, number, self.door.send(content, key_of(tenant)), refusals)
            self.tries.append(attempt)
            try:
                await self._wait(attempt, chance.uniform(*self.patience_s))
            except asyncio.CancelledError:
                attempt.exchange.leave()
                raise
            if not attempt.left and not attempt.refused:
                return
            if attempt.refused:
                refusals += 1
                await asyncio.sleep(attempt.exchange.retry_after_s or 0)

    async def _wait(self, attempt: Try, patience_s: float) -> None:
        exchange = attempt.exchange
        try:
            async with asyncio.timeout(patience_s):
                await exchange.begun
        except TimeoutError:
            attempt.left = True
            exchange.leave()
        else:
            await exchange.ended


def key_of(tenant: str) -> str:
    return f"{tenant}-sends-this-key"
