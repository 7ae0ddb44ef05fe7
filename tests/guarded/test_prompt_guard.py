"""The rail `prompt_guard`: a classifier in this process. The model is a tiny one that finds the word `evil`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from guarded.asked import told
from guarded.onnx_files import WORDS, write_model, write_tokenizer
from guarded.server import answers, chat, guard
from guarded.world import GuardedWorld, guarded
from tidegate.errors import ConfigError
from tidegate.kernel.text import Views
from tidegate.models.classifier import WINDOW_TOKENS, respaced_by
from tidegate.rails.guards.prompt_guard import PromptGuard, PromptGuardConfig
from tidegate.types import Caller, Scene, Surface, Where

LONG = "my plan " * WINDOW_TOKENS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("model")
    return {
        "model_path": str(write_model(folder / "model.onnx")),
        "tokenizer_path": str(write_tokenizer(folder / "tokenizer.json")),
    }


@asynccontextmanager
async def gateway(rail: dict[str, Any]) -> AsyncGenerator[GuardedWorld]:
    with guard(answers(chat("never asked"))) as server:
        async with guarded({"kind": "prompt_guard", **rail}, server, section={"budget_ms": 60_000}) as world:
            yield world


def test_malicious_texts_are_blocked(files: dict[str, str]) -> None:
    async def run() -> None:
        async with gateway(files) as world:
            for text in ("my plan", " ", LONG):
                assert told(await world.checked({"input": text})) == ("passed", [])
            for text in ("my evil plan", f"{LONG} evil", f"{LONG} evil {LONG}", f"evil {LONG}"):
                assert told(await world.checked({"input": text})) == ("blocked", ["jailbreak"])
            # Every text of a request is checked, also one of an earlier turn.
            said = [{"role": "user", "content": "evil"}, {"role": "user", "content": "my plan"}]
            assert told(await world.checked({"messages": said}))[0] == "blocked"

    asyncio.run(run())


@pytest.mark.parametrize(("respace", "status"), [(False, "passed"), (True, "blocked")])
def test_words_can_be_put_together_again(files: dict[str, str], respace: bool, status: str) -> None:
    async def run() -> None:
        async with gateway({**files, "respace": respace}) as world:
            assert told(await world.checked({"input": "e v i l"}))[0] == status

    asyncio.run(run())


@pytest.mark.parametrize(("threshold", "passed"), [(0.994, True), (0.993, False)])
def test_the_score_is_the_softmax_of_the_last_label(
    files: dict[str, str], threshold: float, passed: bool
) -> None:
    [verdict] = asyncio.run(verdicts({**files, "threshold": threshold}, "my evil"))
    assert verdict.score == pytest.approx(0.99331, abs=1e-4)
    assert verdict.passed is passed


class Services:
    """The services of a rail. Time stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now


async def verdicts(config: dict[str, Any], *texts: str, deadlines: Sequence[float] = ()) -> list[Any]:
    rail = PromptGuard(PromptGuardConfig.model_validate({"kind": "prompt_guard", **config}))
    services: Any = Services()
    await rail.open(services)
    try:
        scenes = [
            Scene(Where(0, "content"), Surface.TOOL, Caller(), until)
            for until in deadlines or [10.0] * len(texts)
        ]
        return [await rail.check(Views(text), scene) for text, scene in zip(texts, scenes, strict=True)]
    finally:
        await rail.close()


def test_a_lone_surrogate_is_read_as_an_unknown_letter(files: dict[str, str]) -> None:
    found = asyncio.run(verdicts(files, "\ud800 my plan", "\ud800 my evil plan"))
    assert [one.passed for one in found] == [True, False]


def test_documents_inject(files: dict[str, str]) -> None:
    [verdict] = asyncio.run(verdicts(files, "evil"))
    assert (verdict.category, verdict.reason) == ("injection", "injection")


def test_no_time_is_no_verdict(files: dict[str, str]) -> None:
    [verdict] = asyncio.run(verdicts(files, "my plan", deadlines=[0.0]))
    assert not verdict.passed
    assert "too long" in verdict.error


@pytest.mark.parametrize(("cache_s", "errors"), [(300, [False, False]), (0, [False, True])])
def test_a_verdict_is_remembered(files: dict[str, str], cache_s: float, errors: list[bool]) -> None:
    config = {**files, "cache_s": cache_s}
    found = asyncio.run(verdicts(config, "my plan", "my plan", deadlines=[10.0, 0.0]))
    assert [bool(one.error) for one in found] == errors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_path": "missing.onnx"}, "missing.onnx cannot be used: there is no such file"),
        ({"tokenizer_path": "missing.json"}, "missing.json cannot be used: there is no such file"),
        ({"model_path": "text"}, "cannot be used"),
        ({"tokenizer_path": "text"}, "cannot be used"),
        ({"model_path": "one"}, "probabilities of two labels"),
        ({"model_path": "other"}, "takes input_ids"),
    ],
)
def test_files_that_cannot_be_used_are_named_at_the_start(
    files: dict[str, str], tmp_path: Path, change: dict[str, str], words: str
) -> None:
    (tmp_path / "text").write_text("hello")
    write_model(tmp_path / "one", labels=1)
    write_model(tmp_path / "other", input_name="pixels")
    paths = {
        key: str(tmp_path / name) if (tmp_path / name).exists() else name for key, name in change.items()
    }

    async def run() -> None:
        async with gateway({**files, **paths}):
            pass

    with pytest.raises(ConfigError, match=words):
        asyncio.run(run())


TOKENIZER = Tokenizer(WordPiece(WORDS, unk_token="[UNK]"))
TOKENIZER.pre_tokenizer = Whitespace()


@pytest.mark.parametrize(
    ("text", "put_together"),
    [
        ("e v i l", "evil"),
        ("my  evil\nplan", "my evil plan"),
        ("m y evil", "my evil"),
        ("", ""),
        ("  ", ""),
        ("myevil", "myevil"),
    ],
)
def test_respacing(text: str, put_together: str) -> None:
    assert respaced_by(TOKENIZER, text) == put_together


@given(st.text("evilmyplan \n\u00a0é漢!."))
def test_respacing_keeps_every_letter(text: str) -> None:
    found = respaced_by(TOKENIZER, text)
    assert "".join(found.split()) == "".join(text.split())
