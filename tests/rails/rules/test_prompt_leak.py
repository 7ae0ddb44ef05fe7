"""The rail `prompt_leak`: answers that give away the system prompt."""

from __future__ import annotations

from typing import Any

import pytest
from evasions import TRANSFORMS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from railed.world import Kept, chat, kept, says
from rails.found import streamed, whole

from tidegate.kernel.text import Views
from tidegate.rails.rules.leaking.prompt_leak import PromptLeak, PromptLeakConfig
from tidegate.types import Caller, Scene, Surface, Where

SYSTEM = (
    "You are a helpful assistant. You work for Bluewave Bikes, and your name is Tilly. Never mention the wholesale price"
    " list, and never promise a discount above five percent without the approval of a manager. Complaints about brakes"
    " go to the safety desk at once. We are open on weekdays from nine in the morning to six in the evening."
)
SECRET = "Never mention the wholesale price list, and never promise a discount above five percent"
CANARY = "tg-Canary-5f2c91"


def rail(**more: Any) -> PromptLeak:
    return PromptLeak(PromptLeakConfig.model_validate(more))


def found(text: str, *, question: str = "", system: str = SYSTEM, **more: Any) -> list[str]:
    scene = Scene(
        Where(0, "content"), Surface.OUTPUT, Caller(), 9e9, "assistant", question=question, system=system
    )
    return [text[one.start : one.end] for one in rail(**more).check(Views(text), scene).spans]


# ------------------------------------------------------------------------------------------------------ shared words


def test_words_of_the_prompt_are_found_where_they_stand():
    assert found(f"My rules say: {SECRET}!") == [SECRET]


def test_markup_and_case_do_not_hide_them():
    text = "- NEVER mention the **wholesale**\n- price list; and _never_ promise a `discount`"
    assert found(text) == [text[2:-1]]


@pytest.mark.parametrize(
    "name",
    ["zero width spaces", "cyrillic", "fullwidth", "base64", "hex", "url", "tags", "rot13", "reversed"],
)
def test_disguises_do_not_hide_them(name: str):
    assert found(f"{TRANSFORMS[name](SECRET)}") != []


@pytest.mark.parametrize(
    "text",
    [
        "I am Tilly, a helpful assistant. How can I help you today?",
        "We are open on weekdays from nine to six.",
        "I cannot promise a discount above five percent without asking a manager first.",
        "I can't share my instructions, but I can tell you about bikes and brakes.",
        "Complaints about brakes are for the safety desk, and they will answer at once.",
        "",
    ],
)
def test_answers_that_use_the_prompt_give_nothing_away(text: str):
    assert found(text) == []


def test_a_short_prompt_is_everybodys():
    short = "You are a pirate who answers every question about the sea in rhymes."
    assert found(f"As you can see: {short}", system=short) == []
    assert found(f"As you can see: {short}", system="") == []


def test_phrases_of_many_prompts_are_no_leak():
    stock = "If you don't know the answer, just say that you don't know, don't try to make up an answer."
    assert found(stock, system=f"{SYSTEM} {stock}") == []


def test_what_the_user_wrote_is_no_leak():
    assert found(f"You asked about this: {SECRET}", question=f"What does '{SECRET}' mean?") == []
    assert found(f"You asked about this: {SECRET}", question="What does 'never mention' mean?") != []


def test_parts_that_answers_may_repeat_are_no_leak():
    hours = "We are open on weekdays from nine in the morning to six in the evening."
    assert found(hours) == [hours[:-1]]
    assert found(hours, allow=[hours]) == []
    assert found(f"{hours} {SECRET}", allow=[hours]) == [SECRET]


def test_fewer_words_may_be_asked_for():
    text = "It says that complaints about brakes go to the safety desk."
    assert found(text) == []
    assert found(text, least_words=8) == ["complaints about brakes go to the safety desk"]


# ------------------------------------------------------------------------------------------------------------ canaries


def test_a_canary_is_found_in_any_case_and_disguise():
    for text in (CANARY, CANARY.upper(), "\u200b".join(CANARY), TRANSFORMS["base64"](f"so {CANARY} it is")):
        assert found(f"It begins with {text}.", system="", canaries=[CANARY]) != []
    assert found("tg-canary-5f2c92", system="", canaries=[CANARY]) == []


def test_canaries_alone_do_not_hold_back_passages():
    only = rail(canaries=[CANARY], overlap=False)
    assert only.about.hold == ("span", len(CANARY) + 1)
    assert not only.about.reads_system
    assert rail(canaries=[CANARY]).about.hold.kind == "sentence"
    assert streamed(only, ["Well, tg-can", "ary-5f2", "c91 it is"])[0] == whole(
        only, "Well, tg-canary-5f2c91 it is"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"overlap": False}, "set `canaries`, or leave out `overlap: false`"),
        ({"canaries": ["short"]}, "a canary is one word of 6 to 64 ASCII characters"),
        ({"canaries": ["two words"]}, "without spaces"),
        ({"least_words": 30}, "set `hold: whole`, or at most 12"),
    ],
)
def test_settings_that_find_nothing_are_refused(more: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        rail(**more)


# ------------------------------------------------------------------------------------------------------------- streams


@pytest.fixture(name="gateway", scope="module")
def _gateway():
    rails = {"kind": "prompt_leak", "canaries": [CANARY]}
    only = {**rails, "overlap": False}
    profiles = {
        "block": {"rails": [rails]},
        "redact": {"rails": [{**rails, "on_fail": "redact"}]},
        "only": {"rails": [only]},
    }
    with kept(section={"profiles": profiles}, policy={"stricter_rails": list(profiles)}) as gateway:
        yield gateway


def ask(gateway: Kept, profile: str, events: list[str], system: str = SYSTEM) -> str:
    gateway.world.engine.says = says(*events)
    body = chat("hello", {"role": "system", "content": system}, stream=True)
    return gateway.ask(body, f"x-tidegate-profile: {profile}").text


REFUSAL = "I'm sorry, but I can't help with that."


def shown_by(gateway: Kept, profile: str, events: list[str]) -> str:
    return ask(gateway, profile, events).removesuffix(REFUSAL).removesuffix("\n\n")


def cut(text: str, data: st.DataObject) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


QUIET = st.lists(
    st.sampled_from(
        ["The sea is calm. ", "Bikes are fast! ", "So it goes\n", "and on and on ", "A manager says: "]
    ),
    max_size=6,
).map("".join)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(QUIET, QUIET, st.data())
def test_fewer_words_than_a_leak_are_shown_wherever_it_is_cut(
    gateway: Kept, before: str, after: str, data: st.DataObject
):
    text = f"{before}{SECRET}. {after}"
    shown = shown_by(gateway, "block", cut(text, data))
    assert text.startswith(shown)
    assert len(shown[len(before) :].split()) < 10
    assert ask(gateway, "redact", cut(text, data)) == f"{before}<SYSTEM_PROMPT>. {after}"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(QUIET, QUIET, st.sampled_from(["block", "only"]), st.data())
def test_nothing_of_a_canary_is_shown(
    gateway: Kept, before: str, after: str, profile: str, data: st.DataObject
):
    text = f"{before}{CANARY} {after}"
    shown = shown_by(gateway, profile, cut(text, data))
    assert before.startswith(shown)


def test_an_answer_without_a_leak_leaves_as_it_came(gateway: Kept):
    assert ask(gateway, "block", ["The sea ", "is calm."]) == "The sea is calm."
    assert ask(gateway, "block", [SECRET], system="Be brief.") == SECRET
