"""What a guard model is asked about a text, an exchange or an answer, and what becomes of its answer.

found, bodies = checked({"kind": "wild_guard"}, answers(...), {"input": "hello"})
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from guarded.server import Says, guard
from guarded.world import GUARD, guarded
from tidegate.config import parse_text
from tidegate.errors import ConfigError

HELLO: Mapping[str, Any] = {"input": "hello"}
EXCHANGE: Mapping[str, Any] = {
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "How?"}],
    "answer": "So.",
}
"""A question and its answer, as `/v1/checks` takes them."""
OF_ANSWERS: Mapping[str, Any] = {"surfaces": ["output"]}
ASKED: Mapping[str, Any] = {"model": GUARD, "temperature": 0}


def checked(
    rail: Mapping[str, Any], says: Says, body: Mapping[str, Any], **more: Any
) -> tuple[dict[str, Any], list[Any]]:
    """Return what the gateway says of texts, and what the guard was asked."""

    async def run() -> tuple[dict[str, Any], list[Any]]:
        with guard(says) as server:
            async with guarded({"model": GUARD, **rail}, server, **more) as world:
                return await world.checked(body), server.bodies

    return asyncio.run(run())


def told(found: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the status, and the categories of the verdicts."""
    return found["status"], [one["category"] for one in found["verdicts"]]


def error(found: Mapping[str, Any]) -> str:
    """Return why the rail gave no verdict."""
    [one] = found["verdicts"]
    return str(one["error"])


def problem(rail: Mapping[str, Any]) -> str:
    """Return what is wrong with the settings of a rail, or an empty text."""
    tree = {
        "engines": {"script": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "script"}]}},
        "rails": {"profiles": {"p": {"rails": [{"model": "m", **rail}]}}},
    }
    try:
        parse_text(json.dumps(tree), source="the test")
    except ConfigError as wrong:
        return str(wrong)
    return ""
