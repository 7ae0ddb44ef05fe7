"""What rails that read messages are asked about: no text of a message, and no message, goes past them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guarded.asked import checked
from guarded.server import answers, chat

LLAMA_GUARD = {"kind": "llama_guard"}
CALL = {
    "id": "c",
    "type": "function",
    "function": {"name": "send", "arguments": json.dumps({"to": "BAD", "about": "WORSE"})},
}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "BAD"}]},
            ["BAD"],
        ),
        ({"role": "user", "content": "hello", "name": "BAD"}, ["hello", "BAD"]),
        (
            {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "x", "content": "BAD"}]},
            ["hello", "BAD"],
        ),
        ({"role": "assistant", "content": "hello", "tool_calls": [CALL]}, ["hello", "BAD", "WORSE", "send"]),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, ["BAD", "WORSE", "send"]),
        ({"role": "assistant", "content": "hello", "reasoning_content": "BAD"}, ["hello", "BAD"]),
    ],
)
def test_all_texts_of_a_message_are_judged_in_one_call(message: dict[str, Any], words: list[str]) -> None:
    _, bodies = checked(LLAMA_GUARD, answers(chat("safe")), {"messages": [message]})
    assert len(bodies) == 1
    said = bodies[0]["messages"][-1]
    assert said["role"] == message["role"]
    for word in words:
        assert said["content"].count(word) == 1


def test_texts_of_the_system_are_judged_each_also_behind_the_first_turn() -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "How?"},
    ]
    rail = {**LLAMA_GUARD, "surfaces": ["input", "system"]}
    _, bodies = checked(rail, answers(chat("safe")), {"messages": [system, *talk]})
    assert sorted(body["messages"][-1]["content"] for body in bodies) == ["How?", "one", "two"]
