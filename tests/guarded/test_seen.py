"""What rails that read messages are asked about: no text of a message, and no message, goes past them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from guarded.asked import checked
from guarded.server import answers, chat, guard, in_turn, silent
from guarded.world import guarded

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


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
WITH_EYES = {"kind": "llama_guard", "version": 4}
WORDS = {"type": "text", "text": "What is it?"}


def test_a_check_of_an_image_alone_is_seen() -> None:
    messages = [{"role": "user", "content": [PICTURE]}]
    found, bodies = checked(WITH_EYES, answers(chat("unsafe\nS9")), {"messages": messages})
    assert found["status"] == "blocked"
    assert [body["messages"][-1]["content"][0] for body in bodies] == [PICTURE]


def test_an_image_without_its_type_is_seen() -> None:
    part = {"image_url": PICTURE["image_url"]}
    _, bodies = checked(WITH_EYES, answers(chat("safe")), {"messages": [{"role": "user", "content": [part]}]})
    assert [body["messages"][-1]["content"][0] for body in bodies] == [PICTURE]


@pytest.mark.parametrize(
    "part",
    [
        SOUND,
        {"type": "video_url", "video_url": {"url": "https://a.example/b.mp4"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "image_url", "image_url": {"url": ""}},
        {**PICTURE, **SOUND, "type": "image_url"},
        {**PICTURE, "type": "input_image", "input_image": "https://a.example/c.png"},
    ],
)
@pytest.mark.parametrize("before", [[], [WORDS], [PICTURE]])
def test_what_a_rail_with_eyes_cannot_see_is_no_verdict(before: list[Any], part: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": [*before, part]}]
    found, bodies = checked(WITH_EYES, answers(chat("safe")), {"messages": messages})
    assert (found["status"], len(bodies)) == ("blocked", 0)
    assert "which the rail cannot see" in found["verdicts"][0]["error"]


def test_a_rail_without_eyes_is_not_asked_about_an_image_alone() -> None:
    blind = {"kind": "llama_guard", "name": "blind", "model": "guard", "cache_s": 0}
    seeing = {**blind, "name": "seeing", "version": 4}
    messages = [{"role": "user", "content": [PICTURE]}]

    async def run() -> list[Any]:
        with guard(answers(chat("safe"))) as server:
            async with guarded([blind, seeing], server) as world:
                await world.checked({"messages": messages})
                return server.bodies

    bodies = asyncio.run(run())
    assert [body["messages"][-1]["content"][0] for body in bodies] == [PICTURE]


def test_what_rules_have_masked_reaches_no_judge_of_a_check() -> None:
    secret = "4111 1111 1111 1111"
    pii = {"kind": "pii", "on_fail": "redact"}
    judge = {"kind": "self_check", "model": "guard", "form": "word", "prompt": "{{ question }} {{ text }}"}
    body = {"messages": [{"role": "user", "content": f"My card is {secret}"}], "answer": "Thanks"}

    async def run() -> list[Any]:
        with guard(answers(chat("no"))) as server:
            async with guarded([pii, judge], server) as world:
                found = await world.checked(body)
                assert found["status"] == "modified"
                return server.bodies

    bodies = asyncio.run(run())
    assert len(bodies) == 2
    assert "My card is" in json.dumps(bodies[1])
    assert secret not in json.dumps(bodies)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [WORDS, {"type": "text", "text": "BAD"}]}],
        [{"role": "user", "content": "hello", "name": "BAD"}],
        [
            {"role": "user", "content": "BAD"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Go"},
        ],
    ],
)
@pytest.mark.parametrize(("word", "status"), [("BAD", "blocked"), ("WORSE", "passed")])
def test_a_fallback_that_sees_no_messages_gets_all_their_texts(
    messages: list[Any], word: str, status: str
) -> None:
    words = {"kind": "blocklist", "words": [word], "surfaces": ["input"], "on_fail": "log"}
    rails = [{**LLAMA_GUARD, "model": "guard", "on_error": "blocklist"}, words]

    async def run() -> str:
        with guard(answers(b"", status=500)) as server:
            async with guarded(rails, server) as world:
                return str((await world.checked({"messages": messages}))["status"])

    assert asyncio.run(run()) == status


def test_a_fallback_has_the_time_that_is_left() -> None:
    first = {**LLAMA_GUARD, "model": "guard", "name": "first", "timeout_ms": 20, "on_error": "second"}
    second = {**LLAMA_GUARD, "model": "guard", "name": "second", "surfaces": ["output"]}

    async def run() -> dict[str, Any]:
        with guard(in_turn(silent, answers(chat("safe")))) as server:
            async with guarded([first, second], server) as world:
                return await world.checked({"input": "hello"})

    assert asyncio.run(run())["status"] == "passed"


def test_what_a_service_has_masked_in_documents_reaches_no_guard() -> None:
    found = [{"entity_type": "PERSON", "start": 0, "end": 5, "score": 0.9}]

    def says(heard: Any) -> Any:
        if heard.line.startswith(b"POST /analyze"):
            return answers(found if b"Alice" in heard.body else [])(heard)
        return answers(chat("<score> no </score>"))(heard)

    async def run() -> list[Any]:
        with guard(says) as server:
            presidio = {
                "kind": "presidio",
                "url": server.root,
                "surfaces": ["retrieval"],
                "on_fail": "redact",
            }
            granite = {"kind": "granite_guardian", "model": "guard", "criteria": ["context_relevance"]}
            engine = {"allow_fields": ["chat_template_kwargs"]}
            async with guarded([presidio, granite], server, engine=engine) as world:
                body = {"model": "guard", "messages": [{"role": "user", "content": "Who?"}]}
                answer = await world.ask({**body, "documents": [{"text": "Alice did it."}]})
                assert answer.status == 200, answer.body
                return [one for one in server.bodies if "chat_template_kwargs" in one]

    bodies = asyncio.run(run())
    assert bodies
    assert "did it." in json.dumps(bodies)
    assert "Alice" not in json.dumps(bodies)
