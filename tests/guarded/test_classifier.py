"""The rail `classifier`: a classifier such as Prompt Guard 2 on vLLM or text-embeddings-inference."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded.asked import HELLO, error, problem, told
from guarded.server import Guard, Says, answers, guard
from guarded.world import guarded
from tidegate.rails.remote.classifier import windows

VLLM = {"kind": "classifier", "model": "prompt-guard"}
TEI = {"kind": "classifier", "api": "tei", "label": "LABEL_1"}


def rows(*chances: float) -> dict[str, Any]:
    return {"data": [{"index": 0, "label": "x", "probs": list(chances), "num_classes": len(chances)}]}


def asked(rail: dict[str, Any], says: Says, body: Mapping[str, Any]) -> tuple[dict[str, Any], Guard]:
    async def run() -> tuple[dict[str, Any], Guard]:
        with guard(says) as server:
            async with guarded({"url": server.root, **rail}, server) as world:
                return await world.checked(body), server

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("rail", "says", "line", "sent"),
    [
        (VLLM, rows(0.9, 0.1), b"POST /classify HTTP/1.1", b'{"model":"prompt-guard","input":"hello"}'),
        (
            TEI,
            [{"score": 0.9, "label": "LABEL_0"}, {"score": 0.1, "label": "LABEL_1"}],
            b"POST /predict HTTP/1.1",
            b'{"inputs":"hello"}',
        ),
    ],
)
def test_golden_requests(rail: dict[str, Any], says: Any, line: bytes, sent: bytes) -> None:
    found, server = asked({**rail, "api_key": "k"}, answers(says), HELLO)
    assert told(found) == ("passed", [])
    [heard] = server.heard
    assert (heard.line, heard.body) == (line, sent)
    assert heard.headers[b"authorization"] == b"Bearer k"


@pytest.mark.parametrize(
    ("rail", "says", "status"),
    [
        (VLLM, rows(0.05, 0.95), "blocked"),
        (VLLM, rows(0.15, 0.85), "passed"),
        ({**VLLM, "threshold": 0.5}, rows(0.15, 0.85), "blocked"),
        (VLLM, rows(0.0, 0.05, 0.95), "blocked"),
        (TEI, [{"score": 0.95, "label": "LABEL_1"}, {"score": 0.05, "label": "LABEL_0"}], "blocked"),
        (TEI, [[{"score": 0.95, "label": "LABEL_1"}, {"score": 0.05, "label": "LABEL_0"}]], "blocked"),
        (TEI, [{"score": 0.95, "label": "LABEL_0"}, {"score": 0.05, "label": "LABEL_1"}], "passed"),
    ],
)
def test_the_malicious_label_counts(rail: dict[str, Any], says: Any, status: str) -> None:
    found, _ = asked(rail, answers(says), HELLO)
    assert told(found) == (status, ["jailbreak"] if status == "blocked" else [])


@pytest.mark.parametrize("says", [[{"score": 0.1, "label": "BENIGN"}], [], [[]], [{"label": "LABEL_1"}]])
def test_an_answer_without_the_label_is_no_answer(says: Any) -> None:
    found, _ = asked(TEI, answers(says), HELLO)
    assert found["status"] == "blocked"
    assert error(found)


def test_the_most_suspicious_window_counts() -> None:
    def says(heard: Any) -> Any:
        evil = "evil" in json.loads(heard.body)["input"]
        return answers(rows(0.0, 1.0) if evil else rows(1.0, 0.0))(heard)

    text = "calm " * 100
    found, server = asked({**VLLM, "window_chars": 100}, says, {"input": f"{text}evil {text}"})
    assert told(found) == ("blocked", ["jailbreak"])
    assert len(server.heard) > 10


def test_what_is_remembered_of_a_user_is_not_told_of_a_document() -> None:
    def says(heard: Any) -> Any:
        return answers(rows(0.0, 1.0) if b"evil" in heard.body else rows(1.0, 0.0))(heard)

    talk = [{"role": "user", "content": "calm"}, {"role": "tool", "tool_call_id": "c", "content": "evil"}]

    async def run() -> None:
        with guard(says) as server:
            async with guarded({"url": server.root, **VLLM}, server) as world:
                user, document = {"input": "evil"}, {"messages": talk}
                assert [told(await world.checked(one)) for one in (user, document, user)] == [
                    ("blocked", ["jailbreak"]),
                    ("blocked", ["injection"]),
                    ("blocked", ["jailbreak"]),
                ]
                assert sum(b"evil" in one.body for one in server.heard) == 2

    asyncio.run(run())


@given(st.text(max_size=400), st.integers(8, 100))
def test_windows_have_all_of_a_text_and_overlap(text: str, chars: int) -> None:
    parts = windows(text, chars)
    if not text.strip():
        assert parts == []
        return
    assert all(len(part) <= chars for part in parts)
    shared = chars // 8
    whole = parts[0] + "".join(part[shared:] for part in parts[1:])
    assert whole == text


@pytest.mark.parametrize(
    ("rail", "words"),
    [
        ({"model": None}, "needs the `model`"),
        ({"api": "tei"}, "needs the `label`"),
        ({"label": "LABEL_1"}, "remove it"),
    ],
)
def test_settings(rail: dict[str, Any], words: str) -> None:
    assert words in problem({**VLLM, "url": "http://127.0.0.1:1", **rail})
