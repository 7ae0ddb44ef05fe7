"""No advice that the rail knows leaves the symptom checker, wherever the engine cuts its answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from in_hand import until
from railed.world import Answer, Step, Told, says
from streamed import CONTENT, end_choice, piece, put_out, said, texts_out
from virtual import run

from stories.examples import gateway_of, module_of, plan_of
from tidegate.rails.plan import Plan
from tidegate.rails.streams.window import Window
from tidegate.types import Ask

scripted: Any = module_of("symptom_checker", "answers")
COUNT = int(os.environ.get("ANSWERS", "500"))
"""How many answers are streamed through the rails; `make stories` takes 10,000."""
THROUGH_A_GATEWAY = 30
PROFILE = "racing"
REFUSAL = "I can only talk about symptoms. In an emergency, call your local emergency number."


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("symptom_checker", PROFILE)


def streamed(plan: Plan, pieces: Sequence[str]) -> tuple[str, bool]:
    """Stream an answer through the output rails of a plan. Return what has left, and whether it was blocked."""
    assert plan.streams is not None
    window, out = Window(plan.streams, put_out, end_choice), []
    for text in pieces:
        one = piece(0, CONTENT, text)
        out += [one] if window.passes(one, (texts := texts_out(one))[0]) else window.feed(one, texts)
    out += window.feed(one := piece(0, CONTENT, "", finish="stop"), texts_out(one))
    out += window.finish()
    return said(out).get((0, CONTENT), ""), window.blocked is not None


def test_no_advice_leaves_and_nothing_else_is_lost(plan: Plan) -> None:
    got_out, lost, with_advice = [], [], 0
    for one in scripted.answers(COUNT):
        shown, is_blocked = streamed(plan, one.pieces)
        if one.advice < 0:
            if is_blocked or shown != one.text:
                lost.append(one.text)
            continue
        with_advice += 1
        if not is_blocked or len(shown) > one.advice or not one.text.startswith(shown):
            got_out.append(one.text)
    assert got_out == []
    assert lost == []
    assert with_advice > COUNT / 2


def test_no_advice_leaves_the_gateway() -> None:
    answers = {str(n): one for n, one in enumerate(scripted.answers(THROUGH_A_GATEWAY, seed=1))}

    def steps(ask: Ask) -> Iterable[Step]:
        return says(*answers[str(ask.messages[-1].content)].pieces)(ask)

    async def work() -> None:
        engine = Told()
        engine.says = steps
        async with gateway_of("symptom_checker", engine, PROFILE=PROFILE) as gateway:
            for number, one in answers.items():
                client = gateway.connect()
                messages = [{"role": "user", "content": number}]
                fields = {"model": "symptoms", "stream": True, "messages": messages}
                client.post(json.dumps(fields).encode(), "connection: close")
                await until(lambda client=client: client.wire.closed_at is not None, "the answer")
                shown = Answer(client).text
                if one.advice < 0:
                    assert shown == one.text
                    continue
                before, refused, rest = shown.partition(REFUSAL)
                assert (refused, rest) == (REFUSAL, "")
                assert one.text[: one.advice].startswith(before.removesuffix("\n\n").rstrip())

    run(work())
