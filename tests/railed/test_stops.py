"""The stop strings of a profile end texts before them, on streams as on whole answers, whatever rails there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from talking import CHAT, COMPLETIONS
from virtual import run

from railed.world import ARGUMENTS, TOP, USAGE, Answer, Kept, Says, Step, event, kept, railed, request, whole
from tidegate.types import Ask

REFUSAL = "I'm sorry, but I can't help with that."
STOPS = ("</answer>", "###", "#!")
STOP = re.compile("|".join(map(re.escape, STOPS)))
BAD = re.compile("bad[a-z]{0,8}")
SCANS = {"kind": "scans", "surfaces": ["output"]}
JUDGE = {"kind": "check", "surfaces": ["output"]}
PROFILES: dict[str, list[dict[str, Any]]] = {
    "no rails": [],
    **{
        f"{name} {on_fail}": [{**rail, "on_fail": on_fail}]
        for (name, rail), on_fail in product(
            {"span": SCANS, "passage": JUDGE, "whole": {**JUDGE, "holds": "whole"}}.items(),
            ("block", "redact", "log"),
        )
    },
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Kept]:
    profiles = {
        name.replace(" ", "-"): {"rails": rails, "stop": list(STOPS)} for name, rails in PROFILES.items()
    }
    with kept(section={"profiles": profiles}, policy={"stricter_rails": list(profiles)}) as found:
        yield found


def saying(texts: Sequence[str], cuts: Sequence[int], *, in_turn: bool) -> Says:
    """Say a text in each choice: all at once, or one choice after the other."""

    def steps(ask: Ask) -> Iterable[Step]:
        if not ask.stream:
            choices = [whole(ask, text, "content", at + 1)["choices"][at] for at, text in enumerate(texts)]
            yield {**TOP, "choices": [{**one, "finish_reason": "length"} for one in choices], "usage": USAGE}
            return
        events: list[tuple[int, int, dict[str, Any]]] = []
        for at, text in enumerate(texts):
            places = sorted(min(cut, len(text)) for cut in cuts)
            parts = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
            events += [(number, at, event(ask, at, part, "content")) for number, part in enumerate(parts)]
            events.append((len(parts), at, event(ask, at, None, "content", finish="length")))
        key = (lambda one: (one[1], one[0])) if in_turn else (lambda one: one[:2])
        yield from (one for _, _, one in sorted(events, key=key))

    return steps


def ended(text: str) -> tuple[str, str]:
    """A text up to its first stop string, and why it ends."""
    found = STOP.search(text)
    return (text, "length") if found is None else (text[: found.start()], "stop")


PARTS = (
    "bad",
    "###",
    "</answer>",
    "word",
    "</ans",
    "wer>",
    "<",
    "/answer>",
    "#",
    "##",
    "!",
    " ",
    ". ",
    "x" * 40,
    "y z. ",
)
words = st.lists(st.sampled_from(PARTS), max_size=9).map("".join)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(words, min_size=1, max_size=3),
    st.lists(st.integers(0, 120), max_size=5),
    st.sampled_from(list(PROFILES)),
    st.sampled_from([CHAT, COMPLETIONS]),
    st.sampled_from(["whole", "stream", "stream, choices in turn"]),
)
def test_nothing_is_said_from_the_first_stop_string_on(
    gateway: Kept,
    texts: list[str],
    cuts: list[int],
    profile: str,
    endpoint: str,
    how: str,
) -> None:
    stream = how != "whole"
    if not stream and endpoint == CHAT:
        texts = [text or "." for text in texts]  # a message without any text is another matter
    gateway.world.engine.says = saying(texts, cuts, in_turn=how.endswith("in turn"))
    body = request(endpoint, stream=stream, n=len(texts))
    answer = gateway.ask(body, f"x-tidegate-profile: {profile.replace(' ', '-')}", path=endpoint)
    assert answer.is_done
    shown = {at: text for (at, _), text in answer.texts.items()}
    said = [ended(text) for text in texts]
    if profile.endswith("block") and any(BAD.search(text) for text, _ in said):
        refused(answer, shown, [text for text, _ in said])
        return
    mask = "<BAD>" if profile.endswith("redact") else r"\g<0>"
    assert shown == {at: BAD.sub(mask, text) for at, (text, _) in enumerate(said) if text}
    assert answer.finish == {at: why for at, (_, why) in enumerate(said)}


def refused(answer: Answer, shown: dict[int, str], said: list[str]) -> None:
    """The answer was blocked, and shows nothing but what stands before the matches and the stop strings."""
    assert "content_filter" in answer.finish.values()
    for at, text in shown.items():
        before = text.removesuffix(REFUSAL).removesuffix("\n\n")
        assert said[at].startswith(before)
        assert not BAD.search(before)


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@STREAM
@pytest.mark.parametrize("profile", PROFILES)
def test_the_arguments_of_tools_have_no_stop_strings(gateway: Kept, profile: str, stream: bool) -> None:
    """They are JSON, which would be broken. The engine itself looks for stop strings in its text only."""
    arguments = json.dumps({"a": "one ### two</answer>", "b": "#!"})

    def steps(ask: Ask) -> Iterable[Step]:
        if ask.stream:
            yield event(ask, 0, "Let me see.", "content")
            for start in range(0, len(arguments), 7):
                yield event(ask, 0, arguments[start : start + 7], ARGUMENTS)
            yield event(ask, 0, None, "content", finish="tool_calls")
        else:
            one = whole(ask, arguments, ARGUMENTS, 1)
            one["choices"][0]["message"]["content"] = "Let me see."
            one["choices"][0]["finish_reason"] = "tool_calls"
            yield one

    gateway.world.engine.says = steps
    answer = gateway.ask(request(CHAT, stream=stream), f"x-tidegate-profile: {profile.replace(' ', '-')}")
    assert answer.texts == {(0, "content"): "Let me see.", (0, ARGUMENTS): arguments}
    assert answer.finish == {0: "tool_calls"}


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("profile", ["no rails", "span redact", "passage redact", "passage log"])
def test_the_engine_is_cut_once_all_choices_have_stopped_and_not_before(endpoint: str, profile: str) -> None:
    def steps(ask: Ask) -> Iterable[Step]:
        yield event(ask, 0, "One.### and", "content")
        yield 1.0
        yield event(ask, 0, " more.", "content")
        yield event(ask, 1, "Two", "content")
        yield 1.0
        yield event(ask, 1, ".### and", "content")
        yield 60.0
        yield event(ask, 1, " more.", "content")

    async def work() -> None:
        async with railed(PROFILES[profile], profile={"stop": list(STOPS)}) as world:
            world.engine.says = steps
            began = world.now
            answer = await world.ask(request(endpoint, stream=True, n=2), path=endpoint)
            assert answer.is_done
            assert {at: text for (at, _), text in answer.texts.items()} == {0: "One.", 1: "Two."}
            assert answer.finish == {0: "stop", 1: "stop"}
            assert world.engine.asked[0].state == "GeneratorExit"
            assert 1.9 < world.now - began < 3

    run(work())
