"""The way of a request: what is there, in which order, and that everything taken is given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_engine import PlainEngine

from tidegate.caches.answers import Answers
from tidegate.call import Call
from tidegate.config import parse_text
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.dispatch.queue import Queue
from tidegate.dispatch.seats import Seats
from tidegate.engines import fields
from tidegate.engines.openai import read_answer
from tidegate.errors import (
    Again,
    BadRequest,
    GatewayError,
    ModelNotFound,
    NotSupported,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnreachable,
)
from tidegate.http.apis import openai
from tidegate.pipeline import NO_PARTS, Parts, Pipeline, Stage, the_way
from tidegate.policy import DEFAULT, Policies, Policy
from tidegate.ports import Sink
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.process import Quotas
from tidegate.runtime import make_engine
from tidegate.stages.authenticate import Authenticate
from tidegate.stages.counting import Counting
from tidegate.stages.limit import Limiting
from tidegate.stages.railed import Railed
from tidegate.stages.recall import Recall
from tidegate.types import Ask, Batch, Capabilities, Endpoint, Exit, Piece, Record, Reply, Usage

pytestmark = pytest.mark.anyio
ANSWER = (
    b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}'
)


class Echo(PlainEngine):
    """An engine that answers at once, and fails when asked for the model `broken`."""

    def __init__(self, fields: frozenset[str] = frozenset(("model", "messages", "stream"))) -> None:
        self.capabilities = Capabilities({Endpoint.CHAT: fields})
        self.closed = 0

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        try:
            if ask.model == "broken":
                raise UpstreamError("broken")
            yield [Piece(ANSWER, read_answer(ANSWER))]
            yield [Piece(ANSWER, read_answer(ANSWER))]
        finally:
            self.closed += 1


class Told:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.calls: list[Record] = []

    def finished(self, record: Record) -> None:
        self.calls.append(record)


def parse(endpoint: Endpoint, body: bytes) -> Call:
    """A call that arrived at 0 and may take a minute."""
    call = Call(id="id", endpoint=endpoint, exit=Exit(), arrived_at=0.0, received_at=0.0, deadline=60.0)
    openai.read(body, call)
    return call


def one() -> float:
    """A clock that stands still."""
    return 1.0


def parts(models: Models, *sinks: Sink) -> Parts:
    limit = Limiting(Quotas(one, one), Counting(models), one)
    gate = Authenticate(Policies({DEFAULT: Policy()}))
    recall = Recall(Answers(one), models, one)
    return Parts(
        one,
        one,
        sinks,
        gate,
        limit,
        recall,
        models,
        Queue(one),
        OutputEstimate(),
        Railed(models, one, one, b""),
    )


def way(models: Models, *sinks: Sink) -> Pipeline:
    return Pipeline(the_way(parts(models, *sinks)), one)


async def go(pipeline: Pipeline, call: Call) -> Reply:
    await pipeline.greet(call)
    return await pipeline.run(call)


class Scene:
    """A pipeline of its own with a clock that stands still."""

    def __init__(self, *names: str, limit: int | None = None) -> None:
        self.engine, self.seats, self.told = Echo(), Seats(limit), Told()
        deployment = Deployment("echo", self.engine, self.seats)
        self.pipeline = way(Models({name: [deployment] for name in names or ("*",)}), self.told)

    async def run(self, model: str = "m", body: bytes = b"", endpoint: Endpoint = Endpoint.CHAT) -> Call:
        """One call all the way; raises what refuses it."""
        body = body or b'{"model":"%b","messages":[{"role":"user","content":"hello"}]}' % model.encode()
        call = parse(endpoint, body)
        async with call.exit:
            reply = await go(self.pipeline, call)
            async for _ in reply.pieces:
                assert self.seats.in_flight == 1
        return call


def test_the_way_is_the_design() -> None:
    stages = the_way(NO_PARTS)
    assert [stage.name for stage in stages] == (
        [
            "observe",
            "authenticate",
            "limit",
            "account",
            "screen",
            "recall",
            "admit",
            "guard",
            "remember",
            "route",
            "attempt",
        ]
    )
    assert [stage.name for stage in stages if stage.on_head] == ["observe", "authenticate"]
    assert [stage.name for stage in stages if stage.work] == [
        "observe",
        "authenticate",
        "limit",
        "screen",
        "recall",
        "admit",
        "guard",
        "route",
        "attempt",
    ]


async def test_a_call_is_told_once_with_its_usage_and_frees_its_slot() -> None:
    scene = Scene()
    call = await scene.run()
    assert [told.id for told in scene.told.calls] == [call.id]
    assert call.outcome == "ok"
    [spent] = call.spent
    assert spent.usage == Usage(prompt_tokens=3, completion_tokens=1, cached_tokens=2)
    assert (spent.purpose, spent.engine, spent.outcome) == ("answer", "echo", "ok")
    assert (scene.seats.in_flight, scene.engine.closed) == (0, 1)


@pytest.mark.parametrize(
    ("model", "body", "error", "outcome"),
    [
        ("broken", b"", UpstreamError, "engine_error"),
        ("m", b'{"model":"m","messages":[{"role":"user"}],"priority":1}', BadRequest, "invalid_request"),
    ],
)
async def test_a_failed_call_is_told_too(
    model: str, body: bytes, error: type[GatewayError], outcome: str
) -> None:
    scene = Scene()
    with pytest.raises(error):
        await scene.run(model, body)
    assert [call.outcome for call in scene.told.calls] == [outcome]
    assert scene.seats.in_flight == 0


async def test_a_call_that_is_cancelled_while_it_streams_gives_everything_back() -> None:
    scene = Scene()
    call = parse(
        Endpoint.CHAT,
        b'{"model":"m","messages":[{"role":"user","content":"x"}]}',
    )
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012 - what runs inside is what is cancelled
        async with call.exit:
            reply = await go(scene.pipeline, call)
            async for _ in reply.pieces:
                raise asyncio.CancelledError
    assert (scene.seats.in_flight, scene.engine.closed, call.outcome) == (0, 1, "cancelled")
    assert [told.id for told in scene.told.calls] == [call.id]


async def test_an_endpoint_that_the_engine_lacks_is_refused() -> None:
    scene = Scene()
    with pytest.raises(NotSupported):
        await scene.run(body=b'{"model":"m","input":"x"}', endpoint=Endpoint.EMBEDDINGS)


@pytest.mark.parametrize(
    ("asked", "served_as"),
    [("gpt-4o", "gpt-4o"), ("gpt-4o-mini", "gpt-4*"), ("gpt-5", "gpt-*"), ("llama", "*")],
)
async def test_the_longest_match_wins(asked: str, served_as: str) -> None:
    scene = Scene("*", "gpt-*", "gpt-4*", "gpt-4o")
    assert (await scene.run(asked)).route == served_as


async def test_an_unknown_model_is_told_which_exist() -> None:
    with pytest.raises(ModelNotFound, match="there are: a, b-"):
        await Scene("a", "b-*").run("c")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("gpt-4", "gpt-4o"), ("openai/gpt-4o", "gpt-4o"), ("GPT-4O", "gpt-4o"), ("claude", None)],
)
async def test_a_model_that_is_misspelt_is_guessed(asked: str, meant: str | None) -> None:
    with pytest.raises(ModelNotFound) as raised:
        await Scene("gpt-4o", "default", "x-*").run(asked)
    assert (f"did you mean '{meant}'?" in raised.value.message) == (meant is not None)
    assert ("did you mean" in raised.value.message) == (meant is not None)


async def test_what_is_said_of_an_unknown_model_is_short_however_much_there_is() -> None:
    with pytest.raises(ModelNotFound) as raised:
        await Scene(*(f"model-{number:04}" for number in range(5000))).run("y" * 100_000)
    assert len(raised.value.message) < 1000


@pytest.mark.parametrize(
    ("field", "mend"),
    [
        ("temprature", "did you mean 'temperature'?"),
        ("max_token", "did you mean 'max_tokens'?"),
        ("toolChoice", "did you mean 'tool_choice'?"),
        ("top_pp", "did you mean 'top_p'?"),
        ("streams", "leave it out"),  # `stream` is there already
        ("guidance", "leave it out"),
        ("x" * 5000, "leave it out"),
    ],
)
async def test_a_field_that_is_misspelt_is_guessed(field: str, mend: str) -> None:
    body = {"model": "m", "messages": [{"role": "user"}], "stream": False, field: 1}
    scene = Scene("m")
    scene.engine.capabilities = Capabilities({Endpoint.CHAT: fields.OPENAI[Endpoint.CHAT]})
    with pytest.raises(BadRequest) as raised:
        await scene.run(body=json.dumps(body).encode())
    assert raised.value.param == field
    assert raised.value.message.endswith(f"for the model 'm'; {mend}")


async def test_the_least_busy_deployment_serves() -> None:
    engine = Echo()
    busy, idle = Seats(), Seats()
    busy.work = 2
    models = Models({"m": [Deployment("busy", engine, busy), Deployment("idle", engine, idle)]})
    pipeline = way(models)
    call = parse(Endpoint.CHAT, b'{"model":"m","messages":[{"role":"user"}]}')
    async with call.exit:
        reply = await go(pipeline, call)
        await anext(reply.pieces)
        assert call.deployment is not None
        assert call.deployment.engine_name == "idle"


@given(st.lists(st.sampled_from(["sync", "async", "raises", "async raises"]), max_size=8))
def test_an_exit_runs_every_release_last_in_first_out(kinds: list[str]) -> None:
    ran: list[int] = []

    async def play() -> None:
        leaving = Exit()
        for number, kind in enumerate(kinds):
            leaving.push(_step(ran, number, kind))
        if any("raises" in kind for kind in kinds):
            with pytest.raises(ZeroDivisionError):
                async with leaving:
                    pass
        else:
            async with leaving:
                pass

    asyncio.run(play())
    assert ran == list(reversed(range(len(kinds))))


def _step(ran: list[int], number: int, kind: str):
    async def later() -> None:
        ran.append(number)
        if "raises" in kind:
            raise ZeroDivisionError

    def now(error: BaseException | None) -> None:
        del error
        ran.append(number)
        if "raises" in kind:
            raise ZeroDivisionError

    return (lambda _: later()) if "async" in kind else now


class Failing(Echo):
    """An engine that raises what it is given before its first batch."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__()
        self.error = error
        self.asked = 0

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        del ask
        self.asked += 1
        raise self.error
        yield []


async def served_by(*deployments: Deployment, times: int = 1) -> list[str]:
    """The engines that answered so many calls, one after the other."""
    pipeline = way(Models({"m": deployments}))
    engines: list[str] = []
    for _ in range(times):
        body = b'{"model":"m","messages":[{"role":"user"}]}'
        call = parse(Endpoint.CHAT, body)
        async with call.exit:
            async for _ in (await go(pipeline, call)).pieces:
                pass
        assert call.deployment is not None
        engines.append(call.deployment.engine_name)
    assert all(one.seats.in_flight == 0 for one in deployments)
    return engines


def ready(name: str, engine: Echo, *, is_ready: bool = True) -> Deployment:
    seats = Seats(4)
    seats.ready = is_ready
    return Deployment(name, engine, seats)


async def test_an_engine_that_was_never_reached_is_made_up_for_by_another() -> None:
    dead = Failing(UpstreamUnreachable("no connection"))
    engines = await served_by(ready("dead", dead), ready("alive", Echo()), times=4)
    assert engines == ["alive"] * 4
    assert dead.asked == 2, "equal ones share the calls: every other one found it first"


@pytest.mark.parametrize("error", [UpstreamError("broke off"), UpstreamBusy("full", retry_after_s=1)])
async def test_an_engine_that_fails_before_its_first_byte_is_made_up_for_by_another(
    error: GatewayError,
) -> None:
    failing = Failing(error)
    engines = await served_by(ready("failing", failing), ready("other", Echo(), is_ready=False))
    assert (engines, failing.asked) == (["other"], 1)


async def test_an_engine_that_may_have_worked_on_a_call_is_not_asked_again() -> None:
    failing = Failing(UpstreamError("broke off"))
    with pytest.raises(UpstreamError):
        await served_by(ready("failing", failing))
    assert failing.asked == 1


async def test_an_engine_that_dies_again_and_again_is_asked_three_times_at_most() -> None:
    error = UpstreamError("died")
    error.again = Again.SAME
    dying = Failing(error)
    with pytest.raises(UpstreamError):
        await served_by(ready("dying", dying))
    assert dying.asked == 3


async def test_a_ready_deployment_beside_a_dead_one_gets_every_call() -> None:
    dead = Failing(UpstreamUnreachable("no connection"))
    engines = await served_by(ready("dead", dead, is_ready=False), ready("alive", Echo()), times=20)
    assert (engines, dead.asked) == (["alive"] * 20, 0)


async def test_two_equal_deployments_share_the_calls() -> None:
    engines = await served_by(ready("one", Echo()), ready("two", Echo()), times=20)
    assert (engines.count("one"), engines.count("two")) == (10, 10)


async def test_a_field_that_one_deployment_takes_is_no_mistake() -> None:
    picky, open_minded = Echo(), Echo(frozenset(("model", "messages", "stream", "seed")))
    models = Models({"m": [ready("picky", picky), ready("open", open_minded)]})
    pipeline = way(models)
    for _ in range(4):
        body = b'{"model":"m","messages":[{"role":"user"}],"seed":1}'
        call = parse(Endpoint.CHAT, body)
        async with call.exit:
            await go(pipeline, call)
        assert [one.engine_name for one in call.groups[0].deployments] == ["open"]


class Hit:
    """A stage in the middle that answers, as a cache would."""

    async def __call__(self, call: Call) -> Reply:
        async def pieces() -> AsyncGenerator[Batch, None]:
            yield [Piece(ANSWER, read_answer(ANSWER))]

        return Reply(pieces(), [(b"x-hit", b"yes")])


class Wrapping:
    """A stage that lets calls go on, and remembers whose answers it saw."""

    def __init__(self) -> None:
        self.wrapped = 0

    async def __call__(self, call: Call) -> None: ...

    def wrap(self, call: Call, pieces: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        self.wrapped += 1
        return pieces


async def test_an_early_reply_is_wrapped_by_the_stages_before_it_and_timed() -> None:
    before, behind = Wrapping(), Wrapping()
    stages = [Stage("before", "", before), Stage("recall", "", Hit()), Stage("behind", "", behind)]
    pipeline = Pipeline(stages, one)
    call = parse(Endpoint.CHAT, b'{"model":"m","messages":[{"role":"user"}]}')
    async with call.exit:
        await pipeline.run(call)
    assert (before.wrapped, behind.wrapped) == (1, 0)
    assert pipeline.timing(call) == b"before;dur=1000.000, recall;dur=0.000, total;dur=1000.000"


async def test_no_cancellation_cuts_what_an_exit_awaits() -> None:
    ended: list[str] = []

    async def settle() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended.append("settled")

    async def play() -> None:
        leaving = Exit()
        leaving.push(lambda _: settle())
        async with leaving:
            pass

    task = asyncio.ensure_future(play())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["settled"]


async def test_a_task_of_a_call_ends_with_it() -> None:
    leaving, ended = Exit(), list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async with leaving:
        leaving.task(work(), name="a judge")
        await asyncio.sleep(0)
    assert ended == ["cancelled"]


async def test_a_sink_that_fails_silences_no_other() -> None:
    class Broken:
        def finished(self, record: Record) -> None:
            raise ZeroDivisionError

    told = Told()
    for sinks in ([Broken(), told], [told, Broken()]):
        told.calls.clear()
        pipeline = way(Models({"m": [ready("e", Echo())]}), *sinks)
        call = parse(Endpoint.CHAT, b'{"model":"m","messages":[{"role":"user"}]}')
        with pytest.raises(ZeroDivisionError):
            async with call.exit:
                await go(pipeline, call)
        assert [one.id for one in told.calls] == [call.id]


@pytest.mark.parametrize("kind", ["openai", "vllm", "sglang", "llamacpp", "embedded", "scripted"])
def test_every_engine_that_streams_is_asked_for_its_token_counts(kind: str) -> None:
    url = {"url": "http://127.0.0.1:9/v1"} if kind not in ("embedded", "scripted") else {}
    engines = {"one": {"kind": kind, **url}}
    models = {"*": {"deployments": [{"engine": "one"}]}}
    config = parse_text(json.dumps({"engines": engines, "models": models}), source="the test")
    assert make_engine("one", config.engines["one"]).capabilities.stream_usage
