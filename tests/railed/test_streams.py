"""Streams under rails, through a whole gateway: no character of a match is ever shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_hand import until
from talking import CHAT, COMPLETIONS
from virtual import run

from railed import made
from railed.world import (
    ARGUMENTS,
    TOP,
    USAGE,
    Kept,
    Says,
    Step,
    answered,
    chat,
    event,
    kept,
    railed,
    request,
    says,
)
from tidegate.errors import UpstreamError
from tidegate.types import Ask

REFUSAL = "I'm sorry, but I can't help with that."
BAD = re.compile("bad[a-z]{0,8}")
SCANS = {"kind": "scans", "surfaces": ["output"]}
JUDGE = {"kind": "check", "surfaces": ["output"]}


def rails(on_fail: str) -> list[dict[str, Any]]:
    return [{**SCANS, "on_fail": on_fail}]


# -------------------------------------------------------------------------------------------------------- nothing leaks

texts = st.lists(
    st.sampled_from(
        ("bad", "badword", "ba", "b", "word", " ", ".", "d", "\u200b", "\u4e2d", "badbad", "x" * 30)
    ),
    max_size=8,
).map("".join)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[int, str, str]]:
    """Texts in some choices and channels, cut into events in any order: choice, channel, text."""
    left: list[list[tuple[int, str, str]]] = []
    for at in range(draw(st.integers(1, 3))):
        for channel in draw(st.sets(st.sampled_from(["content", "reasoning_content"]), min_size=1)):
            text = draw(texts)
            places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=5)))
            parts = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
            left.append([(at, channel, part) for part in parts])
    found: list[tuple[int, str, str]] = []
    while any(left):
        one = draw(st.sampled_from([events for events in left if events]))
        found.append(one.pop(0))
    return found


def saying(events: Sequence[tuple[int, str, str]], choices: int) -> Says:
    def steps(ask: Ask) -> Iterable[Step]:
        for at in range(choices):
            yield event(ask, at, "", "content")
        for at, channel, text in events:
            yield event(ask, at, text, channel)
        for at in range(choices):
            yield event(ask, at, None, "content", finish="stop")
        yield {**TOP, "choices": [], "usage": USAGE}

    return steps


def of(events: Iterable[tuple[int, str, str]]) -> dict[tuple[int, str], str]:
    whole: dict[tuple[int, str], str] = {}
    for at, channel, text in events:
        whole[at, channel] = whole.get((at, channel), "") + text
    return whole


NEVER = {**JUDGE, "name": "judge", "finds": "neverthere"}
MODES = {f"{on_fail}{more}": [*rails(on_fail), *([NEVER] if more else [])]
         for on_fail in ("redact", "block", "log") for more in ("", "+judge")}  # fmt: skip


@pytest.fixture(scope="module")
def gateway() -> Iterator[Kept]:
    """A gateway whose clients choose the rails."""
    profiles = {name: {"rails": found} for name, found in MODES.items()}
    with kept(section={"profiles": profiles}, policy={"stricter_rails": list(profiles)}) as found:
        yield found


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.sampled_from(list(MODES)))
def test_no_character_of_a_match_is_shown(
    gateway: Kept, events: list[tuple[int, str, str]], mode: str
) -> None:
    choices = 1 + max(at for at, _, _ in events)
    whole = of(events)
    gateway.world.engine.says = saying(events, choices)
    asks: dict[str, Any] = {"n": choices, "stream_options": {"include_usage": True}}
    answer = gateway.ask(chat(stream=True, **asks), f"x-tidegate-profile: {mode}")
    assert answer.is_done
    if mode.startswith("block") and any(BAD.search(plain(text)) for text in whole.values()):
        for (at, channel), text in answer.texts.items():
            shown = text.removesuffix(REFUSAL).removesuffix("\n\n") if channel == "content" else text
            assert whole.get((at, channel), "").startswith(shown)
            assert not BAD.search(plain(shown))
        assert "content_filter" in answer.finish.values()
        return
    assert answer.events[-1]["usage"] == USAGE
    assert answer.finish == dict.fromkeys(range(choices), "stop")
    made_of = masked if mode.startswith("redact") else str
    assert answer.texts == {place: made_of(text) for place, text in whole.items() if text}


def plain(text: str) -> str:
    return text.replace("\u200b", "")


def masked(text: str) -> str:
    """Mask each match, with the invisible characters in it."""
    return re.sub("b\u200b*a\u200b*d(\u200b*[a-z]){0,8}", "<BAD>", text)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, st.lists(st.integers(0, 400), max_size=8), st.sampled_from(["redact", "block", "log"]))
def test_no_character_of_a_match_in_the_arguments_of_a_tool_is_shown(
    gateway: Kept, text: str, cut: list[int], mode: str
) -> None:
    text = plain(text)  # invisible characters have tests of their own
    arguments = {"a": [text, {"b": 1}], "c": f'bad "{text}"', text: 2}
    document = json.dumps(arguments)[:-1].replace("bad ", "\\u0062\\u0061\\u0064 ") + "}"
    places = sorted(place % (len(document) + 1) for place in cut)
    parts = [document[start:end] for start, end in pairwise([0, *places, len(document)])]
    gateway.world.engine.says = says(*parts, channel=ARGUMENTS)
    answer = gateway.ask(chat(stream=True), f"x-tidegate-profile: {mode}")
    if mode == "block":
        # The escaped word is always there. The name of the tool has been shown.
        assert answer.text.lstrip() == REFUSAL
        assert (0, ARGUMENTS) not in answer.texts
    elif mode == "log":
        assert answer.texts == {(0, ARGUMENTS): document}
    else:
        quoted = masked(text)
        found = json.loads(answer.texts[0, ARGUMENTS])
        assert found == {"a": [quoted, {"b": 1}], "c": f'<BAD> "{quoted}"', quoted: 2}


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("at", range(0, 20, 3))
def test_every_endpoint_streams_masks(endpoint: str, at: int) -> None:
    text = "It is a badword here."

    async def work() -> None:
        async with railed(rails("redact")) as world:
            world.engine.says = says(text[:at], text[at : at + 3], text[at + 3 :])
            answer = await world.ask(request(endpoint, stream=True), path=endpoint)
            assert answer.text == "It is a <BAD> here."

    run(work())


# --------------------------------------------------------------------------------------------------------- what is held


@pytest.mark.parametrize("rail", [SCANS, JUDGE, {**SCANS, "hold": "whole"}], ids=["span", "passage", "whole"])
def test_an_engine_that_breaks_while_text_is_held_shows_none_of_it(rail: dict[str, Any]) -> None:
    async def work() -> None:
        async with railed([rail]) as world:

            def steps(ask: Ask) -> Iterable[Step]:
                yield event(ask, 0, "Good. ", "content")
                yield event(ask, 0, "A bad", "content")
                yield UpstreamError("the engine is gone")

            world.engine.says = steps
            answer = await world.ask(chat(stream=True))
            assert b"A ba" not in answer.client.received
            if rail.get("hold") == "whole":
                assert answer.status == 502
                return
            assert answer.text == "Good. "
            assert answer.events[-1]["error"]["code"] == "engine_error"
            assert not answer.is_done

    run(work())


def test_what_is_held_leaves_as_soon_as_it_may() -> None:
    async def work() -> None:
        async with railed(rails("block")) as world:
            world.engine.says = says("Hello b", "ut not b", "ad", itl_s=1.0)
            client = world.send(chat(stream=True))
            await until(lambda: world.now > 0.5, "the first event")
            assert b"Hello" not in client.received
            await until(lambda: world.now > 1.5, "the second event")
            assert b"Hello b" in client.received
            assert (await answered(client)).text == f"Hello b\n\n{REFUSAL}"

    run(work())


def test_nothing_is_shown_before_a_judge_has_ruled() -> None:
    async def work() -> None:
        async with railed([{**JUDGE, "takes_ms": 100}]) as world:
            world.engine.says = says("A badword. ", "More. ", "And more.", itl_s=0.05)
            client = world.send(chat(stream=True))
            answer = await answered(client)
            assert answer.text == REFUSAL
            assert world.engine.asked[0].state in ("CancelledError", "GeneratorExit")
            assert b"badword" not in client.received

            made.seen.clear()
            world.engine.says = says("All is well. ", "A badword. ", "More.", itl_s=0.05)
            answer = await world.ask(chat(stream=True))
            assert answer.text == f"All is well. \n\n{REFUSAL}"

    run(work())


@pytest.mark.parametrize("on_fail", ["block", "redact", "log"])
def test_judges_see_what_stands_across_two_passages_and_act_once(on_fail: str) -> None:
    async def work() -> None:
        rail = {**JUDGE, "finds": "very bad[.] Indeed", "on_fail": on_fail}
        async with railed([rail, {**JUDGE, "name": "other", "finds": "very", "on_fail": "log"}]) as world:
            world.engine.says = says("It is very bad. ", "Indeed so. ", "Yes.")
            answer = await world.ask(chat(stream=True))
            found = {one.rail: one for one in world.record.findings}
            assert found["check"].action.word == on_fail
            assert found["check"].count == 1
            if on_fail == "block":
                assert answer.text == f"It is very bad. \n\n{REFUSAL}"
            else:
                masked = "It is <BAD> so. Yes."
                assert answer.text == (masked if on_fail == "redact" else "It is very bad. Indeed so. Yes.")
                assert found["other"].count == 1  # what was seen again as context is not counted again

    run(work())


ACROSS = "b[. ]{0,4}a[. ]{0,4}d[a-z]{0,8}"
SENTENCES = ("bad. ", "b. a. d. ", "ba", "d. ", "b", ". ", "a", "d", "x. ", "y" * 50, "z " * 90, "w" * 158)


@pytest.fixture(scope="module")
def masks() -> Iterator[Kept]:
    """A gateway that masks what stands in passages, and then another word, by two rails."""
    judge = {**JUDGE, "on_fail": "redact"}
    with kept([{**judge, "finds": ACROSS}, {**judge, "name": "second", "finds": "x[. ]{0,3}y"}]) as found:
        yield found


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(SENTENCES), max_size=12).map("".join), st.lists(st.integers(0, 600), max_size=6)
)
def test_a_match_across_passages_is_masked_as_a_whole(masks: Kept, text: str, cuts: list[int]) -> None:
    places = sorted(min(place, len(text)) for place in cuts)
    parts = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    masks.world.engine.says = saying([(0, "content", part) for part in parts], 1)
    answer = masks.ask(chat(stream=True))
    whole = re.sub(ACROSS, "<BAD>", text)
    assert answer.text == re.sub("x[. ]{0,3}y", "<BAD>", whole)
    assert answer.finish == {0: "stop"}


def test_a_passage_of_a_rail_that_masks_waits_for_what_follows_and_no_longer() -> None:
    async def work() -> None:
        async with railed([{**JUDGE, "on_fail": "redact"}]) as world:
            long = "All is well with these words, of which there are some more than eighty characters. "
            world.engine.says = says("One. ", long, "Two. ", "The end.", itl_s=1.0)
            client = world.send(chat(stream=True))
            await until(lambda: world.now > 0.5, "the first passage")
            assert b"One" not in client.received
            await until(lambda: world.now > 1.5, "80 characters behind it")
            assert b"One. " in client.received
            assert b"All" not in client.received
            assert (await answered(client)).text == f"One. {long}Two. The end."

    run(work())


@pytest.mark.parametrize("ends", ["block", "failure"])
def test_a_passage_that_waits_for_what_follows_does_not_leave_when_the_answer_is_cut(ends: str) -> None:
    async def work() -> None:
        async with railed(
            [{**JUDGE, "on_fail": "redact"}, {**JUDGE, "name": "block", "finds": "worse"}]
        ) as world:

            def steps(ask: Ask) -> Iterable[Step]:
                yield event(ask, 0, "He is very b. ", "content")
                yield event(ask, 0, "It is worse. ", "content") if ends == "block" else UpstreamError("gone")

            world.engine.says = steps
            answer = await world.ask(chat(stream=True))
            assert b"very" not in answer.client.received
            assert answer.text == REFUSAL if ends == "block" else answer.status == 502

    run(work())


@pytest.mark.parametrize("rail", [SCANS, JUDGE], ids=["span", "passage"])
def test_a_stream_is_kept_alive_while_text_is_held(rail: dict[str, Any]) -> None:
    async def work() -> None:
        async with railed([rail], server={"sse_keep_alive_s": 1}) as world:
            world.engine.says = says("ba", "by.", itl_s=3.0)
            client = world.send(chat(stream=True))
            await until(lambda: b"\n: " in client.received, "a comment")
            assert b"ba" not in client.received.partition(b"\r\n\r\n")[2].replace(b"tidegate", b"")
            assert (await answered(client)).text == "baby."

    run(work())


# ------------------------------------------------------------------------------------------------------------- the rest


def test_the_usage_comes_last_and_unchanged_events_keep_their_bytes() -> None:
    async def work() -> None:
        async with railed(rails("redact")) as world:
            world.engine.says = says("Good ", "b", "adword", ".", usage=True, choices=2)
            answer = await world.ask(chat(stream=True, n=2, stream_options={"include_usage": True}))
            assert answer.events[-1] == {**TOP, "choices": [], "usage": USAGE}
            assert [bool(one["choices"]) for one in answer.events] == [True] * (len(answer.events) - 1) + [
                False
            ]
            raw = b'data: {"id": "x-1", "created": 1, "model": "m", "object": "chunk", "choices": [{"index": 0, '
            assert raw + b'"finish_reason": null, "delta": {"content": "Good "}}]}\n\n' in answer.body

    run(work())


def test_what_says_the_text_once_more_is_left_out_where_it_was_changed() -> None:
    async def work() -> None:
        async with railed(rails("redact")) as world:

            def steps(ask: Ask) -> Iterable[Step]:
                for text in ("Good ", "bad", "word."):
                    one = event(ask, 0, text, "content")
                    one["choices"][0]["logprobs"] = {"content": [{"token": text, "logprob": -0.5}]}
                    yield one
                yield event(ask, 0, None, "content", finish="stop")

            world.engine.says = steps
            answer = await world.ask(chat(stream=True, logprobs=True))
            assert answer.text == "Good <BAD>."
            assert b"bad" not in answer.body.replace(b"<BAD>", b"")
            assert b"word" not in answer.body

    run(work())


def test_a_refusal_in_a_stream_that_has_begun_is_part_of_the_same_answer() -> None:
    async def work() -> None:
        async with railed(rails("block")) as world:
            world.engine.says = says("All is well, ", "bad", "word.")
            answer = await world.ask(chat(stream=True))
            assert {one["id"] for one in answer.events} == {"x-1"}
            assert answer.is_done
            assert world.engine.asked[0].state == "GeneratorExit"
            assert world.record.spent[0].outcome == "cancelled"
            assert world.record.outcome == "ok"

    run(work())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_without_text_passes(stream: bool) -> None:
    async def work() -> None:
        async with railed([SCANS, {**JUDGE, "holds": "whole"}]) as world:
            world.engine.says = says("")
            answer = await world.ask(chat(stream=stream))
            assert (answer.texts, answer.finish) == ({}, {0: "stop"})

    run(work())
