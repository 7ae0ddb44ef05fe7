"""Passages of streams: nothing is shown before its verdict, and judging takes place while the engine goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_hand import InHand, until
from talking import data_of
from virtual import run

from railed import made
from railed.world import Kept, Step, World, answered, chat, event, kept, passages, railed, says
from tidegate.errors import UpstreamError
from tidegate.rails.streams.judging import MOST_AT_ONCE
from tidegate.rails.streams.passages import USUAL
from tidegate.types import Ask

REFUSAL = "I'm sorry, but I can't help with that."
JUDGE: dict[str, Any] = {"kind": "check", "name": "judge", "surfaces": ["output"], "tier": 2}
TOKENS = [f"w{at:03d} " for at in range(300)]
TEXT = "".join(TOKENS)
ITL_S = 0.02
SLACK_S = 0.03
"""The clock of the tests takes 10 µs for each turn of the event loop, and streams take thousands."""


def streams(rail: Mapping[str, Any], **passages: Any) -> Any:
    return railed([{**JUDGE, **rail}], profile={"passages": passages} if passages else None)


def windows(tokens: int) -> dict[str, Any]:
    return {"by": "window", "window_tokens": tokens, "context_tokens": 16}


class Seen(NamedTuple):
    """How much of the text the client had at a time, in tokens, and how much had its verdict."""

    at: float
    shown: int
    judged: int


def shown_by(client: InHand) -> str:
    body = client.received.partition(b"\r\n\r\n")[2]
    return "".join(re.findall(r'"content": "([^"]*)"', body.decode()))


async def watched(world: World, client: InHand) -> list[Seen]:
    """Return what a client sees of the 300 tokens, until its answer is complete."""
    found: list[Seen] = []
    size = 0
    while client.wire.closed_at is None:
        await asyncio.sleep(0.001)
        if len(client.received) > size:
            size = len(client.received)
            judged = max((TEXT.index(one.text) + len(one.text) for one in made.seen), default=0)
            found.append(Seen(world.now, len(shown_by(client)) // 5, judged // 5))
    return [one for one in found if one.shown]


def judged_stream(rail: Mapping[str, Any], **passages: Any) -> tuple[list[Seen], float]:
    """Stream 300 tokens. Returns what the client sees, and when the engine sent the first one."""

    async def work() -> tuple[list[Seen], float]:
        async with streams(rail, **passages) as world:
            world.engine.says = says(*TOKENS, itl_s=ITL_S)
            began = world.now
            client = world.send(chat(stream=True))
            found = await watched(world, client)
            assert shown_by(client) == TEXT
            return found, began

    return run(work())


@pytest.mark.parametrize("judge_s", [0.05, 0.3])
@pytest.mark.parametrize("window", [16, 32, 64])
def test_a_window_is_shown_after_its_verdict_and_costs_one_window_and_one_verdict(
    window: int, judge_s: float
) -> None:
    found, began = judged_stream({"takes_ms": judge_s * 1000}, **windows(window))
    assert all(one.shown <= one.judged for one in found)
    assert found[0].at - began <= (window - 1) * ITL_S + judge_s + SLACK_S
    # No window waits for the verdict on another one.
    assert found[-1].at - began <= len(TOKENS) * ITL_S + judge_s + SLACK_S
    waits = [after.at - before.at for before, after in pairwise(found)]
    assert max(waits) <= window * ITL_S + SLACK_S


@pytest.mark.parametrize("judge_s", [0.05, 0.3])
def test_a_whole_answer_is_shown_after_its_verdict(judge_s: float) -> None:
    found, began = judged_stream({"takes_ms": judge_s * 1000, "hold": "whole"})
    assert {(one.shown, one.judged) for one in found} == {(300, 300)}
    assert found[0].at - began <= len(TOKENS) * ITL_S + judge_s + SLACK_S


def test_sentences_end_windows_unless_windows_alone_do() -> None:
    async def work(**passages: Any) -> list[str]:
        async with streams({}, **passages) as world:
            world.engine.says = says("One. Two. ", "Three and four and five. ", "Six.")
            await world.ask(chat(stream=True))
            return [one.text for one in made.seen]

    by_sentence = ["One. ", "One. Two. ", "One. Two. Three and four and five. "]
    assert run(work())[:3] == by_sentence
    assert run(work(context_tokens=0))[:2] == ["One. ", "Two. "]
    alone = ["One. Two. Three and ", " and four and five. Six."]
    assert run(work(by="window", window_tokens=4, context_tokens=1)) == alone


def test_a_judge_slower_than_the_engine_bounds_what_is_read_ahead() -> None:
    async def work() -> None:
        async with streams({"takes_ms": 2000}, **windows(8)) as world:
            sent = 0

            def steps(ask: Ask) -> Iterable[Step]:
                nonlocal sent
                for token in TOKENS[:160]:
                    sent += 1
                    yield event(ask, 0, token, "content")
                    yield ITL_S
                yield event(ask, 0, None, "content", finish="stop")

            world.engine.says = steps
            client = world.send(chat(stream=True))
            ahead: list[int] = []
            while client.wire.closed_at is None:
                await asyncio.sleep(0.01)
                ahead.append(sent - len(shown_by(client)) // 5)
            assert shown_by(client) == "".join(TOKENS[:160])
            assert max(ahead) == MOST_AT_ONCE * 8
            assert len(made.seen) == 20
            assert world.now < 20 / MOST_AT_ONCE * (2 + MOST_AT_ONCE * 8 * ITL_S) + 1

    run(work())


# ------------------------------------------------------------------------------------- as if one were judged at a time

SENTENCES = ("All is well {}. ", "A badword {}. ", "{} b", "a", "d and so {} ", "Yes {}! ", "so 9 " * 40)
WAYS: dict[str, dict[str, Any]] = {
    f"{on_fail}-{by}": {
        "rails": [{**JUDGE, "takes_said": True, "on_fail": on_fail}],
        "passages": {"by": by, "window_tokens": 32 if by == "sentence" else 6},
    }
    for on_fail in ("block", "redact", "log")
    for by in ("sentence", "window")
}
CUTS = {"sentence": USUAL, "window": USUAL._replace(most_chars=30, sentences=False)}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Kept]:
    with kept(section={"profiles": WAYS}, policy={"stricter_rails": list(WAYS)}) as found:
        yield found


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(SENTENCES), st.integers(0, 400)), max_size=14),
    st.lists(st.integers(0, 400), max_size=8),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.sampled_from(list(WAYS)),
)
def test_verdicts_in_any_order_let_leave_what_verdicts_one_after_the_other_do(
    gateway: Kept, said: list[tuple[str, int]], cuts: list[int], pause_s: float, way: str
) -> None:
    text = "".join(sentence.format(takes_ms) for sentence, takes_ms in said)
    places = sorted(min(cut, len(text)) for cut in cuts)
    parts = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    gateway.world.engine.says = says(*parts, itl_s=pause_s)
    answer = gateway.ask(chat(stream=True), f"x-tidegate-profile: {way}")
    bad = re.search("bad", text)
    [finding] = [one for one in gateway.world.record.findings if one.surface.value == "output"] or [None]
    assert (finding is not None and finding.action > 0) is (bad is not None)
    if finding is not None and not way.startswith("block"):
        assert finding.count == len(re.findall("bad", text))
    if bad is None or way.startswith("log"):
        assert answer.text == text
    elif way.startswith("redact"):
        assert answer.text == re.sub("bad[a-z]{0,8}", "<BAD>", text)
    else:
        clear = ""
        for passage in passages(text, CUTS[way.partition("-")[2]]):
            if len(clear + passage) >= bad.end():
                break
            clear += passage
        shown = answer.text.removesuffix(REFUSAL).removesuffix("\n\n")
        # An event leaves as a whole, so the last one may stay with the passage that is blocked.
        assert clear.startswith(shown)
        ends = [len("".join(parts[:count])) for count in range(len(parts) + 1)]
        assert len(shown) == max(end for end in ends if end <= len(clear))


# ------------------------------------------------------------------------------------------------------- how streams end


def test_a_block_ends_all_that_is_judged_behind_it_and_nothing_of_that_is_told() -> None:
    async def work() -> None:
        rails = [
            {**JUDGE, "takes_said": True},
            {**JUDGE, "name": "logs", "finds": "worse", "on_fail": "log"},
        ]
        async with railed(rails) as world:
            world.engine.says = says(
                "Well 100. ", "A bad one 300. ", "It is worse 10. ", "On 900. ", itl_s=0.01
            )
            answer = await world.ask(chat(stream=True))
            assert answer.text == f"Well 100. \n\n{REFUSAL}"
            assert world.now < 0.4
            assert made.cancelled == ["judge"]  # the others have ended
            assert {one.rail: one.action.word for one in world.record.findings} == {
                "judge": "block",
                "logs": "pass",
            }
            assert world.engine.asked[0].state in ("CancelledError", "GeneratorExit", "ok")

    run(work())


@pytest.mark.parametrize("bad", [False, True], ids=["passes", "blocks"])
def test_what_was_said_before_an_engine_fails_gets_its_verdict(bad: bool) -> None:
    async def work() -> None:
        async with streams({"takes_ms": 100}) as world:

            def steps(ask: Ask) -> Iterable[Step]:
                yield event(ask, 0, "Good. ", "content")
                yield event(ask, 0, "A badword. " if bad else "Better. ", "content")
                yield event(ask, 0, "The re", "content")
                yield UpstreamError("the engine is gone")

            world.engine.says = steps
            answer = await world.ask(chat(stream=True))
            if bad:
                assert answer.text == f"Good. \n\n{REFUSAL}"
                assert answer.is_done
            else:
                assert answer.text == "Good. Better. "
                assert answer.events[-1]["error"]["code"] == "engine_error"

    run(work())


def test_a_client_that_leaves_ends_the_engine_and_the_judges() -> None:
    async def work() -> None:
        async with streams({"takes_ms": 2000}) as world:
            world.engine.says = says("One. ", "Two. ", "Three. ", itl_s=1.0)
            client = world.send(chat(stream=True))
            await until(lambda: world.now > 1.5, "two passages are judged")
            client.wire.abort()
            await until(lambda: bool(world.logged), "the call has ended")
            assert world.now < 1.6
            assert made.cancelled == ["judge", "judge"]
            assert world.engine.asked[0].state == "CancelledError"
            assert not [task for task in asyncio.all_tasks() if task.get_name() in ("passage", "read ahead")]

    run(work())


@pytest.mark.parametrize("prompt", ["good", "bad"])
def test_passages_wait_for_input_rails_that_race(prompt: str) -> None:
    async def work() -> None:
        rails = [
            {"kind": "check", "tier": 2, "surfaces": ["input"], "takes_ms": 500},
            {**JUDGE, "takes_ms": 100},
        ]
        async with railed(rails, profile={"race": True}) as world:
            world.engine.says = says("One. ", "Two. ", itl_s=0.05)
            answer = await world.ask(chat(prompt, stream=True))
            assert answer.text == (REFUSAL if prompt == "bad" else "One. Two. ")
            surfaces = [one.surface for one in made.seen]
            assert surfaces == (["input"] if prompt == "bad" else ["input", "output", "output"])

    run(work())


def test_a_scanner_blocks_at_once_and_passages_without_a_verdict_stay() -> None:
    async def work() -> None:
        rails = [{"kind": "scans", "finds": "worse", "surfaces": ["output"]}, {**JUDGE, "takes_ms": 300}]
        async with railed(rails) as world:
            world.engine.says = says("One. ", "It is worse. ", "Three. ", itl_s=0.1)
            answer = await world.ask(chat(stream=True))
            assert answer.text == REFUSAL
            assert made.cancelled == ["judge"]
            assert world.now < 0.3

    run(work())


def test_a_stop_string_ends_the_engine_and_what_stands_before_it_gets_its_verdict() -> None:
    async def work() -> None:
        async with railed([{**JUDGE, "takes_ms": 200}], profile={"stop": ["END"]}) as world:
            world.engine.says = says("One. ", "Two. ", "Three END", " more. ", itl_s=0.05)
            answer = await world.ask(chat(stream=True))
            assert answer.text == "One. Two. Three "
            assert answer.finish == {0: "stop"}
            assert world.engine.asked[0].ended_at < 0.2
            assert len(made.seen) == 3

    run(work())


def test_what_an_engine_says_before_the_first_text_is_not_taken_for_it() -> None:
    async def work() -> None:
        async with streams({"takes_ms": 100}) as world:
            world.engine.says = says("", "One. ", "Two. ", itl_s=0.5)
            client = world.send(chat(stream=True))
            await until(lambda: len(data_of(client.received)) > 0, "the event without text")
            await answered(client)
            assert world.record.added_ttft_s == pytest.approx(0.1, abs=SLACK_S)

    run(work())
