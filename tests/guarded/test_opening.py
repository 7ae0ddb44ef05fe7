"""Rails that are opened at the start: one that cannot be opened is told, and the others are closed again."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest

from guarded.server import answers, chat, guard
from guarded.world import GUARD, guarded
from tidegate.config import parse_text
from tidegate.config.rails import RailConfig, RailsConfig
from tidegate.errors import ConfigError
from tidegate.ports import Services, TextViews
from tidegate.rails.asked.opening import open_rails
from tidegate.rails.plan import compile_plans
from tidegate.types import PASSED, RailFacts, Scene, Surface, Verdict


class Rail:
    """A rail of another package."""

    about = RailFacts("of tests", "1", frozenset(Surface), tier=2)

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.is_open: bool | None = None

    async def open(self, services: Services) -> None:
        del services
        if self.error is not None:
            raise self.error
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        del views, scene
        return PASSED


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("set `x`"), "set `x`"),
        (RuntimeError("the key is s3cret"), "cannot be opened: RuntimeError; the log says more"),
        (asyncio.CancelledError(), "cannot be opened: CancelledError; the log says more"),
    ],
)
def test_a_rail_that_cannot_be_opened_is_told_and_the_others_are_closed(
    error: BaseException, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    rails = {"a": Rail(), "b": Rail(error), "c": Rail()}
    listed = [{"kind": "secrets", "name": name} for name in rails]
    config = RailsConfig.model_validate({"profiles": {"p": {"rails": listed}}})

    def made(rail: RailConfig) -> Any:
        return rails[rail.name or ""]

    plans = compile_plans(config, ["p"], made)

    async def run() -> None:
        async with AsyncExitStack() as loans:
            with pytest.raises(ConfigError) as found:
                await open_rails(plans.values(), cast("Services", None), loans)
            [problem] = found.value.problems
            assert (problem.path, problem.message) == ("rails.profiles.p.rails[1]", told)
            assert [one.is_open for one in rails.values()] == [True, None, True]

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(run())
    assert [one.is_open for one in rails.values()] == [False, None, False]


def test_the_configuration_stays_if_a_rail_of_the_next_one_cannot_be_opened() -> None:
    rail = {"kind": "llama_guard", "model": GUARD}
    bad = {**rail, "taxonomy": {"C1": "Spoilers."}}  # the engine does not take it

    async def run() -> None:
        with guard(answers(chat("unsafe\nS1"))) as server:
            async with guarded(rail, server) as world:
                before = world.gateway.snapshot
                tree = {
                    "engines": {GUARD: {"kind": "vllm", "url": server.base_url, "probe": "none"}},
                    "models": {GUARD: {"deployments": [{"engine": GUARD}]}},
                    "rails": {"profiles": {"p": {"rails": [bad]}}},
                    "policies": {"default": {"rails": "p"}},
                }
                with pytest.raises(ConfigError, match="allow_fields"):
                    await world.gateway.prepare(parse_text(json.dumps(tree), source="the test"))
                assert world.gateway.snapshot is before
                assert (await world.checked({"input": "hello"}))["status"] == "blocked"

    asyncio.run(run())
