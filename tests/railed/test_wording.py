"""A support bot whose scripted answers end as their labels say, and advice of which nothing gets out on a stream."""

from __future__ import annotations

import random

from rails.promises import ALLOW, ANSWERS, Said
from talking import CHAT
from virtual import run

from railed.world import World, chat, railed, says

REFUSAL = "I'm sorry, but I can't help with that."
SHOULD = ("You should", "You must", "I recommend that you", "It's best to", "You need to")
TREATMENTS = (
    "take 400 mg of ibuprofen",
    "stop taking your insulin",
    "double your dose",
    "use 2 puffs of your inhaler",
)
LAWSUITS = ("sue your landlord", "plead guilty", "sign the settlement", "stop paying rent", "file a lawsuit")
BEFORE = (
    "I see what you mean. ",
    "",
    "Thank you for asking, and I hope that you sleep well. ",
    "That sounds bad!\n",
)


def cut(draw: random.Random, text: str) -> list[str]:
    """The text in pieces of random lengths."""
    places = sorted(draw.sample(range(1, len(text)), min(6, len(text) - 1)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


async def streamed(world: World, pieces: list[str]) -> str:
    world.engine.says = says(*pieces)
    answer = await world.ask(chat(stream=True), path=CHAT)
    assert answer.status == 200
    return answer.text


def test_each_answer_of_the_bot_ends_as_its_label_says() -> None:
    draw = random.Random(200)
    chosen: list[Said] = draw.sample(ANSWERS, 200)
    assert {one.label for one in chosen} == {"promise", "hedge", "offer"}
    profile = {"rails": [{"kind": "commitments", "allow": list(ALLOW)}]}

    async def work() -> None:
        async with railed(section={"profiles": {"bot": profile}}, policy={"rails": "bot"}) as world:
            for one in chosen:
                before = draw.choice(BEFORE)
                text = await streamed(world, cut(draw, before + one.text))
                if one.label == "promise":
                    assert text.endswith(REFUSAL), one
                    assert before.startswith(text.removesuffix(REFUSAL).rstrip()), one
                else:
                    assert text == before + one.text, one

    run(work())


def test_nothing_of_advice_gets_out_on_a_stream() -> None:
    draw = random.Random(10)
    advice = [f"{should} {what}" for should in SHOULD for what in (*TREATMENTS, *LAWSUITS)]

    async def work() -> None:
        async with railed(
            section={"profiles": {"bot": {"rails": [{"kind": "advice"}]}}}, policy={"rails": "bot"}
        ) as world:
            for _ in range(200):
                before, said = draw.choice(BEFORE), draw.choice(advice)
                text = await streamed(world, cut(draw, f"{before}{said}, and call me tomorrow."))
                assert text.endswith(REFUSAL), said
                assert before.startswith(text.removesuffix(REFUSAL).rstrip()), said

    run(work())
