"""A simulated engine with slots and a line of its own, a gateway with a limit in front of it, and their clients."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from tidegate.kernel.adaptive import AdaptiveLimit, Asked


@dataclass(eq=False)
class Call:
    tokens: int
    output_s: float
    arrived: float
    streamed: bool = True
    own: bool = True
    cached: int = 0  # of its tokens
    ttft_s: float = math.inf  # from its arrival at the gateway
    held_s: float = 0.0  # a slot
    ended: float = 0.0
    asked: Asked | None = None


class Static:
    def __init__(self, limit: int) -> None:
        self.limit = limit


@dataclass
class Load:
    """What clients send. With `rate` None there is always a backlog; else calls come at `rate` a second."""

    tokens: Callable[[random.Random, float], int] = lambda rng, now: 200
    output_s: float = 5.0  # mean, lognormal
    sigma: float = 0.6
    rate: Callable[[float], float] | None = None
    streamed: float = 1.0  # share
    others: int = 0  # calls that another client keeps in flight
    patience_s: float = (
        5.0  # with a rate: a call that would wait longer at the gateway leaves; and the SLO of TTFT
    )
    cached: Callable[[random.Random], float] = lambda rng: 0.0  # share of the prompt
    reports_cached: bool = True
    estimate: Callable[[random.Random], float] = lambda rng: 1.0  # estimated tokens / real ones


@dataclass
class EngineKind:
    base_s: float = 0.05
    token_s: float = 0.00025
    noise: Callable[[random.Random], float] = lambda rng: 1.0  # factor on TTFT
    reports_s: float = 0.0  # how often it is asked for metrics
    sharing: float = 0.0  # prefill slows down by this, times the share of the slots in use
    refuses_over: int | None = None  # calls in its line beyond which it answers 503


@dataclass
class World:
    limit: AdaptiveLimit | Static
    slots: Callable[[float], int]
    load: Load
    kind: EngineKind = field(default_factory=EngineKind)
    seed: int = 1

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.ids = count()
        self.line: deque[Call] = deque()  # at the gateway
        self.inside: deque[Call] = deque()  # the engine's own line
        self.running = 0
        self.in_flight = 0
        self.done: list[Call] = []
        self.history: list[tuple[float, int]] = []
        self.moves: list[tuple[float, int, str]] = []

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self.ids), act))

    def run(self, seconds: float) -> World:
        if self.load.rate is not None:
            self.at(0.0, self.arrive)
        for _ in range(self.load.others):
            self.ask_engine(self.new_call(own=False))
        if self.kind.reports_s:
            self.at(self.kind.reports_s, self.report)
        self.tick()
        while self.events and self.events[0][0] <= seconds:
            self.now, _, act = heapq.heappop(self.events)
            act()
        self.now = seconds
        return self

    # The clients

    def new_call(self, *, own: bool = True) -> Call:
        load, rng = self.load, self.rng
        output_s = load.output_s * rng.lognormvariate(-(load.sigma**2) / 2, load.sigma)
        tokens = load.tokens(rng, self.now)
        return Call(
            tokens, output_s, self.now, rng.random() < load.streamed, own, int(load.cached(rng) * tokens)
        )

    def arrive(self) -> None:
        assert self.load.rate is not None
        self.line.append(self.new_call())
        self.serve()
        self.at(self.now + self.rng.expovariate(self.load.rate(self.now)), self.arrive)

    def tick(self) -> None:
        self.history.append((self.now, self.limit.limit))
        self.start()
        self.serve()
        self.at(self.now + 0.1, self.tick)

    # The gateway

    def next_call(self) -> Call | None:
        if self.load.rate is None:
            return self.new_call()
        while self.line:
            call = self.line.popleft()
            if self.now - call.arrived <= 0.8 * self.load.patience_s:
                return call
        return None

    def serve(self) -> None:
        self.update()
        while self.in_flight < self.limit.limit and (call := self.next_call()):
            self.in_flight += 1
            if call.streamed and isinstance(self.limit, AdaptiveLimit):
                call.asked = self.limit.asked(int(call.tokens * self.load.estimate(self.rng)), self.now)
            self.ask_engine(call)
        self.update()

    def update(self) -> None:
        if isinstance(self.limit, AdaptiveLimit):
            wanted = self.load.rate is None or bool(self.line)
            if self.limit.update(self.now, in_flight=self.in_flight, wanted=wanted):
                self.moves.append((self.now, self.limit.limit, self.limit.why))

    def report(self) -> None:
        if isinstance(self.limit, AdaptiveLimit):
            self.limit.reported(
                running=self.running,
                waiting=len(self.inside),
                kv_usage=None,
                own=self.in_flight,
                now=self.now,
            )
        self.at(self.now + self.kind.reports_s, self.report)

    # The engine

    def ask_engine(self, call: Call) -> None:
        most = self.kind.refuses_over
        if (
            most is not None
            and self.running >= self.slots(self.now)
            and len(self.inside) >= most
            and call.own
        ):
            if isinstance(self.limit, AdaptiveLimit):
                self.limit.refused(self.in_flight, self.now)
            self.at(self.now + 0.01, lambda: self.end(call, refused=True))
            return
        self.inside.append(call)
        self.start()

    def start(self) -> None:
        slots = self.slots(self.now)
        while self.inside and self.running < slots:
            call = self.inside.popleft()
            self.running += 1
            prefill_s = self.kind.base_s + self.kind.token_s * (call.tokens - call.cached)
            prefill_s *= (1 + self.kind.sharing * self.running / slots) * self.kind.noise(self.rng)
            call.held_s = prefill_s + call.output_s
            self.at(self.now + prefill_s, lambda call=call: self.first_byte(call))

    def first_byte(self, call: Call) -> None:
        call.ttft_s = self.now - call.arrived
        if call.asked is not None:
            assert isinstance(self.limit, AdaptiveLimit)
            self.limit.answered(call.asked, self.now)
        self.at(self.now + call.output_s, lambda: self.finish(call))

    def finish(self, call: Call) -> None:
        self.running -= 1
        self.end(call)
        self.start()

    def end(self, call: Call, *, refused: bool = False) -> None:
        if not call.own:
            self.ask_engine(self.new_call(own=False))
            return
        if call.asked is not None:
            assert isinstance(self.limit, AdaptiveLimit)
            known = call.tokens - call.cached if self.load.reports_cached and not refused else None
            self.limit.ended(call.asked, known)
        self.in_flight -= 1
        if not refused:
            call.ended = self.now
            self.done.append(call)
        self.serve()

    # What came of it

    def limits(self, start: float, end: float) -> list[int]:
        return [limit for when, limit in self.history if start <= when < end]

    def settled(self, target: float, after: float, until: float, within: float = 0.25) -> float:
        """Seconds from `after` until the limit is within that share of `target`, inf if it is never."""
        for when, limit in self.history:
            if after <= when < until and abs(limit - target) <= within * target:
                return when - after
        return float("inf")

    def share_within(self, target: float, start: float, end: float, within: float = 0.25) -> float:
        limits = self.limits(start, end)
        return sum(abs(one - target) <= within * target for one in limits) / len(limits)

    def goodput(self, start: float, end: float) -> float:
        """The share of the engine's slot-seconds that went to answers with a timely first byte, by the time they ended."""
        good = [call.held_s for call in self.ended(start, end) if call.ttft_s <= self.load.patience_s]
        capacity = [self.slots(start + at / 10) / 10 for at in range(round(10 * (end - start)))]
        return sum(good) / sum(capacity)

    def ttft_s(self, quantile: float, start: float, end: float) -> float:
        times = sorted(call.ttft_s for call in self.ended(start, end))
        return times[int(quantile * (len(times) - 1))]

    def ended(self, start: float, end: float) -> list[Call]:
        return [call for call in self.done if start <= call.ended < end]


def falling(high: int, low: int, start: float = 60.0, end: float = 150.0) -> Callable[[float], int]:
    return lambda now: low if start <= now < end else high


def lognormal_noise(sigma: float) -> Callable[[random.Random], float]:
    return lambda rng: rng.lognormvariate(0, sigma)


WITH_8 = (90.0, 150.0)  # the last minute of the fall
WHOLE = (0.0, 240.0)


def compare(seed: int = 1) -> dict[str, World]:
    """An engine with 32 slots that has 8 from second 60 to 150, and clients for 50 slots, who wait for 4 seconds."""
    limits = {
        "adaptive, 1 to 32": AdaptiveLimit(least=1, most=32),
        "static 8": Static(8),
        "static 32": Static(32),
    }
    load = Load(rate=lambda now: 10.0)
    return {name: World(limit, falling(32, 8), load, seed=seed).run(240) for name, limit in limits.items()}


def table(seed: int = 1) -> str:
    """The comparison in Markdown."""
    lines = [
        "| Limit | Goodput | p99 TTFT | Goodput with 8 slots | p99 TTFT with 8 slots |",
        "|---|---|---|---|---|",
    ]
    for name, world in compare(seed).items():
        figures = [
            f"{world.goodput(*span):.0%} | {world.ttft_s(0.99, *span):.1f} s" for span in (WHOLE, WITH_8)
        ]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
