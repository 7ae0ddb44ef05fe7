from __future__ import annotations

import time
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tidegate.config import ScriptedConfig
from tidegate.engines.scripted.engine import ScriptedEngine
from tidegate.errors import (
    BadRequest,
    ConfigError,
    GatewayError,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)
from tidegate.ports import Engine
from tidegate.types import ENGINE_ENDPOINTS, Ask, Endpoint, Piece

pytestmark = pytest.mark.anyio


def call(
    text: str = "hi",
    *,
    stream: bool = True,
    endpoint: Endpoint = Endpoint.CHAT,
    seconds: float = 60,
    **more: Any,
) -> Ask:
    told: dict[Endpoint, dict[str, Any]] = {
        Endpoint.CHAT: {"messages": [{"role": "user", "content": text}]},
        Endpoint.COMPLETIONS: {"prompt": text},
        Endpoint.EMBEDDINGS: {"input": text},
    }
    body = msgspec.json.encode({"model": "m", "stream": stream, **told[endpoint], **more})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return Ask("1", endpoint, "m", fields, [], [], time.monotonic() + seconds, stream=stream)


async def opened(**config: Any) -> ScriptedEngine:
    engine = ScriptedEngine(ScriptedConfig(kind="scripted", **config))
    await engine.open(SimpleNamespace(clock=time.monotonic, spawn=None, embedder=None))
    return engine


async def collect(engine: Engine, call: Ask, pieces: list[Piece]) -> None:
    async for batch in engine.stream(call):
        pieces += batch


def text_of(pieces: list[Piece]) -> str:
    deltas = (choice.delta for piece in pieces for choice in piece.answer.choices)
    return "".join(delta.content or "" for delta in deltas if delta)


async def test_a_stream_ends_with_its_finish_and_usage() -> None:
    pieces: list[Piece] = []
    await collect(
        await opened(text="to and fro", tokens=3), call(stream_options={"include_usage": True}), pieces
    )
    assert text_of(pieces) == "to and fro"
    assert pieces[-2].answer.choices[0].finish_reason == "stop"
    usage = pieces[-1].answer.read_usage()
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (1, 3)
    assert all(piece.event == b"data: " + piece.data + b"\n\n" for piece in pieces)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"text": "An OVERDOSE, perhaps of poison?"}, "unsafe"),
        ({"text": "Is that poison?"}, "no"),
        ({"text": "Hello"}, "safe"),
        ({"messages": [{"role": "user", "content": "poison"}, {"role": "user", "content": "Hello"}]}, "safe"),
        ({"text": "An overdose? [[scripted text=marked]]"}, "marked"),
        ({"text": "poison", "endpoint": Endpoint.COMPLETIONS, "stream": False}, "no"),
    ],
)
async def test_the_last_words_choose_an_answer(said: dict[str, Any], told: str) -> None:
    engine = await opened(text="safe", answers={"Overdose": "unsafe", "poison": "no"})
    pieces: list[Piece] = []
    await collect(engine, call(**said), pieces)
    [whole, *_] = [text_of(pieces)] if said.get("stream", True) else [pieces[0].answer.choices[0].text]
    assert whole == told


@pytest.mark.parametrize("endpoint", ENGINE_ENDPOINTS)
async def test_a_call_that_is_not_streamed_gets_one_piece(endpoint: Endpoint) -> None:
    pieces: list[Piece] = []
    await collect(await opened(), call(stream=False, endpoint=endpoint), pieces)
    [piece] = pieces
    assert piece.event is None
    assert msgspec.json.decode(piece.data)["usage"]["prompt_tokens"] == 1


@pytest.mark.parametrize(
    ("marker", "error", "said"),
    [
        ("fault=close@2", UpstreamError, "t-t"),
        ("fault=reset@2", UpstreamError, "t-t"),
        ("fault=cut_utf8@2", UpstreamError, "t-t"),
        ("fault=cut_json@2", UpstreamError, "t-t"),
        ("fault=error_event@2", UpstreamError, "t-t"),
        ("fault=truncated_body@2", UpstreamError, "t-t"),
        ("fault=reset@0", UpstreamError, ""),
        ("fault=garbage", UpstreamError, ""),
        ("fault=no_finish", UpstreamError, "t-t-t-"),
        ("fault=error_status", UpstreamBusy, ""),
        ("fault=error_status status=422", UpstreamRejected, ""),
        ("fault=error_status status=500", UpstreamError, ""),
        ("fault=oops", BadRequest, ""),
    ],
)
async def test_faults_show_as_an_adapter_reports_them(
    marker: str, error: type[GatewayError], said: str
) -> None:
    pieces: list[Piece] = []
    engine = await opened(text="t-t-t-", tokens=4)
    with pytest.raises(GatewayError) as caught:
        await collect(engine, call(f"[[scripted tokens=4 {marker}]]"), pieces)
    assert type(caught.value) is error
    assert text_of(pieces) == said
    assert (await engine.load()).running == 0


@pytest.mark.parametrize(
    "marker", ["fault=missing_done", "fault=double_done", "burst=1", "crlf=1 multiline=1 comment=1"]
)
async def test_what_an_adapter_smooths_out_is_a_complete_answer(marker: str) -> None:
    pieces: list[Piece] = []
    await collect(await opened(), call(f"[[scripted text=tides tokens=5 {marker}]]"), pieces)
    assert text_of(pieces) == "tides"


@pytest.mark.parametrize("marker", ["fault=stall@2", "ttft=60000", "fault=slow_headers drip=60000"])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_deadline_ends_a_silence(marker: str, stream: bool) -> None:
    with pytest.raises(UpstreamTimeout):
        await collect(await opened(), call(f"[[scripted {marker}]]", stream=stream, seconds=0), [])


@pytest.mark.parametrize("fault", ["close", "garbage", "cut_json", "error_event", "truncated_body", "reset"])
async def test_whole_answers_break_too(fault: str) -> None:
    with pytest.raises(UpstreamError):
        await collect(await opened(fault=fault), call(stream=False), [])


async def test_load_counts_until_the_stream_is_closed() -> None:
    engine = await opened(slots=3)
    async with aclosing(engine.stream(call())) as stream:
        await anext(stream)
        load = await engine.load()
        assert (load.running, load.slots) == (1, 3)
    assert (await engine.load()).running == 0


async def test_it_is_ready_while_open_and_counts_tokens() -> None:
    engine = await opened()
    assert await engine.ready()
    assert await engine.count_tokens(call("three words here")) == 3
    await engine.close()
    assert not await engine.ready()


def test_a_fault_that_cannot_be_read_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"fault: .*oops"):
        ScriptedEngine(ScriptedConfig(kind="scripted", fault="oops@1"))
