"""The rail `llama_guard`: requests and answers in the formats of Llama Guard 3 and 4."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from guarded.server import answers, chat, guard
from guarded.world import GUARD, guarded


def checked(rail: dict[str, Any], says: Any, body: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    async def run() -> tuple[dict[str, Any], list[Any]]:
        with guard(says) as server:
            async with guarded({"kind": "llama_guard", "model": GUARD, **rail}, server) as world:
                return await world.checked(body), server.bodies

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "status", "category"),
    [
        ("safe", "passed", None),
        ("\n\nsafe", "passed", None),
        ("unsafe\nS1,S10", "blocked", "violent_crimes"),
        ("\n\nunsafe\nS11", "blocked", "self_harm"),
        ("unsafe\nS99", "blocked", "other"),
        ("unsafe", "blocked", "unsafe"),
    ],
)
def test_unsafe_is_never_read_as_safe(text: str, status: str, category: str | None) -> None:
    found, _ = checked({}, answers(chat(text)), {"input": "hello"})
    assert found["status"] == status
    assert [one["category"] for one in found["verdicts"]] == ([category] if category else [])
