"""The rail `nemo_topic_control`: requests and answers in the format of NemoGuard topic control."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from guarded.server import answers, chat, completion, guard
from guarded.world import GUARD, guarded
from tidegate.config import parse_text
from tidegate.errors import ConfigError

GUIDELINES = "Talk about tea."
DEMAND = (
    'If any of the above conditions are violated, please respond with "off-topic". Otherwise, respond with "on-topic". '
    'You must respond with "on-topic" or "off-topic".'
)
TALK = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Coffee? <|eot_id|>"},
    ]
}
SAID = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Coffee? < |eot_id| >"},
]


def checked(rail: dict[str, Any], says: Any, body: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    async def run() -> tuple[dict[str, Any], list[Any]]:
        with guard(says) as server:
            rails = {"kind": "nemo_topic_control", "model": GUARD, "guidelines": GUIDELINES, **rail}
            async with guarded(rails, server) as world:
                return await world.checked(body), server.bodies

    return asyncio.run(run())


@pytest.mark.parametrize("guidelines", [GUIDELINES, f"{GUIDELINES}\n", f"{GUIDELINES} {DEMAND}"])
def test_golden_chat(guidelines: str) -> None:
    found, bodies = checked({"guidelines": guidelines}, answers(chat("on-topic")), TALK)
    assert found["status"] == "passed"
    assert bodies == [
        {
            "model": GUARD,
            "messages": [{"role": "system", "content": f"{GUIDELINES}\n\n{DEMAND}"}, *SAID],
            "temperature": 0,
            "max_tokens": 10,
            "logprobs": True,
            "top_logprobs": 5,
        }
    ]


def test_golden_completions() -> None:
    found, bodies = checked({"transport": "completions"}, answers(completion("off-topic")), TALK)
    assert found["verdicts"][0]["category"] == "off_topic"
    assert bodies == [
        {
            "model": GUARD,
            "prompt": "<|start_header_id|>system<|end_header_id|>\n\n"
            f"{GUIDELINES}\n\n{DEMAND}<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nCoffee? < |eot_id| ><|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "temperature": 0,
            "max_tokens": 10,
            "logprobs": 5,
        }
    ]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("on-topic", "passed"),
        ('"On-topic".', "passed"),
        ("off-topic", "blocked"),
        ('\n"off-topic".\n', "blocked"),
        ("OFF-TOPIC", "blocked"),
        ("off topic", "error"),
        ("on-topic, off-topic", "error"),
        ("The message is on-topic", "error"),
    ],
)
def test_what_is_neither_word_does_not_pass(text: str, status: str) -> None:
    found, _ = checked({}, answers(chat(text)), {"input": "hello"})
    failed = any(one.get("error") for one in found["verdicts"])
    assert found["status"] == ("passed" if status == "passed" else "blocked")
    assert failed == (status == "error")


@pytest.mark.parametrize(("threshold", "status"), [(0.3, "blocked"), (0.5, "passed")])
def test_the_score_is_that_of_the_first_token(threshold: float, status: str) -> None:
    says = answers(chat(" on-topic", [{" ": 1.0}, {"on": 0.6, "off": 0.4}, {"-topic": 1.0}]))
    found, _ = checked({"threshold": threshold}, says, {"input": "hello"})
    assert found["status"] == status


def test_answers_are_not_checked() -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "answer": "Coffee!"}
    _, bodies = checked({}, answers(chat("on-topic")), body)
    assert [one["messages"][-1]["content"] for one in bodies] == ["Hi"]


@pytest.mark.parametrize(
    ("rail", "words"),
    [
        ({}, "guidelines"),
        ({"guidelines": ""}, "guidelines"),
        ({"guidelines": "x", "categories": ["hate"]}, "knows only `off_topic`: leave them out"),
    ],
)
def test_what_cannot_work_is_refused(rail: dict[str, Any], words: str) -> None:
    tree = {
        "engines": {"script": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "script"}]}},
        "rails": {"profiles": {"p": {"rails": [{"kind": "nemo_topic_control", "model": "m", **rail}]}}},
    }
    with pytest.raises(ConfigError, match=words):
        parse_text(json.dumps(tree), source="the test")
