"""Which rails run, in which order, and what each of them sees."""

from __future__ import annotations

from typing import Any

import pytest
from virtual import run

from railed import made
from railed.world import World, chat, railed, says


def seen() -> list[tuple[str, str]]:
    return [(one.rail, one.text) for one in made.seen]


def rule(name: str, finds: str = "bad", **more: Any) -> dict[str, Any]:
    return {"kind": "rule", "name": name, "finds": finds, "holds": "whole", **more}


def check(name: str, finds: str = "bad", **more: Any) -> dict[str, Any]:
    return {"kind": "check", "name": name, "finds": finds, "holds": "whole", **more}


SURFACES = pytest.mark.parametrize(
    ("surface", "stream"), [("input", False), ("output", False), ("output", True)]
)


async def ask(world: World, surface: str, text: str, *, stream: bool) -> str:
    """Send a text on a surface, and return what arrives behind the rails."""
    world.engine.says = says(text if surface == "output" else "Fine.")
    answer = await world.ask(chat(text if surface == "input" else "hello", stream=stream))
    if surface == "output" or not world.engine.asked:
        return answer.text
    found: str = world.engine.asked[-1].messages[-1]["content"]
    return found


@SURFACES
def test_rails_that_change_texts_run_first_in_the_order_of_the_profile_and_others_see_what_they_made(
    surface: str, stream: bool
) -> None:
    async def work() -> None:
        rails = [
            rule("log", "x", on_fail="log"),
            rule("mask", "one", on_fail="redact"),
            rule("fix", "<BAD>", puts="two", on_fail="fix"),
            check("judge", "x", tier=2),
        ]
        async with railed([{**one, "surfaces": [surface]} for one in rails]) as world:
            assert await ask(world, surface, "one and one", stream=stream) == "two and two"
            assert seen() == [
                ("mask", "one and one"),
                ("fix", "<BAD> and <BAD>"),
                ("log", "two and two"),
                ("judge", "two and two"),
            ]

    run(work())


@SURFACES
def test_the_order_of_rails_that_change_texts_is_that_of_the_profile(surface: str, stream: bool) -> None:
    async def work() -> None:
        rails = [rule("fix", "<BAD>", puts="two", on_fail="fix"), rule("mask", "one", on_fail="redact")]
        async with railed([{**one, "surfaces": [surface]} for one in rails]) as world:
            assert await ask(world, surface, "one and one", stream=stream) == "<BAD> and <BAD>"

    run(work())


@SURFACES
def test_slow_rails_that_change_texts_run_one_after_the_other_before_the_others(
    surface: str, stream: bool
) -> None:
    async def work() -> None:
        rails = [
            check("judge", "one", takes_ms=5),
            check("mask", "one", takes_ms=20, on_fail="redact"),
            check("fix", "<BAD>", takes_ms=10, puts="two", on_fail="fix"),
        ]
        async with railed([{**one, "surfaces": [surface]} for one in rails]) as world:
            assert await ask(world, surface, "one and one", stream=stream) == "two and two"
            assert [one.rail for one in made.seen] == ["mask", "fix", "judge"]
            assert made.seen[-1].text == "two and two"

    run(work())


@SURFACES
def test_the_next_tier_runs_only_if_the_cheaper_one_has_passed(surface: str, stream: bool) -> None:
    rails = [
        check("judge", tier=2, takes_ms=1),
        check("model", "worse", tier=1, takes_ms=20),
        rule("rule", "worst"),
    ]

    async def work() -> None:
        async with railed([{**one, "surfaces": [surface]} for one in rails]) as world:
            for text, ran in (
                ("worst", ["rule"]),
                ("worse", ["rule", "model"]),
                ("bad", ["rule", "model", "judge"]),
                ("good", ["rule", "model", "judge"]),
            ):
                made.seen.clear()
                world.engine.asked.clear()
                await ask(world, surface, text, stream=stream)
                assert [one.rail for one in made.seen] == ran
                assert len(world.record.findings) == len(ran)

    run(work())


@SURFACES
def test_rails_of_a_tier_run_side_by_side_and_the_first_block_cancels_the_others(
    surface: str, stream: bool
) -> None:
    async def work() -> None:
        rails = [
            check("slowest", takes_ms=100),
            check("first", takes_ms=30),
            check("slow", takes_ms=60),
            check("passes", "never", takes_ms=10),
        ]
        async with railed([{**one, "surfaces": [surface]} for one in rails]) as world:
            began = world.now
            await ask(world, surface, "bad", stream=stream)
            assert world.now - began == pytest.approx(0.03, abs=0.02)
            assert [one.rail for one in made.seen] == ["passes", "first"]
            assert sorted(made.cancelled) == ["slow", "slowest"]
            assert [(one.rail, one.action.word) for one in world.record.findings] == [
                ("passes", "pass"), ("first", "block"),
            ]  # fmt: skip

            made.seen.clear()
            made.cancelled.clear()
            world.engine.asked.clear()
            began = world.now
            await ask(world, surface, "good", stream=stream)
            assert world.now - began == pytest.approx(0.1, abs=0.02)
            assert made.cancelled == []

    run(work())


def test_rails_that_only_log_do_not_stop_others() -> None:
    async def work() -> None:
        rails = [
            rule("log", on_fail="log"),
            check("judge", tier=2, on_fail="log"),
            check("model", on_fail="log"),
        ]
        async with railed([{**one, "surfaces": ["input"]} for one in rails]) as world:
            assert await ask(world, "input", "bad", stream=False) == "bad"
            assert seen() == [("log", "bad"), ("model", "bad"), ("judge", "bad")]
            assert [one.action.word for one in world.record.findings] == ["log", "log", "log"]

    run(work())
