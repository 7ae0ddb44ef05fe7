"""Every kind of rail that asks others, with every way in which the other side can answer or fail.

The kinds are those of the registry, so that no rail can be forgotten: one without an example fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from canned import whole

from guarded.examples import EXAMPLES, GuardExample
from guarded.server import Guard, Says, answers, guard, half, silent, slowly
from guarded.world import GuardedWorld, guarded
from tidegate import registry

LOCAL = {"prompt_guard", "injection_detector", "harm_detector", "toxicity_detector", "spotlighting"}
"""Rails that have no other side that could fail: they run a model in this process, or judge nothing."""
KINDS = [
    kind
    for kind, place in registry.built_in("tidegate.rails").items()
    if not place.startswith("tidegate.rails.rules.") and kind not in LOCAL
]
SOON_MS = 150
"""The time of a check whose other side never answers."""
OPEN, SOON = "open", "soon"
"""Profiles: one that lets texts pass where the rail fails, and one that does not wait for long."""


class Tried:
    """One gateway under the rail of an example."""

    def __init__(self, example: GuardExample, server: Guard, world: GuardedWorld) -> None:
        self.example = example
        self._server = server
        self._world = world

    async def found(self, says: Says, profile: str = "") -> dict[str, Any]:
        """Return what the rail makes of its example, when the other side says this."""
        self._server.says = says
        return await self._world.checked({**self.example.body, **({"profile": profile} if profile else {})})


@asynccontextmanager
async def tried(kind: str) -> AsyncGenerator[Tried]:
    example = EXAMPLES[kind]
    with guard(answers(example.safe)) as server:
        rail = {"kind": kind, "cache_s": 0, **example.settings(server)}
        profiles = {
            OPEN: {"rails": [{**rail, "on_error": "open"}]},
            SOON: {"rails": [{**rail, "timeout_ms": SOON_MS}]},
        }
        policy = {"default": {"rails": "p", "stricter_rails": [OPEN, SOON]}}
        async with guarded(rail, server, profiles=profiles, policies=policy) as world:
            yield Tried(example, server, world)


def failed(found: Mapping[str, Any]) -> bool:
    """Whether the rail blocked the text because it failed itself."""
    return found["status"] == "blocked" and any(one.get("error") for one in found["verdicts"])


def told(found: Mapping[str, Any]) -> Sequence[str]:
    return [one["category"] for one in found["verdicts"]]


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_an_example(kind: str) -> None:
    assert kind in EXAMPLES, f"give the rail '{kind}' a row in EXAMPLES"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_verdict_is_what_the_other_side_says(kind: str) -> None:
    async def run() -> None:
        async with tried(kind) as one:
            for says in (answers(one.example.safe), slowly(one.example.safe)):
                found = await one.found(says)
                assert (found["status"], found["verdicts"]) == ("passed", [])
            for says in (answers(one.example.unsafe), slowly(one.example.unsafe)):
                found = await one.found(says)
                assert found["status"] == "blocked"
                assert told(found) == [one.example.category]
                assert not failed(found)
            if one.example.unknown is not None:
                found = await one.found(answers(one.example.unknown))
                assert (found["status"], told(found)) == ("blocked", ["other"])

    asyncio.run(run())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_says_nothing_is_no_verdict(kind: str) -> None:
    async def run() -> None:
        async with tried(kind) as one:
            # An empty list is what some services say of a text in which they find nothing.
            safe = json.dumps(one.example.safe).encode()
            for garbage in [*one.example.garbage, *(each for each in GARBAGE if each != safe)]:
                assert failed(await one.found(answers(garbage))), garbage
                assert (await one.found(answers(garbage), OPEN))["status"] == "passed", garbage

    asyncio.run(run())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_failure_is_no_verdict(kind: str) -> None:
    async def run() -> None:
        async with tried(kind) as one:
            for says in (silent, half(one.example.safe), *map(refusing, STATUSES)):
                assert failed(await one.found(says, SOON))

    asyncio.run(run())


GARBAGE = (b"", b"{}", b"null", b"[]", b"<html>", json.dumps({"choices": []}).encode())
STATUSES = (400, 401, 403, 404, 429, 500, 503)


def refusing(status: int) -> Says:
    body = json.dumps({"error": {"message": "safe", "type": "x"}}).encode()
    return lambda _: [whole(body, status=b"%d X" % status)]
