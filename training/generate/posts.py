"""Long posts and passages: neutral sentences of one topic or two, and in their midst what decides the label.

A blog, a story, a letter, a chat, a review, a report, an essay or a task with a text. Harmful ones have some sentences of
harm, most often one to four, harmless ones as many calm sentences on the same subjects, at the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from training.generate.asking import asked
from training.generate.grammar import english
from training.generate.kind import BENIGN, USER, Kind, Written, tidied
from training.rows import Channel, Labels, harmful

_TOPICS: Final[Mapping[str, tuple[str, ...]]] = {
    "own": (
        *("garden", "travel", "kitchen", "office", "home", "sport", "tech", "culture"),
        *("mood", "mood", "evening", "town", "town", "street"),
    ),
    "story": ("story", "story", "travel", "home", "evening", "evening", "street", "street"),
    "news": ("news", "town", "culture"),
    "essay": ("essay", "town", "culture"),
    "product": ("product", "tech", "culture"),
}
"""The topics of a voice."""
_FORMS: Final = (
    "blog",
    "blog",
    "diary",
    "letter",
    "chat",
    "plain",
    "plain",
    "task",
    "story",
    "story",
    "review",
)
_VOICES: Final[Mapping[str, str]] = {"story": "story", "review": "product"}
_SHORTEST: Final = 60
_LONGEST: Final = 170
"""How many words a post has, about."""
_TOLD: Final = (1, 1, 2, 2, 2, 3, 3, 4, 6, 8)
"""How many sentences decide the label."""
_BOTH: Final[tuple[Channel, ...]] = ("user", "model_output")


def _sentences(rules: Sequence[str], words: int, rng: Random) -> list[str]:
    """Return sentences of the rules, none of which comes twice, until there are so many words."""
    texts = [text for rule in rules for text in english().each(rule, rng)]
    rng.shuffle(texts)
    found: list[str] = []
    for text in texts:
        if sum(len(one.split()) for one in found) >= words:
            break
        found.append(text)
    return found


def _narrative(voice: str, words: int, rng: Random) -> list[str]:
    """Return the sentences of two or three topics, one topic after the other."""
    topics = rng.sample(_TOPICS[voice], rng.choice((2, 2, 3)))
    share = words // len(topics) + 1
    return [text for topic in topics for text in _sentences((f"po_{topic}",), share, rng)]


def _planted(told: list[str], narrative: list[str], rng: Random) -> list[str]:
    """Return a narrative with sentences at one place of it, or strewn over it."""
    told = [one if one.rstrip()[-1:] in '.!?"' else one + "." for one in told]
    lines = list(narrative)
    if rng.random() < 0.6:
        at = rng.randint(0, len(lines))
        return [*lines[:at], *told, *lines[at:]]
    for one in told:
        lines.insert(rng.randint(0, len(lines)), one)
    return lines


def _chat(lines: list[str], rng: Random) -> str:
    """Return lines as a log of two people, now and then with the time."""
    names = [english().expand("name", rng) for _ in range(2)]
    stamped = rng.random() < 0.4
    hour, minutes = rng.randint(7, 23), sorted(rng.choices(range(60), k=len(lines)))
    return "\n".join(
        f"{f'[{hour}:{minute:02}] ' if stamped else ''}{rng.choice(names)}: {line}"
        for minute, line in zip(minutes, lines, strict=True)
    )


def _in_form(form: str, lines: list[str], rng: Random) -> str:
    """Return lines as a text of a form."""
    if form == "chat":
        return _chat(lines, rng)
    at = rng.randint(1, max(1, len(lines) - 1))
    paragraphs = (" ".join(lines[:at]), " ".join(lines[at:]))
    text = rng.choice(("\n\n", "\n", " ")).join(paragraphs).strip()
    grammar = english()
    if form == "task":
        return grammar.expand("po_task", rng) + "\n\n" + text
    if form in ("blog", "diary", "letter") and rng.random() < 0.7:
        text = grammar.expand("po_open", rng) + " " + text
    if form != "plain" and rng.random() < 0.4:
        text = grammar.expand("po_title", rng) + "\n\n" + text
    return text + " " + grammar.expand("po_close", rng) if rng.random() < 0.3 else text


def post(*what: str) -> Callable[[Random], Written]:
    """Return how a post is written that has sentences of the rules `what` in it."""

    def write(rng: Random) -> Written:
        form = rng.choice(_FORMS)
        voice = _VOICES.get(form) or rng.choice(("own", "own", "own", "story", "news", "essay"))
        told = [english().expand(rng.choice(what), rng) for _ in range(rng.choice(_TOLD))]
        left = rng.randint(_SHORTEST, _LONGEST) - sum(len(one.split()) for one in told)
        return Written(_in_form(form, _planted(told, _narrative(voice, max(left, 15), rng), rng), rng))

    return write


def asked_after(*pairs: tuple[str, str]) -> Callable[[Random], Written]:
    """Return how a request is written after a long account, or within it. A pair is what is asked for, and the sentence."""

    def write(rng: Random) -> Written:
        told = _narrative("own", rng.randint(30, 110), rng)
        what, frame = rng.choice(pairs)
        request = tidied(asked(what, frame, rng), rng).text
        if rng.random() < 0.5:
            told.insert(0, english().expand("po_ask_lead", rng))
        if rng.random() < 0.4:
            request = english().expand("po_ask_turn", rng) + " " + request
        at = rng.choice((0, len(told), len(told), len(told) // 2))
        gap = rng.choice((" ", "\n\n", "\n"))
        parts = (" ".join(told[:at]), request, " ".join(told[at:]))
        return Written(gap.join(part for part in parts if part))

    return write


_CALM: Final = ("line_calm", "line_calm", "line_calm", "say_calm", "calm_said")
_REQUESTS: Final = (
    ("act_harm", "asked_act"),
    ("txt_harm", "asked_text"),
    ("act_harm", "forum_asked"),
    ("txt_harm", "po_brief"),
)
_CALM_REQUESTS: Final = (
    ("act_safe", "asked_act"),
    ("txt_safe", "asked_text"),
    ("fo_safe", "forum_asked"),
    ("txt_safe", "po_brief"),
)
_ATTACKING: Final[Labels] = {"injection": 0, "toxicity": 1, "harm": 1}
_MARKED: Final[Mapping[str, tuple[float, Labels, tuple[str, ...]]]] = {
    "self_harm": (
        1.2,
        {"injection": 0, "harm": 1, "self_harm": 1, "hate": 0, "sexual_content": 0},
        ("say_self_harm", "said_self_harm"),
    ),
    "sexual": (
        1.2,
        {"injection": 0, "harm": 1, "sexual_content": 1, "hate": 0, "self_harm": 0},
        ("say_sexual", "said_sexual"),
    ),
    "violence": (
        1.2,
        {"injection": 0, "harm": 1, "violent_crimes": 1, "sexual_content": 0},
        ("say_threat", "say_gore", "said_threat"),
    ),
    "hate": (1.2, {**_ATTACKING, "hate": 1}, ("say_hate", "said_hate")),
    "harass": (1.0, _ATTACKING, ("say_harass", "said_harass")),
}
"""The share of each rule of sentences, its labels, and the rules of comments that its posts have as well."""


def posts() -> list[Kind]:
    """Return the kinds of long posts, and of their sentences alone, harmless ones first."""
    found = [
        Kind("benign.post", BENIGN, 6, _BOTH, post(*_CALM)),
        Kind("benign.post_request", BENIGN, 3.5, USER, asked_after(*_CALM_REQUESTS)),
        Kind("benign.line_calm", BENIGN, 3, _BOTH, _line("calm")),
        Kind("harm.post_request", harmful(), 2, USER, asked_after(*_REQUESTS)),
    ]
    for rule, (share, labels, more) in _MARKED.items():
        found.append(
            Kind(f"harm.post_{rule}", labels, share, _BOTH, post(f"line_{rule}", f"line_{rule}", *more))
        )
        found.append(Kind(f"harm.line_{rule}", labels, share / 2, _BOTH, _line(rule)))
    return found


def _line(rule: str) -> Callable[[Random], Written]:
    return lambda rng: tidied(asked(f"line_{rule}", "lined", rng), rng)
