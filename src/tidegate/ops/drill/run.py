"""Plays a plan: sends every call when it is due, does to the engines what the plan says, and watches the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from time import perf_counter

import msgspec

from tidegate.egress.exchange import Timeouts
from tidegate.egress.pool import HttpClient
from tidegate.ops.drill.figures import Now, Seen, by_phase, by_second, by_tenant, percentile, seen
from tidegate.ops.drill.plan import MODEL, TENANTS, Act, Coming, Phase, Plan, calls, kind_of, make_plan
from tidegate.ops.drill.processes import WATCHER, Cast, running
from tidegate.ops.drill.result import Result, examples
from tidegate.ops.drill.verdict import Evidence, judge
from tidegate.ops.drill.watch import Watch
from tidegate.ops.load.client import Ask, ChatClient
from tidegate.ops.load.prompts import MadeUp, Scale, Shape

EVERY_S = 0.5
LONGEST_ANSWER_S = 30.0
LATE_MS = 50.0
"""A tester that sends later than this is too busy for reliable times."""
_MOST_CONNECTIONS = 2000
_PROMPT_TOKENS = 40

Show = Callable[["View"], None]


class View(msgspec.Struct, frozen=True):
    """What there is to see in the middle of a drill. `calls` have ended, and `sent` counts the others too."""

    plan: Plan
    at_s: float
    phase: Phase
    sent: int
    calls: list[Seen]
    done: list[Act]
    now: Now | None


async def run(seconds: float, seed: int, show: Show) -> Result:
    """Run a drill and return its result. Raises NotStarted."""
    plan = make_plan(seconds)
    began_at = datetime.now(UTC).isoformat(timespec="seconds")
    async with running() as cast:
        drill = _Drill(plan, cast, show)
        try:
            await drill.play(calls(plan, seed))
        finally:
            await drill.close()
        evidence = Evidence(calls=drill.seen, under_way=drill.under_way, asked=drill.asked())
        promises = judge(plan, evidence)
        return Result(
            version=version("tidegate"),
            started_at=began_at,
            seconds=seconds,
            seed=seed,
            kept=all(promise.kept for promise in promises),
            promises=promises,
            phases=by_phase(plan, drill.seen),
            tenants=by_tenant(drill.seen),
            errors=examples(drill.seen),
            acts=drill.done,
            timeline=by_second(seconds, drill.seen, drill.moments),
            late_ms=drill.late_ms(),
            notes=_notes(drill),
        )


class _Drill:
    """One play of a plan, in real time."""

    def __init__(self, plan: Plan, cast: Cast, show: Show) -> None:
        self._plan = plan
        self._cast = cast
        self._show = show
        self._client = _client(f"{cast.url}/v1")
        self._root = _client(cast.url)
        self._watch = Watch(self._root, cast.keys[WATCHER])
        self._askers = {tenant.name: self._asker(tenant.name) for tenant in TENANTS}
        shapes = {
            name: Shape(prompt_tokens=_PROMPT_TOKENS, output_tokens=kind_of(name).tokens) for name in _kinds()
        }
        self._prompts = {name: MadeUp(shape, Scale(base=0.0)) for name, shape in shapes.items()}
        self._began = 0.0
        self._sent = 0
        self._lates: list[float] = []
        self.seen: list[Seen] = []
        self.moments: list[Now] = []
        self.done: list[Act] = []
        self.under_way = 0

    async def play(self, coming: list[Coming]) -> None:
        """Play the plan to its end, and wait for the last answers."""
        self._began = perf_counter()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._look_on())
            async with asyncio.TaskGroup() as work:
                work.create_task(self._act(work))
                await self._send(coming, work)
            watching.cancel()
        await self._look()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        await self._root.close()

    def asked(self) -> int:
        """Return the number of requests that all engines have received."""
        return sum(engine.requests for engine in self._cast.engines.values())

    def late_ms(self) -> float:
        """Return the p99 of how late the calls were sent."""
        return (percentile(self._lates, 0.99) or 0.0) * 1000

    def _asker(self, tenant: str) -> ChatClient:
        headers = [(b"authorization", f"Bearer {self._cast.keys[tenant]}".encode())]
        ask = Ask(model=MODEL, timeout_s=LONGEST_ANSWER_S, headers=headers)
        return ChatClient(self._client, ask, clock=perf_counter)

    def _now(self) -> float:
        return perf_counter() - self._began

    async def _until(self, at_s: float) -> None:
        if (early := at_s - self._now()) > 0:
            await asyncio.sleep(early)

    async def _send(self, coming: list[Coming], work: asyncio.TaskGroup) -> None:
        for one in coming:
            await self._until(one.at_s)
            self._lates.append(max(0.0, self._now() - one.at_s))
            self._sent += 1
            work.create_task(self._call(one))
        await self._until(self._plan.seconds)

    async def _call(self, one: Coming) -> None:
        prompt = self._prompts[one.tenant.kind].talk().ask(None)
        sample, _ = await self._askers[one.tenant.name].ask(prompt, self._began + one.at_s)
        self.seen.append(seen(sample, one.tenant, self._began))

    async def _act(self, work: asyncio.TaskGroup) -> None:
        for act in self._plan.acts:
            await self._until(act.at_s)
            if act.deed == "kill":
                await self._note_under_way(act.engine)
            doing = self._do(act)
            if act.deed == "start":
                work.create_task(
                    doing
                )  # the start of a process takes too long for the next act to wait for it
            else:
                await doing
            self.done.append(act)
            await self._look()

    async def _do(self, act: Act) -> None:
        engine = self._cast.engines[act.engine]
        deeds = {"kill": engine.kill, "start": engine.start, "slow": engine.slow, "restore": engine.restore}
        await deeds[act.deed]()

    async def _note_under_way(self, engine: str) -> None:
        now = await self._look()
        if now is not None:
            self.under_way = next(one.in_flight for one in now.engines if one.name == engine)

    async def _look_on(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(EVERY_S)

    async def _look(self) -> Now | None:
        engines = self._cast.engines.values()
        await asyncio.gather(*(engine.count() for engine in engines))
        at_s = self._now()
        now = await self._watch.look(at_s, engines)
        if now is not None:
            self.moments.append(now)
        phase = self._plan.phase_at(at_s)
        self._show(View(self._plan, at_s, phase, self._sent, list(self.seen), list(self.done), now))
        return now


def _kinds() -> set[str]:
    return {tenant.kind for tenant in TENANTS}


def _client(url: str) -> HttpClient:
    limit = LONGEST_ANSWER_S
    timeouts = Timeouts(connect=10.0, first_byte=limit, idle=limit, total=limit)
    return HttpClient(url, timeouts, max_connections=_MOST_CONNECTIONS)


def _notes(drill: _Drill) -> list[str]:
    if drill.late_ms() <= LATE_MS:
        return []
    late = f"calls were sent up to {drill.late_ms():.0f} ms late (p99)"
    return [f"This machine is too busy for reliable times: {late}."]
