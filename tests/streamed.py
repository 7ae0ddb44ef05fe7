"""Streams for tests of the window: pieces as a chat completion has them, with the least of a form and of folded views."""

import json
import unicodedata
from collections import defaultdict
from itertools import pairwise

from hypothesis import strategies as st

from tidegate.kernel.matching import Pattern, PatternSet, WordList
from tidegate.rails.finders import Ending, by_patterns, by_words, either
from tidegate.rails.streams.lane import SpanRail
from tidegate.rails.streams.spans import SpanScanner
from tidegate.rails.streams.window import Window, WindowRules
from tidegate.types import Answer, Choice, Piece, Surface, Text, View, Where

CONTENT, REASONING, ARGUMENTS = "content", "reasoning_content", "tool_calls[0].function.arguments"
INVISIBLE = "\u200b\u2060"


def folded(text: str) -> View:
    """Compose characters and drop invisible ones."""
    out, starts, ends = [], [], []
    at = 0
    while at < len(text):
        begin, at = at, at + 1
        if text[begin] in INVISIBLE:
            continue
        while at < len(text) and (unicodedata.combining(text[at]) or text[at] in INVISIBLE):
            at += 1
        end = at
        while text[end - 1] in INVISIBLE:
            end -= 1
        seen = unicodedata.normalize("NFKC", "".join(one for one in text[begin:end] if one not in INVISIBLE))
        out.append(seen)
        starts += [begin] * len(seen)
        ends += [end] * len(seen)
    return View("folded", "".join(out), starts, ends)


class Views:
    """The views of a text, as far as streams need them."""

    decoded = ()

    def __init__(self, original: str) -> None:
        self.original = original
        self.folded = self.skeleton = folded(original)


EMAILS = by_patterns(
    [Pattern("EMAIL", r"\b[a-z0-9.]{1,20}@[a-z]{1,20}\.(?:com|co\.uk)\b", ignore_case=True)], max_chars=60
)
CARDS = by_patterns([Pattern("CARD", r"\b(?:\d[ -]?){7}\d\b")], max_chars=20)
SECRETS = by_patterns([Pattern("KEY", r"sk-[A-Za-z0-9]{6,12}")], max_chars=15)
PEM = by_patterns(
    [Pattern("PEM", r"-----BEGIN [A-Z ]{1,12}KEY-----")],
    max_chars=40,
    until={"PEM": Ending(PatternSet([Pattern("end", r"-----END [A-Z ]{1,12}KEY-----")]), max_chars=40)},
)
WORDS = by_words(WordList("WORD", ["darn", "caf\u00e9", "what the heck", "\u00e9lan"]))
EVERYTHING = either(EMAILS, CARDS, SECRETS, WORDS)
FINDERS = (EMAILS, CARDS, SECRETS, WORDS, PEM, EVERYTHING)

PLANTED = (
    "bob@example.com", "x.y@z.co.uk", "1234 5678", "12-34-56-78", "sk-abcDEF123", "darn", "Caf\u00e9", "cafe\u0301",
    "e\u0301lan", "WHAT THE HECK", "da\u200brn", "b\u200bob@exa\u2060mple.com", "-----BEGIN RSA KEY-----",
    "-----END RSA KEY-----",
)  # fmt: skip
NOISE = ("hello ", " ", ", ", "b", "bob@", "sk-", "caf", "e", "\u0301", "1", "12 ", "-----", "what the ", "\u200b", "\n",
         ".", "@", "\U0001f600", "\u0416", "darned", "-----BEGIN ")  # fmt: skip

texts = st.lists(st.sampled_from(PLANTED + NOISE), max_size=10).map("".join)


def cut(text: str, places) -> list[str]:
    """Cut a text at some places, which may be equal."""
    return [text[start:end] for start, end in pairwise([0, *sorted(places), len(text)])]


@st.composite
def split_texts(draw, of=texts) -> list[str]:
    text = draw(of)
    if draw(st.booleans()):
        return list(text) or [""]
    return cut(text, draw(st.lists(st.integers(0, len(text)), max_size=6)))


def piece(at: int, channel: str, value: str, *, finish: str | None = None) -> Piece:
    choice = {"index": at, "delta": {channel: value}, "finish_reason": finish}
    data = json.dumps({"id": "x", "choices": [choice]}).encode()
    return Piece(
        data, Answer(choices=[Choice(index=at, finish_reason=finish)]), event=b"data: " + data + b"\n\n"
    )


def usage() -> Piece:
    return Piece(b'{"choices": [], "usage": {"total_tokens": 3}}', Answer(choices=[]))


def texts_out(one: Piece) -> list[Text]:
    return [
        Text(Where(choice["index"], channel), Surface.OUTPUT, value, is_json=channel == ARGUMENTS)
        for choice in json.loads(one.data)["choices"]
        for channel, value in choice["delta"].items()
    ]


def put_out(one: Piece, changed) -> Piece:
    body = json.loads(one.data)
    for choice in body["choices"]:
        for channel in choice["delta"]:
            if (where := Where(choice["index"], channel)) in changed:
                choice["delta"][channel] = changed[where]
    return Piece(json.dumps(body).encode(), one.answer)


def end_choice(one: Piece, at: int) -> Piece:
    body = json.loads(one.data)
    for choice in body["choices"]:
        if choice["index"] == at:
            choice["finish_reason"] = "stop"
    return Piece(json.dumps(body).encode(), one.answer)


def rail(finder, on_fail="redact", *, scanner=SpanScanner, name="rail", **more) -> SpanRail:
    return SpanRail(name, on_fail, lambda: scanner(finder, folded), **more)


def window(*rails: SpanRail, **rules) -> Window:
    return Window(WindowRules.of(rails, **rules), put_out, end_choice)


def said(pieces) -> dict[Where, str]:
    """The text that pieces have, by place."""
    all_of: dict[Where, str] = defaultdict(str)
    for one in pieces:
        for text in texts_out(one):
            all_of[text.where] += text.value
    return all_of
