from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from dirty_equals import IsFloat, IsList

from tidegate.config import EmbedderConfig
from tidegate.engines.embedder import EmbedderEngine
from tidegate.errors import BadRequest, DeadlineExceeded
from tidegate.models.embedding import MiniLm
from tidegate.ports import Engine
from tidegate.types import Ask, Endpoint, Piece

pytestmark = pytest.mark.anyio

TEXTS = ["A ship at the gate.", "Low tide", "How do I reset my password?"]


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[EmbedderEngine]:
    embedder = MiniLm()
    engine = EmbedderEngine(EmbedderConfig(kind="embedder"))
    await engine.open(SimpleNamespace(clock=time.monotonic, spawn=None, embedder=embedder))
    yield engine
    await engine.close()
    await embedder.close()


def call(fields: dict[str, bytes], seconds: float = 60) -> Ask:
    given = {"model": msgspec.Raw(b'"default"')} | {name: msgspec.Raw(v) for name, v in fields.items()}
    return Ask("1", Endpoint.EMBEDDINGS, "default", given, [], [], time.monotonic() + seconds)


async def answer(engine: Engine, *, seconds: float = 60, **fields: Any) -> tuple[Piece, dict[str, Any]]:
    asked = call({name: msgspec.json.encode(value) for name, value in fields.items()}, seconds)
    batches = [batch async for batch in engine.stream(asked)]
    ((piece,),) = batches
    return piece, msgspec.json.decode(piece.data)


async def test_a_string_gets_one_embedding(engine: EmbedderEngine) -> None:
    piece, body = await answer(engine, input="hello world")
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": IsList(length=384)}],
        "model": "default",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert body["data"][0]["embedding"] == [IsFloat(ge=-1, le=1)] * 384
    usage = piece.answer.read_usage()
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (4, 0)


async def test_a_list_keeps_its_order(engine: EmbedderEngine) -> None:
    _, body = await answer(engine, input=TEXTS, user="somebody")
    assert [item["index"] for item in body["data"]] == [0, 1, 2]
    for text, item in zip(TEXTS, body["data"], strict=True):
        _, alone = await answer(engine, input=text)
        assert (
            sum(a * b for a, b in zip(item["embedding"], alone["data"][0]["embedding"], strict=True)) > 0.97
        )
    tokens = await engine.count_tokens(call({"input": msgspec.json.encode(TEXTS)}))
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


async def test_base64_holds_the_same_numbers_as_little_endian_float32(engine: EmbedderEngine) -> None:
    _, floats = await answer(engine, input=TEXTS[0], encoding_format="float")
    _, packed = await answer(engine, input=TEXTS[0], encoding_format="base64")
    numbers = struct.unpack("<384f", base64.b64decode(packed["data"][0]["embedding"], validate=True))
    assert list(numbers) == floats["data"][0]["embedding"]


@pytest.mark.parametrize("value", [384, None])
async def test_the_models_own_length_may_be_asked_for(engine: EmbedderEngine, value: int | None) -> None:
    assert (await answer(engine, input="hello", dimensions=value, encoding_format=None))[1]["data"]


@pytest.mark.parametrize("value", [256, 0, "384", 384.5, True])
async def test_another_length_is_refused(engine: EmbedderEngine, value: Any) -> None:
    with pytest.raises(BadRequest, match="must be 384") as refusal:
        await answer(engine, input="hello", dimensions=value)
    assert refusal.value.param == "dimensions"


@pytest.mark.parametrize("value", ["int8", 1])
async def test_an_unknown_encoding_is_refused(engine: EmbedderEngine, value: Any) -> None:
    with pytest.raises(BadRequest, match="'float' or 'base64'") as refusal:
        await answer(engine, input="hello", encoding_format=value)
    assert refusal.value.param == "encoding_format"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "empty string"),
        (["a", ""], "empty string"),
        ([], "empty list"),
        (["a"] * 2049, "2049 texts; at most 2048 are accepted"),
        ([1, 2, 3], "token ids are not accepted"),
        ([[1, 2], [3]], "token ids are not accepted"),
        (["a", 1], "a list of strings"),
        (7, "a string or"),
        (None, "a string or"),
    ],
)
async def test_an_input_that_cannot_be_embedded_is_refused(
    engine: EmbedderEngine, value: Any, words: str
) -> None:
    with pytest.raises(BadRequest, match=words) as refusal:
        await answer(engine, input=value)
    assert refusal.value.param == "input"


@pytest.mark.parametrize("fields", [{}, {"input": b'"\xff"'}, {"input": b'"\\ud800"'}])
async def test_a_missing_or_broken_input_is_refused(engine: EmbedderEngine, fields: dict[str, bytes]) -> None:
    with pytest.raises(BadRequest) as refusal:
        _ = [batch async for batch in engine.stream(call(fields))]
    assert refusal.value.param == "input"


async def test_2048_inputs_are_accepted(engine: EmbedderEngine) -> None:
    _, body = await answer(engine, input=["a"] * 2048, encoding_format="base64")
    assert [item["index"] for item in body["data"]] == list(range(2048))


async def test_the_deadline_ends_the_wait(engine: EmbedderEngine) -> None:
    with pytest.raises(DeadlineExceeded):
        await answer(engine, seconds=-1, input="hello")
    assert (await engine.load()).running == 0


async def test_the_load_counts_calls_and_a_cancelled_one_is_gone(engine: EmbedderEngine) -> None:
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(answer(engine, input=["many words " * 300] * 200))
        await asyncio.sleep(0)  # one step: it waits for its vectors now
        assert (await engine.load()).running == 1
        asked.cancel()
    assert (await engine.load()).running == 0


async def test_it_is_ready_while_open() -> None:
    engine = EmbedderEngine(EmbedderConfig(kind="embedder"))
    assert not await engine.ready()
    await engine.open(SimpleNamespace(clock=time.monotonic, spawn=None, embedder=MiniLm()))
    assert await engine.ready()
    await engine.close()
    assert not await engine.ready()


async def test_it_serves_embeddings_alone() -> None:
    assert set(EmbedderEngine.capabilities.fields) == {Endpoint.EMBEDDINGS}
