"""`Guard.stream`: the same text leaves as from a gateway, however the stream is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import Guard
from tidegate.config import Config
from tidegate.guard import BanList, Blocked, DetectPII, NamedRail, SecretsPresent
from tidegate.rails.plan import compile_plans
from tidegate.rails.streams.window import Window
from tidegate.types import (
    PASSED,
    Answer,
    Choice,
    Hold,
    Piece,
    RailFacts,
    Scene,
    Surface,
    Text,
    Verdict,
    Where,
)

WHERE = Where(0, "content")
SETTINGS = [
    {"kind": "pii", "on_fail": "redact"},
    {"kind": "secrets", "on_fail": "redact"},
    {"kind": "blocklist", "words": ["darnation"], "on_fail": "block"},
]
PLANTED = (
    "Write to ann.smith@bluewave.net or call 555-0123. ",
    "The key is AKIAQYLPMN5HFIQR7XYA here. ",
    "What a darnation. ",
    "Nothing to see, ann@ and 555- and darn. ",
    "4111 1111 1111 1111",
    "ünïcode\u200b and 漢字 ",
)
GUARD = Guard(SETTINGS)
PROFILES = Config.model_validate({"rails": {"profiles": {"p": {"rails": SETTINGS}}}}).rails
RULES = compile_plans(PROFILES, ["p"])["p"].streams
assert RULES is not None


async def events(texts: Sequence[str], ended: list[str] | None = None) -> AsyncGenerator[str, None]:
    try:
        for text in texts:
            yield text
    finally:
        if ended is not None:
            ended.append("closed")


async def read(stream: AsyncGenerator[str, None], out: list[str]) -> None:
    async for text in stream:
        out.append(text)  # noqa: PERF401 - what came before a failure counts


def streamed(guard: Guard, texts: Sequence[str], **more) -> str:
    async def work() -> str:
        return "".join([text async for text in guard.stream(events(texts), **more)])

    return asyncio.run(work())


def through_window(texts: Sequence[str]) -> tuple[str, bool]:
    """What a gateway's window lets out of a stream, and whether it was blocked."""

    def put(piece: Piece, changed) -> Piece:
        return Piece(changed[WHERE].encode(), piece.answer)

    window = Window(RULES, put, lambda piece, _: piece)
    out = ""
    for text in texts:
        piece = Piece(text.encode(), Answer(choices=[Choice()]))
        out += "".join(one.data.decode() for one in window.feed(piece, [Text(WHERE, Surface.OUTPUT, text)]))
    if window.blocked is None:
        out += "".join(one.data.decode() for one in window.finish())
    return out, window.blocked is not None


@st.composite
def cut_texts(draw) -> list[str]:
    text = "".join(draw(st.lists(st.sampled_from(PLANTED), min_size=1, max_size=4)))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)))
    return [text[one:other] for one, other in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=60, deadline=None)
@given(cut_texts())
def test_the_same_text_leaves_as_through_a_gateways_window(texts: list[str]) -> None:
    expected, blocked = through_window(texts)
    if not blocked:
        assert streamed(GUARD, texts) == expected
        # Masks of a stream are those of the whole text.
        assert expected == GUARD.check("".join(texts), surface="output").text
        return
    said = ""

    async def work() -> None:
        nonlocal said
        async for text in GUARD.stream(events(texts)):
            said += text

    with pytest.raises(Blocked):
        asyncio.run(work())
    assert said == expected
    assert not GUARD.check("".join(texts), surface="output")


@pytest.mark.parametrize("at", range(1, 12))
def test_every_cut_of_a_match_leaves_nothing_of_it(at: int) -> None:
    address = "ann@bluewave.net"
    texts = ["Write to ", address[:at], address[at:], " soon."]
    assert streamed(Guard([DetectPII(on_fail="fix")]), texts) == "Write to <EMAIL_ADDRESS> soon."


# ------------------------------------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["What a ", "darn", "ation", " day"], "What a \n\nI'm sorry, but I can't help with that."),
        (["darnation", " day"], "I'm sorry, but I can't help with that."),
    ],
)
def test_a_block_ends_the_source_with_a_refusal_or_an_exception(texts: list[str], said: str) -> None:
    guard = Guard([BanList(["darnation"])])

    async def work() -> None:
        ended: list[str] = []
        out = [text async for text in guard.stream(events([*texts, " and more"], ended), refusal="say")]
        assert ("".join(out), ended) == (said, ["closed"])
        ended.clear()
        with pytest.raises(Blocked) as told:
            [text async for text in guard.stream(events(texts, ended))]
        assert (told.value.checked.rail, told.value.checked.text, ended) == ("blocklist", "", ["closed"])

    asyncio.run(work())


def test_the_source_is_closed_when_nobody_reads_on() -> None:
    async def work() -> None:
        ended: list[str] = []
        stream = GUARD.stream(events(["one. ", "two. "], ended))
        assert await anext(stream)
        await stream.aclose()
        assert ended == ["closed"]

    asyncio.run(work())


def test_what_is_held_never_leaves_when_the_source_fails() -> None:
    async def fails() -> AsyncGenerator[str, None]:
        yield "Write to ann@blue"
        raise ConnectionError

    async def work() -> None:
        out: list[str] = []
        with pytest.raises(ConnectionError):
            await read(GUARD.stream(fails()), out)
        assert "ann" not in "".join(out)

    asyncio.run(work())


# ------------------------------------------------------------------------------- passages, whole texts, stop strings


class Judge(NamedRail):
    """A rail that is not a rule, and judges passages."""

    class Rail:
        about = RailFacts("judge", "1", frozenset({Surface.OUTPUT}), tier=1, hold=Hold("sentence"))

        async def check(self, views, scene: Scene) -> Verdict:
            await asyncio.sleep(0)
            asked = "never" not in scene.question
            return (
                Verdict(False, "promise", 0.9, "a promise")
                if "promise" in views.original and asked
                else PASSED
            )

    def rule(self):
        return self.Rail()


def test_rails_that_judge_passages_see_them_before_they_leave() -> None:
    guard = Guard([Judge(), DetectPII(on_fail="fix")])
    texts = ["It is fine. ", "I prom", "ise it. ", "More."]
    assert streamed(guard, texts, refusal="say").startswith("It is fine. \n\nI'm sorry")
    assert streamed(guard, texts, question="never ask") == "".join(texts)
    with pytest.raises(Blocked, match="the rail 'judge' stopped the text: a promise"):
        streamed(guard, texts)


def test_a_rail_that_asks_again_needs_the_whole_text() -> None:
    guard = Guard([BanList(["darnation"], on_fail="reask")])
    assert streamed(guard, ["all ", "fine"]) == "all fine"
    with pytest.raises(Blocked) as told:
        streamed(guard, ["what a ", "darnation"])
    assert told.value.checked.action.word == "regenerate"


@pytest.mark.parametrize("stop", [(), ("END",)])
def test_what_a_person_would_decide_about_never_leaves(tmp_path, stop: Sequence[str]) -> None:
    path = tmp_path / "tidegate.yaml"
    asks = {"kind": "blocklist", "words": ["darnation"], "on_fail": "review", "hold": "whole"}
    path.write_text(json.dumps({"rails": {"profiles": {"mine": {"stop": stop, "rails": [asks]}}}}))
    guard = Guard.from_file(path, profile="mine")
    assert streamed(guard, ["all ", "fine"]) == "all fine"
    texts = ["what a ", "darnation", " day END", " and more"]
    with pytest.raises(Blocked, match="the rail 'blocklist' stopped the text") as told:
        streamed(guard, texts)
    found = told.value.checked
    assert (found.passed, found.text, found.rail, found.action.word) == (False, "", "blocklist", "review")

    async def said() -> str:
        return "".join([text async for text in guard.stream(events(texts), refusal="say")])

    assert asyncio.run(said()) == "I'm sorry, but I can't help with that."


def test_stop_strings_of_a_profile_end_the_stream(tmp_path) -> None:
    path = tmp_path / "tidegate.yaml"
    path.write_text("rails: {profiles: {mine: {stop: ['END'], rails: [{kind: pii, on_fail: redact}]}}}")
    guard = Guard.from_file(path, profile="mine")
    assert streamed(guard, ["one E", "ND two", " three"]) == "one "


def test_a_stream_needs_a_rail_for_answers() -> None:
    with pytest.raises(ValueError, match="surface 'output'"):
        streamed(Guard([{"kind": "secrets", "surfaces": ["input"]}]), ["a"])
    with pytest.raises(ValueError, match="'refusal' must be"):
        GUARD.stream(events([]), refusal="no")  # type: ignore[arg-type]
    assert streamed(Guard([SecretsPresent()]), []) == ""
