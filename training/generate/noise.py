"""Noise of people and of machines: typing errors, spacing, decoration, random ends. None of it says what a text wants.

`augmented` applies noise and readable disguises to any row. What it does is decided before it looks at the row, so that
attacks and harmless texts have the same share of each.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Final

from training.generate.disguises import READABLE
from training.rows import Row

Noise = Callable[[str, Random], str]

_KEYS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SHORT: Final[Mapping[str, str]] = {
    "you": "u",
    "your": "ur",
    "are": "r",
    "please": "pls",
    "to": "2",
    "for": "4",
    "because": "cuz",
    "and": "n",
    "with": "w/",
    "what": "wat",
    "people": "ppl",
    "thanks": "thx",
    "before": "b4",
    "the": "da",
    "going to": "gonna",
}
_TAILS: Final = (
    "!!!",
    "...",
    " :)",
    " 🙏",
    " 🙂",
    " lol",
    " pls",
    " thx",
    "??",
    " 🔥🔥",
    " ok?",
    " asap",
    "\n\n",
    "   ",
    " ~",
    " <3",
)
_HEADS: Final = (
    "hey, ",
    "hi! ",
    "um, ",
    "ok ",
    "- ",
    "> ",
    "* ",
    "1. ",
    "\n",
    "# ",
    "User: ",
    "Q: ",
    "hello ",
    "so ",
    "“",
    "... ",
)
_PIECES: Final = (
    *(
        "describing",
        "similarlyNow",
        "revert",
        "oppositely",
        "Please",
        "opposite",
        "two",
        "surely",
        "tutorial",
        "manner",
    ),
    *(
        "inst",
        "==",
        "](",
        "{'",
        "<!--",
        "%%",
        "::",
        "\\",
        "@",
        "~~",
        "};",
        '")',
        "->",
        "lambda",
        "return",
        "NULL",
        "printf",
    ),
    *(
        "vez",
        "und",
        "pour",
        "что",
        "して",
        "的",
        "Text",
        "format",
        "Step",
        "Sure",
        "Output",
        "json",
        "title",
        "again",
        "reply",
    ),
)


def _typos(text: str, rng: Random) -> str:
    letters = list(text)
    for _ in range(max(1, len(text) // rng.choice((12, 25, 50)))):
        at = rng.randrange(len(letters)) if letters else 0
        if at < len(letters) and letters[at].isalpha():
            _typo(letters, at, rng)
    return "".join(letters)


def _typo(letters: list[str], at: int, rng: Random) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        letters[at] = ""
    elif kind == 1:
        letters[at] *= 2
    elif kind == 2 and at + 1 < len(letters):
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    else:
        row = next((keys for keys in _KEYS if letters[at].lower() in keys), "")
        letters[at] = (
            rng.choice(row[max(0, row.index(letters[at].lower()) - 1) :][:3]) if row else letters[at]
        )


def _spacing(text: str, rng: Random) -> str:
    marks = rng.choice((("  ", " "), ("\n", " ", " "), (" ", "", " ", " ", " "), ("\t", " ", " "), ("   ",)))
    return re.sub(" ", lambda _: rng.choice(marks), text)


def _punctuation(text: str, rng: Random) -> str:
    if rng.random() < 0.5:
        return text.translate(str.maketrans("", "", string.punctuation)) or text
    return re.sub(" ", lambda _: rng.choice((" ", " ", " ", " , ", " . ", " - ", " _ ", "; ")), text)


def _shortened(text: str, _: Random) -> str:
    return re.sub(r"[A-Za-z]+", lambda m: _SHORT.get(m[0].lower(), m[0]), text)


def _cut(text: str, rng: Random) -> str:
    """Return the text without some of its end, as where a window or a field ends. Three quarters at least stay."""
    return text[: max(12, int(len(text) * rng.uniform(0.75, 1)))]


def suffix(rng: Random) -> str:
    """Return random tokens, as those that a search for an adversarial suffix ends with, or as a broken copy."""
    kind = rng.randrange(3)
    if kind == 0:
        return " ".join(rng.choice(_PIECES) for _ in range(rng.randint(4, 18)))
    if kind == 1:
        return "".join(
            rng.choice(string.ascii_letters + string.digits + "!#$%&*+-./:;=?@[]^_{|}~ ")
            for _ in range(rng.randint(10, 60))
        )
    return "".join(rng.choice(_PIECES) + rng.choice(("", " ", "", ".")) for _ in range(rng.randint(4, 14)))


NOISES: Final[Mapping[str, Noise]] = {
    "lower case": lambda text, _: text.lower(),
    "upper case": lambda text, _: text.upper(),
    "capitals": lambda text, _: text.title(),
    "typing errors": _typos,
    "spacing": _spacing,
    "punctuation": _punctuation,
    "no end": lambda text, _: text.rstrip(".!?。"),
    "short forms": _shortened,
    "head": lambda text, rng: rng.choice(_HEADS) + text,
    "tail": lambda text, rng: text + rng.choice(_TAILS),
    "quotes": lambda text, rng: rng.choice(
        ('"{}"', "'{}'", "«{}»", "({})", "```\n{}\n```", "**{}**")
    ).replace("{}", text),
    "cut": _cut,
    "suffix": lambda text, rng: f"{text} {suffix(rng)}",
}
"""The noises, by name."""


def augmented(row: Row, rng: Random, *, noise: float = 0.3, disguise: float = 0.08) -> Row:
    """Return the row with one or two noises at the rate `noise`, and a readable disguise at the rate `disguise`."""
    noises = rng.sample(sorted(NOISES), rng.choice((1, 1, 2))) if rng.random() < noise else []
    hidden = rng.choice(sorted(READABLE)) if rng.random() < disguise else ""
    text = row.text
    for name in noises:
        if name == "cut" and row.channel != "user":
            continue  # an attack may stand at the end of a document
        text = NOISES[name](text, rng)
    if hidden:
        text = READABLE[hidden](text, rng)
    return replace(row, text=text) if text.strip() else row
