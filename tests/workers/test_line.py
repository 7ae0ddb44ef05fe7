"""The line between two processes, over a real socket pair: what one side does never harms what else the other runs."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pairs import line_to

from tidegate.errors import ConfigError, Problem
from tidegate.workers.line import Failed, Gone, Handlers, NoAnswer

pytestmark = pytest.mark.anyio


async def say(body: bytes) -> str:
    return bytes(body).decode()


async def refuse(_: bytes) -> None:
    raise ConfigError("the test", [Problem("engines.x", "is wrong")])


async def breaks(_: bytes) -> None:
    raise RuntimeError("a secret")


async def is_cancelled(_: bytes) -> None:
    raise asyncio.CancelledError


async def no_json(_: bytes) -> object:
    return object()


async def wait(_: bytes) -> None:
    await asyncio.Event().wait()


HANDLERS: Handlers = {
    "say": say,
    "refuse": refuse,
    "break": breaks,
    "cancel": is_cancelled,
    "not JSON": no_json,
    "wait": wait,
}


async def test_a_question_gets_its_answer_and_a_refusal_its_problems() -> None:
    async with line_to(HANDLERS) as line:
        assert bytes(await line.ask("say", {"a": 1}, within_s=5)) == rb'"{\"a\":1}"'
        with pytest.raises(ConfigError) as refused:
            await line.ask("refuse", within_s=5)
    assert refused.value.problems == [Problem("engines.x", "is wrong")]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("break", "RuntimeError"),
        ("cancel", "CancelledError"),
        ("not JSON", "TypeError"),
        ("unheard of", "LookupError"),
    ],
)
async def test_whatever_an_answer_raises_the_asker_is_told_and_nothing_else_ends(
    what: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with line_to(HANDLERS) as line:
            line.tell(what)
            with pytest.raises(Failed, match=why) as failed:
                await line.ask(what, within_s=5)
            assert bytes(await line.ask("say", within_s=5)) == b'"null"'
    assert "secret" not in str(failed.value)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


async def test_silence_and_failure_are_both_no_answer() -> None:
    async with line_to(HANDLERS) as line:
        with pytest.raises(Gone, match="did not answer"):
            await line.ask("wait", within_s=0.01)
        with pytest.raises(NoAnswer):
            await line.ask("break", within_s=5)
        # The answer that nobody awaits any more would keep the group.
        for task in asyncio.all_tasks():
            if task.get_name() == "answer wait":
                task.cancel()
