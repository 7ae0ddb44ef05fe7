"""What happens after a failed round: which deployment is next, which model, and when a retry is one too many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from in_hand import WALL_S
from plain_engine import PlainEngine
from virtual import run

from tidegate.call import Call
from tidegate.config import parse_text
from tidegate.engines.answers import read_answer
from tidegate.errors import (
    BadRequest,
    ConfigError,
    ContentRefused,
    ContextExceeded,
    GatewayError,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from tidegate.gateway import Gateway
from tidegate.http.apis import openai
from tidegate.runtime import Runtime
from tidegate.types import FAILED, Ask, Batch, Endpoint, Exit, Piece

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
Fail = Callable[[], GatewayError]


class Scripted(PlainEngine):
    """An engine that fails with one error after the other, and then answers."""

    def __init__(self, *failures: Fail, always: Fail | None = None) -> None:
        self.failures = list(failures)
        self.always = always
        self.asked: list[str] = []
        self.at: list[float] = []

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        self.asked.append(ask.model)
        self.at.append(asyncio.get_running_loop().time())
        if self.failures:
            fails = self.failures.pop(0)
            raise fails()
        if self.always is not None:
            raise self.always()
        yield [Piece(ANSWER, read_answer(ANSWER))]


def served(models: dict[str, Any], times: int = 1, **engines: Scripted) -> list[Call | GatewayError]:
    """Make calls to the model `m`, and return each call that was answered, or the error."""

    async def scene() -> list[Call | GatewayError]:
        clock = asyncio.get_running_loop().time
        tree = {"engines": {name: {"kind": "scripted"} for name in engines}, "models": models}
        config = parse_text(json.dumps(tree), source="the test")
        runtime = Runtime(clock=clock, wall=lambda: WALL_S + clock(), make=lambda name, _: engines[name])
        async with Gateway(config, runtime=runtime) as gateway:
            return [await one(gateway, clock()) for _ in range(times)]
        raise AssertionError("unreachable")

    return run(scene())


async def one(gateway: Gateway, now: float, body: bytes = BODY) -> Call | GatewayError:
    call = Call(
        id="c", endpoint=Endpoint.CHAT, exit=Exit(), arrived_at=now, received_at=now, deadline=now + 60
    )
    openai.read(body, call)
    try:
        async with call.exit:
            await gateway.snapshot.pipeline.greet(call)
            reply = await gateway.snapshot.pipeline.run(call)
            assert [piece.data async for batch in reply.pieces for piece in batch] == [ANSWER]
    except GatewayError as error:
        return error
    return call


def on(*engines: str, **more: Any) -> dict[str, Any]:
    return {"deployments": [{"engine": name} for name in engines], "affinity": "none", **more}


def broken() -> UpstreamError:
    return UpstreamError("500")


def unreachable() -> UpstreamUnreachable:
    return UpstreamUnreachable("no connection")


def busy() -> UpstreamBusy:
    return UpstreamBusy("full", retry_after_s=1)


@pytest.mark.parametrize("fails", [broken, unreachable, busy, lambda: UpstreamTimeout("silent")])
def test_another_deployment_makes_up_for_one_that_fails(fails: Fail) -> None:
    bad, good = Scripted(always=fails), Scripted()
    found = served({"m": on("bad", "good")}, 40, bad=bad, good=good)
    assert all(isinstance(call, Call) for call in found)
    assert len(good.asked) == 40
    assert len(bad.asked) <= 5, "then calls go elsewhere at once"
    failed = [spent.purpose for call in found if isinstance(call, Call) for spent in call.spent[:-1]]
    assert set(failed) <= {FAILED}


def test_three_rounds_are_the_most() -> None:
    engines = {name: Scripted(always=broken) for name in "abcde"}
    (found,) = served({"m": on(*engines)}, **engines)
    assert isinstance(found, UpstreamError)
    assert sum(len(one.asked) for one in engines.values()) == 3


@pytest.mark.parametrize(("fails", "asked"), [(unreachable, 3), (busy, 3), (broken, 1)])
def test_the_only_deployment_is_asked_again_only_if_it_cannot_have_worked(fails: Fail, asked: int) -> None:
    only = Scripted(fails, fails)
    (found,) = served({"m": on("only")}, only=only)
    assert len(only.asked) == asked
    assert isinstance(found, Call) == (asked == 3)
    if fails is busy:
        assert only.at[1] - only.at[0] >= 1, "it has asked for a second"


def test_retries_of_an_engine_that_fails_are_a_tenth_of_its_requests() -> None:
    only = Scripted(always=unreachable)
    found = served({"m": on("only")}, 200, only=only)
    assert all(isinstance(one, UpstreamUnreachable) for one in found)
    assert 200 < len(only.asked) <= 200 * 1.1 + 3


def test_a_request_that_is_wrong_is_not_tried_again() -> None:
    picky, other = Scripted(always=lambda: BadRequest("wrong")), Scripted(always=lambda: BadRequest("wrong"))
    (found,) = served({"m": on("picky", "other")}, picky=picky, other=other)
    assert isinstance(found, BadRequest)
    assert len(picky.asked + other.asked) == 1


@pytest.mark.parametrize(
    ("field", "fails"),
    [
        ("fallbacks", broken),
        ("fallbacks", unreachable),
        ("fallbacks_on_context", lambda: ContextExceeded("too long")),
        ("fallbacks_on_refusal", lambda: ContentRefused("no")),
    ],
)
def test_another_model_takes_over(field: str, fails: Fail) -> None:
    near, far = Scripted(always=fails), Scripted()
    models = {"m": on("near", **{field: ["gone", "big"]}), "big": on("far"), "gone": on("near")}
    models["gone"]["deployments"][0]["model"] = "other"
    if field != "fallbacks":
        models["m"][field] = ["big"]
    (found,) = served(models, near=near, far=far)
    assert isinstance(found, Call)
    assert (found.route, far.asked) == ("m", ["big"]), "the engine is told its own model"


@pytest.mark.parametrize("fails", [lambda: ContextExceeded("too long"), lambda: ContentRefused("no")])
def test_a_chain_for_failures_is_not_one_for_what_the_engine_rejects(fails: Fail) -> None:
    near, far = Scripted(always=fails), Scripted()
    (found,) = served({"m": on("near", fallbacks=["big"]), "big": on("far")}, near=near, far=far)
    assert isinstance(found, BadRequest)
    assert not far.asked


@pytest.mark.parametrize(("named", "says"), [("bigg", "there is no model 'bigg'"), ("m", "the model itself")])
def test_a_fallback_has_to_be_another_model(named: str, says: str) -> None:
    tree = {"engines": {"e": {"kind": "scripted"}}, "models": {"m": on("e", fallbacks=[named])}}
    with pytest.raises(ConfigError) as raised:
        parse_text(json.dumps(tree), source="the test")
    (problem,) = raised.value.problems
    assert problem.path == "models.m.fallbacks[0]"
    assert says in problem.message


# ------------------------------------------------------------------------------------------------- a retry without a seat


class Held(Scripted):
    """An engine whose first call takes so many seconds. The others are answered at once."""

    def __init__(self, first_s: float) -> None:
        super().__init__()
        self.first_s = first_s

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        if not self.asked:
            self.asked.append(ask.model)
            await asyncio.sleep(self.first_s)
            yield [Piece(ANSWER, read_answer(ANSWER))]
        else:
            async for batch in super().stream(ask):
                yield batch


def retried(first_s: float) -> tuple[Call | GatewayError, float]:
    """Make a call that fails on one engine and then waits for the only seat of the other. Return its end and the time."""

    async def scene() -> tuple[Call | GatewayError, float]:
        clock = asyncio.get_running_loop().time
        engines = {"bad": Scripted(broken), "full": Held(first_s)}
        tree = {
            "engines": {"bad": {"kind": "scripted"}, "full": {"kind": "scripted", "max_in_flight": 1}},
            "models": {
                "m": {"deployments": [{"engine": "bad"}, {"engine": "full", "tier": 1}]},
                "n": on("full"),
            },
            "queue": {"classes": {"default": {"longest_wait_s": 5}}},
        }
        config = parse_text(json.dumps(tree), source="the test")
        runtime = Runtime(clock=clock, wall=lambda: WALL_S + clock(), make=lambda name, _: engines[name])
        async with Gateway(config, runtime=runtime) as gateway:
            body = BODY.replace(b'"m"', b'"n"')
            holds = asyncio.create_task(one(gateway, clock(), body))
            await asyncio.sleep(0.01)
            found, ended_at = await one(gateway, clock()), clock()
            holds.cancel()
            return found, ended_at
        raise AssertionError("unreachable")

    return run(scene())


def test_a_retry_waits_for_a_seat_longer_than_its_class_may_wait_at_the_door() -> None:
    found, ended_at = retried(20)
    assert isinstance(found, Call)
    assert [spent.outcome for spent in found.spent] == [UpstreamError.code, "ok"]
    assert 20 <= ended_at < 21


def test_a_retry_that_gets_no_seat_ends_in_the_error_of_the_engine() -> None:
    found, ended_at = retried(1000)
    assert isinstance(found, UpstreamError)
    assert (found.upstream.engine, found.upstream.model) == ("bad", "m")
    assert 59 < ended_at < 61, "at its deadline"
