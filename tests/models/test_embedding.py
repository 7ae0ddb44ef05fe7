from __future__ import annotations

import asyncio
import hashlib
import math
import shutil
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tidegate.errors import Overloaded, UpstreamError
from tidegate.models.embedding import FOLDER, MiniLm
from tidegate.ports import Embedder

pytestmark = pytest.mark.anyio

LONG = " ".join(["The harbour master counts every ship that passes the gate at high tide."] * 30)
SHORT = [f"ship number {n} carries {n * 7} barrels of salt" for n in range(24)]
MIXED = [
    *SHORT[:8],
    LONG[:300],
    LONG[:700],
    "no",
    "Where can I return a parcel?",
    "def f(x): return x + 1",
    "你好",
]


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[MiniLm]:
    model = MiniLm()
    yield model
    await model.close()


@asynccontextmanager
async def fresh(**settings: object) -> AsyncIterator[MiniLm]:
    model = MiniLm(**settings)
    try:
        yield model
    finally:
        await model.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A copy of the model's files, to be damaged."""
    copy = tmp_path / "minilm"
    shutil.copytree(FOLDER, copy)
    yield copy
    shutil.rmtree(copy)


def sign(folder: Path, name: str) -> None:
    """Make SHA256SUMS say that a file is right."""
    sums = folder / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
    lines.append(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}")
    sums.write_text("\n".join(lines))


def cosine(one: array[float], other: array[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_it_is_an_embedder_with_384_dimensions(model: MiniLm) -> None:
    embedder: Embedder = model
    (vector,) = await embedder.embed(["hello"])
    assert len(vector) == embedder.dimensions == 384


async def test_importing_it_brings_in_no_heavy_library() -> None:
    code = "import sys, tidegate.models.embedding; print(*{'numpy', 'onnxruntime', 'tokenizers'} & sys.modules.keys())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert out.split() == []


@pytest.mark.parametrize(
    ("text", "paraphrase", "unrelated"),
    [
        ("How do I reset my password?", "I forgot my password, how can I change it?", "The soup needs salt."),
        ("A man is playing a guitar.", "Someone plays an instrument.", "Interest rates rose in March."),
        ("The cat sat on the mat.", "A cat was sitting on a rug.", "Install the package with pip."),
    ],
)
async def test_a_paraphrase_is_closer_than_an_unrelated_text(
    model: MiniLm, text: str, paraphrase: str, unrelated: str
) -> None:
    one, near, far = await model.embed([text, paraphrase, unrelated])
    assert cosine(one, near) > cosine(one, far) + 0.3


async def test_vectors_have_length_one(model: MiniLm) -> None:
    for vector in await model.embed(MIXED):
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


async def test_the_same_text_alone_has_the_same_vector(model: MiniLm) -> None:
    for text in MIXED:
        assert await model.embed([text]) == await model.embed([text])


async def test_a_batch_gives_every_text_its_own_vector(model: MiniLm) -> None:
    """Int8 ranges belong to a run, so a text's vector moves a little with its neighbours; never to one of them."""
    together = await model.embed(MIXED)
    alone = [(await model.embed([text]))[0] for text in MIXED]
    same = [cosine(one, other) for one, other in zip(together, alone, strict=True)]
    assert min(same) > 0.94  # 0.9606 measured, for "no" among longer texts
    assert sum(same) / len(same) > 0.98
    for place, vector in enumerate(together):
        assert max(range(len(alone)), key=lambda other: cosine(vector, alone[other])) == place


async def test_a_text_is_cut_at_256_tokens(model: MiniLm) -> None:
    words = ["tide"] * 254  # and [CLS] and [SEP]
    exact, longer, shorter = " ".join(words), " ".join([*words, "ship", "gate"]), " ".join(words[:200])
    assert model.count_tokens(exact) == 256
    assert model.count_tokens(longer) == 258
    assert await model.embed([exact]) == await model.embed([longer])
    assert await model.embed([exact]) != await model.embed([shorter])


async def test_a_text_of_a_megabyte_is_embedded(model: MiniLm) -> None:
    assert await model.embed(["tide " * 200_000]) == await model.embed(["tide " * 300])


async def test_what_waits_together_runs_together(model: MiniLm) -> None:
    runs, embedded = model.runs, model.embedded
    # The first call keeps the worker busy with 4 runs of 1 or 2 long texts; the 24 others come meanwhile.
    await asyncio.gather(model.embed([LONG] * 4), *(model.embed([text]) for text in SHORT))
    assert model.embedded - embedded == 28
    assert model.runs - runs <= 10


async def test_a_run_is_bounded_in_texts_and_in_tokens() -> None:
    async with fresh(max_batch=4, max_batch_tokens=512) as model:
        await model.embed(SHORT)
        assert model.runs == 6  # 4 texts each
        await model.embed([LONG] * 4)
        assert model.runs == 8  # 2 x 256 tokens each


async def test_a_long_list_does_not_hold_up_a_short_one(model: MiniLm) -> None:
    async with asyncio.TaskGroup() as group:
        long = group.create_task(model.embed([LONG] * 80))
        await group.create_task(model.embed(["me too"]))
        assert not long.done()
        long.cancel()


async def test_a_cancelled_call_leaves_the_queue_and_hurts_nobody(model: MiniLm) -> None:
    embedded = model.embedded
    long = asyncio.ensure_future(model.embed([LONG] * 80))
    others = asyncio.gather(*(model.embed([text]) for text in SHORT))
    await model.embed(["first"])
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    assert len(await others) == len(SHORT)
    await model.embed(["last"])
    assert model.embedded - embedded < 80


async def test_a_full_queue_refuses_and_says_when_to_try_again() -> None:
    async with fresh(max_batch=1, max_queue=4) as model:
        accepted = asyncio.ensure_future(model.embed([LONG] * 8))
        await asyncio.sleep(0)  # one step: it is in the queue now
        with pytest.raises(Overloaded) as refusal:
            await model.embed(["one too many"])
        assert refusal.value.retry_after_s
        assert len(await accepted) == 8
        assert await model.embed(["now there is room"])


@pytest.mark.parametrize("text", ["\ud800", "fine until \udfff"])
async def test_a_text_that_is_not_unicode_is_refused_alone(model: MiniLm, text: str) -> None:
    neighbour = asyncio.ensure_future(model.embed(["good"]))
    with pytest.raises(ValueError, match="surrogates"):
        await model.embed(["good", text])
    assert len(await neighbour) == 1


async def test_an_empty_list_is_refused(model: MiniLm) -> None:
    with pytest.raises(ValueError, match="no texts"):
        await model.embed([])


async def test_an_empty_text_has_a_vector(model: MiniLm) -> None:
    assert model.count_tokens("") == 2
    (vector,) = await model.embed([""])
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["model.int8.onnx", "tokenizer.json"])
async def test_a_tampered_file_is_refused_to_everyone_who_waits(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b" ")
    async with fresh(folder=folder) as model:
        waiting = (model.embed([text]) for text in SHORT)
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(error) for error in errors} == {
            f"The embedding model is damaged: {name} does not have the sha256 in SHA256SUMS"
        }
        assert {type(error) for error in errors} == {UpstreamError}
        assert len({id(error) for error in errors}) == len(SHORT)  # an error of one's own
        assert model.runs == 0


@pytest.mark.parametrize("name", ["model.int8.onnx", "tokenizer.json", "SHA256SUMS"])
async def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    async with fresh(folder=folder) as model:
        with pytest.raises(UpstreamError, match=r"incomplete: \S+ cannot be read"):
            await model.embed(["hello"])


async def test_what_onnxruntime_raises_becomes_an_error_of_ours(folder: Path) -> None:
    (folder / "model.int8.onnx").write_bytes(b"not a graph")
    sign(folder, "model.int8.onnx")
    async with fresh(folder=folder) as model:
        with pytest.raises(UpstreamError, match=r"^The embedding model failed$") as failure:
            await model.embed(["hello"])
        assert failure.value.__cause__ is not None


async def test_a_model_that_was_mended_works_again(folder: Path) -> None:
    right = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(b"{}")
    async with fresh(folder=folder) as model:
        with pytest.raises(UpstreamError):
            await model.embed(["hello"])
        (folder / "tokenizer.json").write_bytes(right)
        assert await model.embed(["hello"])


async def test_closing_refuses_what_waits_and_what_comes() -> None:
    model = MiniLm(max_batch=1)
    waiting = asyncio.ensure_future(model.embed([LONG] * 8))
    await asyncio.sleep(0)  # one step: it is in the queue now
    await model.close()
    with pytest.raises(Overloaded, match="closed") as refused:
        await waiting
    with pytest.raises(Overloaded, match="closed") as late:
        await model.embed(["hello"])
    assert (refused.value.retry_after_s, late.value.retry_after_s) == (1, 1)
    assert model.runs <= 1


async def test_closing_what_was_never_used_is_fine() -> None:
    await MiniLm().close()


async def test_two_event_loops_share_one_model(model: MiniLm) -> None:
    """The worker hands results to the loop that asked."""

    async def ask() -> list[float]:
        return list((await model.embed(["hello"]))[0])

    elsewhere = await asyncio.to_thread(lambda: asyncio.run(ask()))
    assert elsewhere == await ask()
