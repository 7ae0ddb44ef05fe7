"""The symptom checker: what its three profiles cost, to the millisecond, on the clock of the test."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from in_hand import GatewayInHand, until
from limited import Answered
from serving import Answer, ask, run_gateway
from virtual import run

from stories.examples import EXAMPLES, gateway_of, module_of
from stories.timed import READ_MS, ReadsInTime
from tidegate.kernel.text import Views
from tidegate.models.detecting import Detector
from tidegate.ports import Detects

measure: Any = module_of("symptom_checker", "measure")
REFUSED = {"injection": 30, "injection_detector": 30, "llama_guard": 10}
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


def mean_of(guard_ms: float, passed_ms: float) -> float:
    """The mean overhead of 200 questions, from the time of the guard and what an answer pays.

    The phrases of `injection` take no time of this clock, the detector takes its own, and the guard begins after it.
    """
    refusals = {"injection": 0.0, "injection_detector": READ_MS, "llama_guard": READ_MS + guard_ms}
    others = 200 - sum(REFUSED.values())
    return (sum(REFUSED[rail] * each for rail, each in refusals.items()) + others * passed_ms) / 200


@pytest.mark.parametrize(
    ("profile", "mean_ms", "median_ms"),
    [
        ("none", 0, 0),
        ("sequential", 220, 220),
        ("tiered", mean_of(200, 220), 220),
        ("racing", mean_of(200, 0), 0),
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
        ("sequential", 50, 50),
        ("tiered", mean_of(30, 50), 50),
        ("racing", mean_of(30, 0), 0),
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


def test_figures_of_a_machine_that_is_too_busy_are_told_apart(rows: dict[str, Any]) -> None:
    assert measure.warnings(list(rows.values())) == []
    [line] = measure.warnings([rows["none"], rows["tiered"]._replace(refused=119)])
    assert line.startswith("tiered refused 119 instead of 70")


def stopping(rails: str) -> str:
    """Return the rail that an answer's header says has blocked."""
    return rails.split("=block", maxsplit=1)[0].rsplit(", ", maxsplit=1)[-1]


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

    assert [stopping(line) for line in run(work())] == list(measure.STOPPED)


# --------------------------------------------------------------------------------------------------- with the real detector


async def chances(questions: list[str]) -> list[float]:
    """Return how probable the detector of the package takes an injection to be, on the real clock."""
    detector = Detector()
    try:
        found = [await detector.read(Views(one), float("inf")) for one in questions]
    finally:
        await detector.close()
    return [one["injection"] for one in found]


def test_the_real_detector_blocks_its_questions_and_passes_all_others() -> None:
    questions = sorted(set(measure.questions()))
    _, block = Detector().thresholds()["injection"]["user"]
    found = dict(zip(questions, asyncio.run(chances(questions)), strict=True))
    # The phrases of `injection` stop these first, whatever the detector says of them.
    seen = {one: chance for one, chance in found.items() if not one.startswith("Ignore")}
    blocked = {one for one, chance in seen.items() if chance >= block}
    assert blocked == {one for one in seen if "DoctorX" in one}
    assert len(blocked) == REFUSED["injection_detector"]


def test_the_detector_of_the_test_agrees_with_the_real_one() -> None:
    fake: Detects = ReadsInTime()
    question = measure.STOPPED["injection_detector"]
    assert run(fake.read(Views(question), float("inf")))["injection"] == pytest.approx(
        asyncio.run(chances([question]))[0], abs=0.05
    )


@pytest.mark.parametrize("profile", ["sequential", "tiered", "racing"])
def test_nothing_is_faked_where_a_gateway_looks_for_injections(
    monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    monkeypatch.setenv("PROFILE", profile)
    text = (EXAMPLES / "symptom_checker" / "tidegate.yaml").read_text("utf-8")
    # On a busy machine the detector of so many calls at once would not fit into the budget of production.
    text = text.replace("\nrails:\n", "\nrails:\n  budget_ms: 60000\n")
    questions = [one.format(n=7) for one in [*measure.PLAIN, *measure.STOPPED.values()]]
    with run_gateway(f"{text}server: {{port: 0}}\n") as gateway, ThreadPoolExecutor(6) as clients:

        def asked_for(question: str) -> Answer:
            return ask(f"{gateway.url}/v1/chat/completions", measure.body_of(question))

        answers = list(clients.map(asked_for, questions))
    assert [measure.is_refusal(one.body) for one in answers] == [False] * 3 + [True] * 3
    told = [one.headers["x-tidegate-rails"] for one in answers[3:]]
    if profile != "sequential":
        assert [stopping(line) for line in told] == list(measure.STOPPED)
        return
    # There the guard decides about all of them, and the cheap rails say what they found.
    assert [stopping(line) for line in told] == ["llama_guard"] * 3
    assert ["injection_detector=log" in line for line in told] == [True, True, False]
