"""Hedging: a slow engine call is overtaken by another one, within the budget, and the house pays for the one that loses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from in_hand import WALL_S
from plain_engine import PlainEngine
from virtual import run

from tidegate.call import Call, Head
from tidegate.config import parse_text
from tidegate.config.advice import warnings
from tidegate.dispatch.deployments import Deployment
from tidegate.engines.answers import read_answer
from tidegate.errors import BadRequest, GatewayError, UpstreamError
from tidegate.gateway import Gateway
from tidegate.http.apis import openai
from tidegate.kernel.latencies import FEWEST
from tidegate.quotas.needs import Need, used
from tidegate.runtime import Runtime
from tidegate.types import ANSWER, FAILED, HEDGE, Ask, Batch, Endpoint, Exit, Piece

USUAL_S = 0.1
P95_S = 0.2
SLOW_S = 5.0
Fail = Callable[[], GatewayError]


class Paced(PlainEngine):
    """An engine that takes `takes_s` to answer with its name, or to fail. `then` are the times of the next calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.takes_s = USUAL_S
        self.then: list[float] = []
        self.fails: Fail | None = None
        self.tokens = 5
        self.asked = self.running = self.cut = 0

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        del ask
        self.asked += 1
        self.running += 1
        whole = False
        try:
            await asyncio.sleep(self.then.pop(0) if self.then else self.takes_s)
            whole = True
            if self.fails is not None:
                raise self.fails()
            told = answer(self.name, self.tokens)
            yield [Piece(told, read_answer(told))]
        finally:
            self.running -= 1
            self.cut += not whole


def answer(name: str, tokens: int) -> bytes:
    tree = {
        "choices": [{"index": 0, "message": {"content": name}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": tokens},
    }
    return json.dumps(tree).encode()


class World:
    """A gateway with the model `m` on the engines `near` and `far`, of which `near` is the first."""

    def __init__(self, gateway: Gateway, engines: dict[str, Paced]) -> None:
        self.gateway = gateway
        self.near, self.far = engines["near"], engines["far"]
        self.engines = engines
        self.runtime = gateway.runtime
        self.tasks = len(asyncio.all_tasks())

    async def ask(self, **fields: Any) -> Call:
        """Make a call and return it after its end. Its answer is in `answers`."""
        call = self.call(**fields)
        await self.answer(call)
        return call

    def call(self, **fields: Any) -> Call:
        now = self.runtime.clock()
        call = Call(
            id="c", endpoint=Endpoint.CHAT, exit=Exit(), arrived_at=now, received_at=now, deadline=now + 60
        )
        fields = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], **fields}
        body = json.dumps(fields).encode()
        call.body_bytes = len(body)
        openai.read(body, call)
        return call

    async def answer(self, call: Call) -> str:
        async with call.exit:
            await self.gateway.snapshot.pipeline.greet(call)
            reply = await self.gateway.snapshot.pipeline.run(call)
            pieces = [piece async for batch in reply.pieces for piece in batch]
        return json.loads(pieces[0].data)["choices"][0]["message"]["content"]

    async def learn(self) -> None:
        """Make calls to `near` until its latencies are known: the longest 5 % of them take `P95_S`."""
        self.near.then = [P95_S, P95_S]
        for _ in range(FEWEST):
            assert (await self.ask()).outcome == "ok"
        self.near.asked = 0

    def seats(self, name: str) -> int:
        return self.gateway.snapshot.engines[name].seats.in_flight

    def deployment(self, name: str) -> Deployment:
        return next(one for one in self.gateway.snapshot.models.named("m") if one.engine_name == name)

    def hedges(self) -> float:
        return self.total("tidegate_engine_hedges_total")

    def total(self, metric: str) -> float:
        lines = self.runtime.metrics.render().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(metric))


@asynccontextmanager
async def served(
    model: dict[str, Any] | None = None, *, names: str = "near far", **more: Any
) -> AsyncIterator[World]:
    clock = asyncio.get_running_loop().time
    engines = {name: Paced(name) for name in names.split()}
    # `far` has next to no weight, so that calls go to `near` first.
    tree = {
        "engines": {name: {"kind": "scripted", "max_in_flight": 4} for name in engines},
        "models": {
            "m": {
                "deployments": [
                    {"engine": name, "weight": 1e6 if name == "near" else 1e-6} for name in engines
                ],
                "affinity": "none",
                "hedges": True,
                **(model or {}),
            }
        },
        **more,
    }
    config = parse_text(json.dumps(tree), source="the test")
    runtime = Runtime(clock=clock, wall=lambda: WALL_S + clock(), make=lambda name, _: engines[name])
    async with Gateway(config, runtime=runtime) as gateway:
        yield World(gateway, engines)


def told(call: Call) -> str:
    return dict(call.reply_headers)[b"x-tidegate-route"].decode()


def test_a_slow_engine_is_overtaken_and_its_seat_is_free_at_once() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            world.near.takes_s = SLOW_S
            call, began = world.call(), world.runtime.clock()
            async with call.exit:
                await world.gateway.snapshot.pipeline.greet(call)
                reply = await world.gateway.snapshot.pipeline.run(call)
                batch = await anext(aiter(reply.pieces))
                assert b"far" in batch[0].data
                assert world.runtime.clock() - began == pytest.approx(P95_S + USUAL_S, abs=0.01)
                await asyncio.sleep(0)
                assert (world.near.running, world.seats("near")) == (0, 0), (
                    "before the client has read the rest"
                )
                with pytest.raises(StopAsyncIteration):
                    await anext(aiter(reply.pieces))
            assert told(call) == "model=m;why=hedge;tier=0;tries=2"
            assert call.deployment is not None
            assert call.deployment.engine_name == "far"
            assert outcomes(call) == [("near", HEDGE, "cancelled"), ("far", ANSWER, "ok")]
            assert (world.near.cut, world.seats("far"), world.hedges()) == (1, 0, 1)

    run(scene())


def test_the_first_one_may_still_win() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            world.near.takes_s = P95_S + USUAL_S / 2
            call = world.call()
            assert await world.answer(call) == "near"
            assert told(call) == "model=m;why=load;tier=0;tries=1"
            assert outcomes(call) == [("near", ANSWER, "ok"), ("far", HEDGE, "cancelled")]
            assert (world.far.cut, world.seats("near"), world.seats("far")) == (1, 0, 0)
            world.near.takes_s = USUAL_S
            assert outcomes(await world.ask()) == [("near", ANSWER, "ok")], "no hedge is left over"
            assert (world.far.asked, world.hedges()) == (1, 1)

    run(scene())


def test_the_house_pays_for_the_one_that_loses() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            for takes_s in (SLOW_S, P95_S + USUAL_S / 2):
                world.near.takes_s = takes_s
                call = await world.ask()
                assert len(call.spent) == 2
                for internal in (False, True):
                    assert used(call.spent, Need(prompt=10), None, internal=internal) == (1, 15, 0)

    run(scene())


def test_both_count_as_time_that_the_engines_took() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            world.near.takes_s = SLOW_S
            call = await world.ask()
            call.answered_at = world.runtime.clock()
            before, counted = (world.total(f"tidegate_overhead_seconds_{part}") for part in ("sum", "count"))
            world.runtime.metrics.finished(call.record(world.runtime.clock()))
            assert world.total("tidegate_overhead_seconds_count") == counted + 1
            assert world.total("tidegate_overhead_seconds_sum") - before < 0.01

    run(scene())


@pytest.mark.parametrize("fails_first", ["near", "far"])
def test_a_round_that_fails_beside_another_one_is_made_up_for(fails_first: str) -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            other = {"near": "far", "far": "near"}[fails_first]
            world.near.takes_s = P95_S + 0.05 if fails_first == "near" else P95_S + 0.3
            world.engines[fails_first].fails = broken
            call = world.call()
            assert await world.answer(call) == other
            assert sorted(outcomes(call)) == sorted(
                [(other, ANSWER, "ok"), (fails_first, FAILED, "engine_error")]
            )
            assert (world.seats("near"), world.seats("far")) == (0, 0)

    run(scene())


def test_failures_beside_a_hedge_count_against_the_engine() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            world.near.takes_s, world.near.fails = P95_S + 0.05, broken
            for _ in range(5):
                assert await world.answer(world.call()) == "far"
            assert world.hedges() == 5
            assert world.deployment("near").is_out(world.runtime.clock())

    run(scene())


@pytest.mark.parametrize("names", ["near far", "near far third"])
def test_if_both_fail_the_call_goes_on_as_usual(names: str) -> None:
    async def scene() -> None:
        async with served(names=names) as world:
            await world.learn()
            world.near.takes_s = P95_S + 0.05
            world.near.fails = world.far.fails = broken
            call = world.call()
            if "third" in names:
                assert await world.answer(call) == "third"
                assert told(call) == "model=m;why=retry;tier=0;tries=3"
                assert [one.purpose for one in call.spent] == [FAILED, FAILED, ANSWER]
            else:
                with pytest.raises(UpstreamError):
                    await world.answer(call)
            assert (world.near.asked, world.far.asked) == (1, 1), (
                "three rounds are the most, the hedge included"
            )
            assert not any(world.seats(name) for name in world.engines)

    run(scene())


def test_what_any_engine_would_say_is_not_waited_for_twice() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            world.near.takes_s, world.near.fails = P95_S + 0.05, lambda: BadRequest("wrong")
            with pytest.raises(BadRequest, match="wrong"):
                await world.answer(world.call())
            assert (world.far.cut, world.seats("far"), world.far.running) == (1, 0, 0)

    run(scene())


@pytest.mark.parametrize("after_s", [0.0, 0.1, P95_S - 1e-5, P95_S, P95_S + 1e-5, P95_S + 2e-5, P95_S + 0.05])
def test_a_client_that_leaves_frees_both(after_s: float) -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            world.near.takes_s = SLOW_S
            call = world.call()
            client = asyncio.ensure_future(world.answer(call))
            await asyncio.sleep(after_s)
            client.cancel()
            await asyncio.wait([client])
            assert client.cancelled()
            assert not any((one.running, world.seats(one.name)) != (0, 0) for one in world.engines.values())
            expected = [("near", ANSWER, "cancelled"), ("far", HEDGE, "cancelled")]
            assert outcomes(call) == expected[: len(call.spent)]
            if after_s in (0.1, P95_S + 0.05):
                assert len(call.spent) == 1 + (after_s > P95_S)
            assert len(asyncio.all_tasks()) == world.tasks, "nothing is left behind"

    run(scene())


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"max_tokens": 300},
        {"n": 6},
        {"messages": [{"role": "user", "content": "hi " * 9000}]},
    ],
    ids=["streamed", "long", "many", "prompt"],
)
def test_streams_and_large_calls_are_not_hedged(fields: dict[str, Any]) -> None:
    async def scene() -> None:
        async with served() as world:
            world.near.tokens = 400
            await world.learn()
            world.near.takes_s = SLOW_S
            await world.ask(**fields)
            assert (world.near.asked, world.far.asked) == (1, 0)

    run(scene())


def deployed(*deployments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"deployments": list(deployments), **more}


@pytest.mark.parametrize(
    "model",
    [
        {"hedges": False},
        deployed({"engine": "near"}),
        deployed({"engine": "near"}, {"engine": "near", "model": "other"}),
        deployed({"engine": "near"}, {"engine": "far", "tier": 1}),
    ],
    ids=["not asked for", "one deployment", "the same engine", "another tier"],
)
def test_without_another_engine_of_the_tier_there_is_no_hedge(model: dict[str, Any]) -> None:
    async def scene() -> None:
        async with served(model) as world:
            await world.learn()
            world.near.takes_s = SLOW_S
            began = world.runtime.clock()
            await world.ask()
            assert world.runtime.clock() - began >= SLOW_S
            assert (world.near.asked, world.far.asked) == (1, 0)

    run(scene())


def empty(world: World) -> None:
    health = world.deployment("near").health
    assert health is not None
    health.budget.left = 0.0


def full(world: World) -> None:
    while world.gateway.snapshot.engines["far"].seats.try_take():
        pass


def out(world: World) -> None:
    health = world.deployment("far").health
    assert health is not None
    for _ in range(5):
        health.failed(broken(), world.runtime.clock(), probe=False)


def unready(world: World) -> None:
    world.gateway.snapshot.engines["far"].seats.ready = False


@pytest.mark.parametrize("prevent", [empty, full, out, unready])
def test_there_is_no_hedge_without(prevent: Callable[[World], None]) -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            prevent(world)
            world.near.takes_s = SLOW_S
            call = world.call()
            assert await world.answer(call) == "near"
            assert (world.near.asked, world.far.asked, world.hedges()) == (1, 0, 0)

    run(scene())


def test_nothing_is_hedged_before_the_latencies_are_known() -> None:
    async def scene() -> None:
        async with served() as world:
            world.near.takes_s = SLOW_S
            for _ in range(FEWEST):
                await world.ask()
            assert world.far.asked == 0
            world.near.takes_s = 2 * SLOW_S
            await world.ask()
            assert world.far.asked == 1

    run(scene())


def test_an_engine_that_stays_slow_gets_a_tenth_more_requests_at_the_most() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            # Each call is slower than those before it, so that the latencies are always behind.
            for calls in range(200):
                world.near.takes_s = P95_S * 1.01**calls
                await world.ask()
            asked = world.near.asked + world.far.asked
            assert 200 * 1.05 < asked <= 200 * 1.1 + 3 + FEWEST * 0.1

    run(scene())


def test_a_probe_that_is_cut_may_be_followed_by_another() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            out(world)
            await asyncio.sleep(5)
            far = world.deployment("far")
            assert not far.is_out(world.runtime.clock()), "half open"
            world.near.takes_s = P95_S + USUAL_S / 2
            assert outcomes(await world.ask())[1] == ("far", HEDGE, "cancelled")
            assert not far.is_out(world.runtime.clock())
            world.near.takes_s = SLOW_S
            assert outcomes(await world.ask())[1] == ("far", ANSWER, "ok")

    run(scene())


def test_all_who_wait_for_one_answer_get_that_of_the_hedge() -> None:
    async def scene() -> None:
        async with served() as world:
            await world.learn()
            world.near.takes_s = SLOW_S
            calls = [world.call() for _ in range(3)]
            for call in calls:
                call.head = Head(headers={b"idempotency-key": b"11111111-2222-4333-8444-555555555555"})
            assert await asyncio.gather(*map(world.answer, calls)) == ["far"] * 3
            assert (world.near.asked, world.far.asked) == (1, 1)
            for call in calls:
                routes = [value for name, value in call.reply_headers if name == b"x-tidegate-route"]
                assert routes == [b"model=m;why=hedge;tier=0;tries=2"]
            payers = [outcomes(call) for call in calls if call.spent]
            assert payers == [[("near", HEDGE, "cancelled"), ("far", ANSWER, "ok")]]

    run(scene())


def test_hedges_without_a_second_engine_are_warned_of() -> None:
    def warned(*deployments: dict[str, Any]) -> list[str]:
        tree = {
            "engines": {"near": {"kind": "scripted"}, "far": {"kind": "scripted"}},
            "models": {"m": {"deployments": list(deployments), "hedges": True}},
        }
        return [one.path for one in warnings(parse_text(json.dumps(tree), source="the test"))]

    near, far = {"engine": "near"}, {"engine": "far"}
    assert warned(near) == ["models.m.hedges"]
    assert warned(near, {**near, "model": "other"}) == ["models.m.hedges"]
    assert warned(near, {**far, "tier": 1}) == ["models.m.hedges"]
    assert warned(near, far) == []


def outcomes(call: Call) -> list[tuple[str, str, str]]:
    return [(one.engine, one.purpose, one.outcome) for one in call.spent]


def broken() -> UpstreamError:
    return UpstreamError("500")
