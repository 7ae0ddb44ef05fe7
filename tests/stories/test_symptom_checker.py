"""The symptom checker: what its three profiles cost, to the millisecond, on the clock of the test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from in_hand import GatewayInHand, until
from limited import Answered
from virtual import run

from stories.examples import gateway_of, module_of

measure: Any = module_of("symptom_checker", "measure")
REFUSED = {"patterns": 30, "prompt_guard": 30, "llama_guard": 10}
"""Of 200 questions."""


async def asked(gateway: GatewayInHand, question: str) -> Any:
    clock, client = asyncio.get_running_loop().time, gateway.connect()
    began = clock()
    client.post(measure.body_of(question), "connection: close")
    while client.wire.closed_at is None:  # the time at which it closes is exact, whenever this sees it
        await asyncio.sleep(0.1)
    return measure.Outcome((client.wire.closed_at - began) * 1000, measure.is_refusal(Answered(client).body))


def row_of(profile: str, **more: str) -> Any:
    async def work() -> Any:
        async with gateway_of("symptom_checker", PROFILE=profile, **more) as gateway:
            return await measure.measured(profile, lambda question: asked(gateway, question))

    return run(work())


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    return {profile: row_of(profile) for profile in measure.PROFILES}


def mean_of(ms: dict[str, float], passed_ms: float) -> float:
    """The mean overhead of 200 questions, from the time to the refusal by each rail and what an answer pays."""
    others = 200 - sum(REFUSED.values())
    return (sum(REFUSED[rail] * each for rail, each in ms.items()) + others * passed_ms) / 200


@pytest.mark.parametrize(
    ("profile", "mean_ms", "median_ms"),
    [
        ("none", 0, 0),
        ("sequential", 220, 220),
        ("tiered", mean_of({"patterns": 5, "prompt_guard": 15, "llama_guard": 215}, 215), 215),
        ("racing", mean_of({"patterns": 5, "prompt_guard": 15, "llama_guard": 215}, 0), 0),
    ],
)
def test_a_profile_adds_what_its_rails_take(
    rows: dict[str, Any], profile: str, mean_ms: float, median_ms: float
) -> None:
    row = rows[profile]
    # A turn of the loop takes ten microseconds there, and the questions overlap.
    assert row.mean_ms == pytest.approx(mean_ms, abs=0.5)
    assert row.median_ms == pytest.approx(median_ms, abs=0.5)
    assert row.refused == (0 if profile == "none" else sum(REFUSED.values()))
    assert row.questions == 200


@pytest.mark.parametrize(
    ("profile", "mean_ms", "median_ms"),
    [
        ("sequential", 43, 43),
        ("tiered", mean_of({"patterns": 5, "prompt_guard": 8, "llama_guard": 38}, 38), 38),
        ("racing", mean_of({"patterns": 5, "prompt_guard": 8, "llama_guard": 38}, 0), 0),
    ],
)
def test_a_small_guard_adds_less(profile: str, mean_ms: float, median_ms: float) -> None:
    row = row_of(profile, **measure.GUARDS["small"])
    assert row.mean_ms == pytest.approx(mean_ms, abs=0.5)
    assert row.median_ms == pytest.approx(median_ms, abs=0.5)
    assert row.refused == sum(REFUSED.values())


def test_the_profiles_keep_to_what_the_page_says(rows: dict[str, Any]) -> None:
    assert rows["sequential"].mean_ms == pytest.approx(220, rel=0.01)
    assert rows["tiered"].mean_ms == pytest.approx(160, rel=0.05)
    assert rows["racing"].mean_ms <= 85
    assert rows["racing"].median_ms < 30


def test_the_table_has_a_line_for_each_profile(rows: dict[str, Any]) -> None:
    lines = measure.table(list(rows.values())).splitlines()
    assert [line.split()[0] for line in lines] == ["profile", *measure.PROFILES]


def test_a_refusal_names_the_rail_that_made_it() -> None:
    async def work() -> list[str]:
        found = []
        async with gateway_of("symptom_checker", PROFILE="tiered") as gateway:
            for question in measure.STOPPED.values():
                client = gateway.connect()
                client.post(measure.body_of(question.format(n=1)), "connection: close")
                await until(lambda client=client: client.wire.closed_at is not None, "the answer")
                found.append(Answered(client).headers["x-tidegate-rails"])
        return found

    told = run(work())
    assert [line.split("=block")[0].split(", ")[-1] for line in told] == list(measure.STOPPED)
