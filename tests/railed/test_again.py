"""Answers that are made again, corrected, and in which placeholders become what they stand for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talking import COMPLETIONS
from virtual import run

from railed import made
from railed.world import Says, Step, chat, railed, request, says
from tidegate.types import FAILED, Ask

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
REFUSAL = "I'm sorry, but I can't help with that."
AGAIN = {"kind": "rule", "surfaces": ["output"], "hold": "whole", "on_fail": "regenerate"}


def one_after_the_other(*texts: str, choices: int = 1) -> Says:
    """Say the first text in the first answer, the next one in the next, and the last one from then on."""
    left = list(texts)

    def steps(ask: Ask) -> Iterable[Step]:
        return says(left.pop(0) if len(left) > 1 else left[0], choices=choices, usage=True)(ask)

    return steps


@STREAM
def test_an_answer_is_made_again_with_a_stronger_instruction(stream: bool) -> None:
    async def work() -> None:
        async with railed([AGAIN], profile={"instruction": "Not again: {reason}!"}) as world:
            world.engine.says = one_after_the_other("A badword.", "A good word.")
            answer = await world.ask(chat("Say a word.", stream=stream))
            assert answer.text == "A good word."
            assert answer.finish == {0: "stop"}
            assert b"badword" not in answer.client.received
            assert answer.client.received.count(b"x-tidegate-route:") == 1
            first, second = world.engine.asked
            assert second.messages == [*first.messages, {"role": "system", "content": "Not again: badness!"}]
            assert first.messages == [{"role": "user", "content": "Say a word."}]
            # The house pays for an answer that the client does not get.
            assert [one.purpose for one in world.record.spent] == [FAILED, "answer"]
            [found] = world.record.findings[:1]
            assert found.action.word == "regenerate"
            assert world.metric('tidegate_rail_verdicts_total{action="regenerate",rail="rule"') == 1

    run(work())


@STREAM
@pytest.mark.parametrize("rounds", [1, 3])
def test_after_some_rounds_the_call_is_blocked(stream: bool, rounds: int) -> None:
    async def work() -> None:
        async with railed([AGAIN], profile={"most_rounds": rounds}) as world:
            world.engine.says = says("A badword.")
            answer = await world.ask(chat(stream=stream))
            assert answer.text == REFUSAL
            assert answer.finish == {0: "content_filter"}
            assert len(world.engine.asked) == rounds + 1
            # Each instruction takes the place of the one before.
            assert {len(one.messages) for one in world.engine.asked[1:]} == {2}
            assert [one.purpose for one in world.record.spent] == [FAILED] * rounds + ["answer"]
            assert world.record.findings[-1].action.word == "block"

    run(work())


@STREAM
def test_what_cannot_be_told_anything_is_not_asked_again(stream: bool) -> None:
    async def work() -> None:
        async with railed([AGAIN]) as world:
            world.engine.says = says("A badword.")
            answer = await world.ask(request(COMPLETIONS, stream=stream), path=COMPLETIONS)
            assert answer.text == REFUSAL
            assert len(world.engine.asked) == 1

    run(work())


@STREAM
def test_an_answer_of_several_choices_is_made_again_as_a_whole(stream: bool) -> None:
    async def work() -> None:
        async with railed([AGAIN]) as world:
            world.engine.says = one_after_the_other("A badword.", "Good.", choices=2)
            answer = await world.ask(chat(n=2, stream=stream))
            assert answer.texts == {(0, "content"): "Good.", (1, "content"): "Good."}

    run(work())


@STREAM
def test_an_answer_is_corrected(stream: bool) -> None:
    async def work() -> None:
        rail = {**AGAIN, "on_fail": "fix", "puts": "good"}
        async with railed([rail]) as world:
            world.engine.says = says("A bad", "word and a ", "badword.")
            answer = await world.ask(chat(stream=stream))
            assert answer.text == "A good and a good."
            assert answer.finish == {0: "stop"}
            assert b"badword" not in answer.client.received
            assert world.record.findings[0].action.word == "fix"

    run(work())


# -------------------------------------------------------------------------------------------------------- placeholders

MASKS = {"kind": "rule", "finds": "[a-z]{1,8}@[a-z]{1,8}", "surfaces": ["input"], "on_fail": "redact"}
PLACEHOLDER = re.compile(r"<BAD_(\d+)_([0-9a-f]{16})>")


def echoing(cut: Iterable[int] = (), channel: str = "content") -> Says:
    """Say the user's text once more, cut at some places."""

    def steps(ask: Ask) -> Iterable[Step]:
        text = str(ask.messages[-1].content)
        places = [0, *sorted(place % (len(text) + 1) for place in cut), len(text)]
        parts = [text[start:end] for start, end in pairwise(places)]
        return says(*parts, channel=channel)(ask)

    return steps


@STREAM
def test_equal_values_have_equal_placeholders_and_each_call_has_its_own(stream: bool) -> None:
    text = "ann@home and bob@work and ann@home"

    async def work() -> None:
        async with railed([MASKS], profile={"placeholders": True}) as world:
            world.engine.says = echoing()
            sent: list[str] = []
            for _ in range(2):
                answer = await world.ask(chat(text, stream=stream))
                assert answer.text == text
                sent.append(world.engine.asked[-1].messages[-1]["content"])
            assert all("@" not in one for one in sent)
            (ann, nonce), (bob, other), (again, _) = PLACEHOLDER.findall(sent[0])
            assert (ann, bob, again) == ("1", "2", "1")
            assert nonce == other
            assert nonce not in sent[1]

    run(work())


@STREAM
def test_a_placeholder_that_somebody_has_typed_is_never_restored(stream: bool) -> None:
    typed = "<BAD_1_0123456789abcdef> <BAD> <BAD_1_> and ann@home"

    async def work() -> None:
        async with railed([MASKS], profile={"placeholders": True}) as world:
            world.engine.says = echoing()
            answer = await world.ask(chat(typed, stream=stream))
            assert answer.text == typed
            assert world.engine.asked[0].messages[-1]["content"].startswith("<BAD_1_0123456789abcdef> <BAD> ")

            # Of a call before, even by the same client.
            first = world.engine.asked[0].messages[-1]["content"].rpartition(" ")[2]
            answer = await world.ask(chat(f"{first} bob@work", stream=stream))
            assert answer.text == f"{first} bob@work"

    run(work())


@STREAM
def test_without_the_setting_masks_stay(stream: bool) -> None:
    async def work() -> None:
        async with railed([MASKS]) as world:
            world.engine.says = echoing()
            assert (await world.ask(chat("To ann@home.", stream=stream))).text == "To <BAD>."

    run(work())


PIECES = ("ann@home", "bob@work", " and ", "<BAD_1_", "<", ">", "<BAD", "x", "\u00e9", "\U0001f600")


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.lists(st.integers(0, 200), max_size=8),
    st.sampled_from(["content", "reasoning_content"]),
    st.booleans(),
)
def test_placeholders_are_restored_exactly_wherever_the_engine_cuts_its_text(
    text: str, cut: list[int], channel: str, stream: bool
) -> None:
    async def work() -> None:
        async with railed([MASKS], profile={"placeholders": True}) as world:
            world.engine.says = echoing(cut, channel)
            answer = await world.ask(chat(text + ".", stream=stream))
            assert answer.texts == {(0, channel): text + "."}

    run(work())


@STREAM
def test_placeholders_in_the_arguments_of_tools_are_restored_as_json(stream: bool) -> None:
    async def work() -> None:
        rail: dict[str, Any] = {**MASKS, "finds": 'say "[a-z]{1,8}"'}
        async with railed([rail], profile={"placeholders": True}) as world:

            def steps(ask: Ask) -> Iterable[Step]:
                hidden = str(ask.messages[-1].content)
                parts = ['{"te', f'xt": "{hidden[:9]}', f'{hidden[9:]}", "other": 1}}']
                return says(*parts, channel="arguments")(ask)

            world.engine.says = steps
            answer = await world.ask(chat('say "hi"', stream=stream))
            assert json.loads(answer.texts[0, "arguments"]) == {"text": 'say "hi"', "other": 1}

    run(work())


@STREAM
def test_a_block_of_the_answer_comes_before_placeholders_are_restored(stream: bool) -> None:
    """Rails see what the engine has said: its placeholders, not the values, which the client itself has sent."""

    async def work() -> None:
        rails = [MASKS, {"kind": "scans", "finds": "[a-z]{1,8}@[a-z]{1,8}", "surfaces": ["output"]}]
        async with railed(rails, profile={"placeholders": True}) as world:
            world.engine.says = echoing()
            assert (await world.ask(chat("To ann@home.", stream=stream))).text == "To ann@home."
            world.engine.says = says("To ann@home.")
            assert (await world.ask(chat("hello", stream=stream))).finish == {0: "content_filter"}

    run(work())


@pytest.mark.parametrize("holds", ["sentence", "whole"])
@pytest.mark.parametrize("cut", range(0, 40, 7))
def test_rails_that_judge_passages_see_placeholders_and_clients_the_values(holds: str, cut: int) -> None:
    async def work() -> None:
        judge = {"kind": "check", "name": "judge", "finds": "[a-z]{1,8}@[a-z]{1,8}", "holds": holds}
        rails = [MASKS, {**judge, "surfaces": ["output"]}]
        async with railed(rails, profile={"placeholders": True}) as world:
            text = "x" * 150 + "ann@home. And " + "y" * 150 + " bob@work, and ann@home."
            world.engine.says = echoing((150 + cut, 160 + cut, 310 + cut))
            answer = await world.ask(chat(text, stream=True))
            assert answer.text == text
            assert {one.rail for one in made.seen} == {"rule", "judge"}

    run(work())
