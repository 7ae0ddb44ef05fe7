"""`stream_first`: one passage may be shown before its verdict, and no more. What is shown of a blocked one is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from talking import CHAT, COMPLETIONS
from virtual import run

from railed.world import Kept, chat, kept, passages, railed, request, says
from tidegate.rails.streams.passages import USUAL

REFUSAL = "I'm sorry, but I can't help with that."
JUDGE: dict[str, Any] = {"kind": "check", "name": "judge", "surfaces": ["output"]}
PROFILES: dict[str, dict[str, Any]] = {
    f"{when}-{takes_ms}": {"rails": [{**JUDGE, "takes_ms": takes_ms}], "stream_first": when == "first"}
    for when in ("first", "held")
    for takes_ms in (0, 100)
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Kept]:
    with kept(section={"profiles": PROFILES}, policy={"stricter_rails": list(PROFILES)}) as found:
        yield found


PARTS = ("All is well. ", "One. ", "A badword. ", "word " * 40, "and so ", "Yes! ")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=10).map("".join),
    st.lists(st.integers(0, 500), max_size=8),
    st.sampled_from([0.0, 0.05, 1.0]),
    st.sampled_from(list(PROFILES)),
    st.sampled_from([CHAT, COMPLETIONS]),
)
def test_at_most_the_blocked_passage_is_shown_and_what_is_shown_of_it_is_counted(
    gateway: Kept, text: str, cuts: list[int], pause_s: float, profile: str, endpoint: str
) -> None:
    places = sorted(min(cut, len(text)) for cut in cuts)
    parts = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    gateway.world.engine.says = says(*parts, itl_s=pause_s)
    answer = gateway.ask(request(endpoint, stream=True), f"x-tidegate-profile: {profile}", path=endpoint)
    found = passages(text)
    at = next((number for number, one in enumerate(found) if "bad" in one), None)
    if at is None:
        assert answer.text == text
        assert answer.finish == {0: "stop"}
        assert counted(gateway) == 0
        return
    start = len("".join(found[:at]))
    shown = answer.text.removesuffix(REFUSAL).removesuffix("\n\n")
    assert answer.finish == {0: "content_filter"}
    assert text.startswith(shown)
    most = len(found[at]) if profile.startswith("first") else 0
    assert most <= USUAL.most_chars
    assert len(shown) <= start + most
    assert counted(gateway) == max(len(shown) - start, 0)


def counted(gateway: Kept) -> int:
    return sum(one.shown_chars for one in gateway.world.record.findings)


def test_a_passage_is_shown_at_once_and_the_next_one_waits_for_its_verdict() -> None:
    async def work() -> None:
        async with railed([{**JUDGE, "takes_ms": 100}], profile={"stream_first": True}) as world:
            world.engine.says = says("All is well. ", "A badword. ", "Nothing more. ", "At all.", itl_s=1.0)
            answer = await world.ask(chat(stream=True))
            assert answer.text == f"All is well. A badword. \n\n{REFUSAL}"
            [finding] = world.record.findings[-1:]
            assert finding.shown_chars == len("A badword. ")
            assert world.metric('tidegate_rail_shown_characters_total{rail="judge"}') == finding.shown_chars
            assert world.record.added_ttft_s < 0.01

    run(work())


@pytest.mark.parametrize("hold", ["span", "whole"])
def test_rails_that_judge_no_passages_show_nothing_first(hold: str) -> None:
    async def work() -> None:
        rail = {"kind": "scans"} if hold == "span" else {"kind": "check", "holds": "whole"}
        async with railed([{**rail, "surfaces": ["output"]}], profile={"stream_first": True}) as world:
            world.engine.says = says("A b", "ad", "word. ", "More.")
            answer = await world.ask(chat(stream=True))
            assert not re.search("bad", answer.text)
            assert answer.finish == {0: "content_filter"}
            assert world.metric("tidegate_rail_shown_characters_total") == 0

    run(work())
