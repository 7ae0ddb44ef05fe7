"""The way of a request: what is there, in which order, and that everything taken is given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dispatch.seats import Slots
from tidegate.engines.openai import read_answer
from tidegate.errors import BadRequest, GatewayError, ModelNotFound, NotSupported, UpstreamError
from tidegate.http.apis.openai import Arrival, parse
from tidegate.pipeline import Pipeline, the_way
from tidegate.ports import EngineHost
from tidegate.stages.route import Models
from tidegate.types import Batch, Call, Capabilities, Deployment, Endpoint, Exit, Load, Piece

pytestmark = pytest.mark.anyio
ANSWER = (
    b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}'
)


class Echo:
    """An engine that answers at once, and fails when asked for the model `broken`."""

    def __init__(self, fields: frozenset[str] = frozenset(("model", "messages", "stream"))) -> None:
        self.capabilities = Capabilities({Endpoint.CHAT: fields})
        self.closed = 0

    async def open(self, host: EngineHost) -> None: ...
    async def close(self) -> None: ...
    async def ready(self) -> bool:
        return True

    async def load(self) -> Load:
        return Load()

    async def count_tokens(self, call: Call) -> int | None:
        del call
        return None

    async def stream(self, call: Call, deadline: float) -> AsyncGenerator[Batch, None]:
        del deadline
        try:
            if call.model == "broken":
                raise UpstreamError("broken")
            yield [Piece(ANSWER, read_answer(ANSWER))]
            yield [Piece(ANSWER, read_answer(ANSWER))]
        finally:
            self.closed += 1


class Told:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def finished(self, call: Call, now: float) -> None:
        del now
        self.calls.append(call)


class Scene:
    """A pipeline of its own with a clock that stands still."""

    def __init__(self, *names: str, limit: int | None = None) -> None:
        self.engine, self.slots, self.told = Echo(), Slots(limit), Told()
        deployment = Deployment("echo", self.engine, self.slots)
        self.pipeline = Pipeline(
            the_way(Models({name: [deployment] for name in names or ("*",)}), [self.told], lambda: 1.0),
            lambda: 1.0,
        )

    async def run(self, model: str = "m", body: bytes = b"", endpoint: Endpoint = Endpoint.CHAT) -> Call:
        """One call all the way; raises what refuses it."""
        body = body or b'{"model":"%b","messages":[{"role":"user","content":"hello"}]}' % model.encode()
        call = parse(endpoint, body, Arrival("id", 0.0, 60.0, []))
        async with call.exit:
            reply = await self.pipeline.run(call)
            async for _ in reply.pieces:
                assert self.slots.in_flight == 1
        return call


def test_the_way_is_the_design() -> None:
    steps = the_way(Models({}), [], lambda: 0.0)
    assert [step.name for step in steps] == (
        [
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
    assert [step.name for step in steps if step.stage] == ["account", "route", "attempt"]


async def test_a_call_is_told_once_with_its_usage_and_frees_its_slot() -> None:
    scene = Scene()
    call = await scene.run()
    assert scene.told.calls == [call]
    assert call.outcome == "ok"
    assert call.usage is not None
    assert (call.usage.prompt_tokens, call.usage.cached_tokens, call.usage.completion_tokens) == (3, 2, 1)
    assert (scene.slots.in_flight, scene.engine.closed) == (0, 1)


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
    assert scene.slots.in_flight == 0


async def test_a_call_that_is_cancelled_while_it_streams_gives_everything_back() -> None:
    scene = Scene()
    call = parse(
        Endpoint.CHAT,
        b'{"model":"m","messages":[{"role":"user","content":"x"}]}',
        Arrival("id", 0.0, 60.0, []),
    )
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012 - what runs inside is what is cancelled
        async with call.exit:
            reply = await scene.pipeline.run(call)
            async for _ in reply.pieces:
                raise asyncio.CancelledError
    assert (scene.slots.in_flight, scene.engine.closed, call.outcome) == (0, 1, "cancelled")
    assert scene.told.calls == [call]


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


async def test_the_least_busy_deployment_serves() -> None:
    engine = Echo()
    busy, idle = Slots(), Slots()
    busy.in_flight = 2
    models = Models({"m": [Deployment("busy", engine, busy), Deployment("idle", engine, idle)]})
    pipeline = Pipeline(the_way(models, [], lambda: 1.0), lambda: 1.0)
    call = parse(Endpoint.CHAT, b'{"model":"m","messages":[{"role":"user"}]}', Arrival("id", 0.0, 60.0, []))
    async with call.exit:
        await pipeline.run(call)
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
