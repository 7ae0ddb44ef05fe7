"""The kinds of text of our own: what each is labelled, which channel it comes through, and how it is written.

A kind's share is its part of all rows. Attacks and harmless texts have about the same part. For documents, talks,
encodings, suffixes and quotations, each side has its counterpart in the same frame, so that the frame says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from training.generate.asking import ACTS, DOUBTS, TEXTS, TWINS, asked
from training.generate.disguises import OPAQUE
from training.generate.grammar import english, language, languages
from training.generate.noise import suffix
from training.generate.phrasebooks import BOOKS, spoken
from training.rows import HARMS, Channel, Labels, harmful, harmless


class Written(NamedTuple):
    """A text and its language."""

    text: str
    lang: str = "en"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of text."""

    name: str
    labels: Labels
    share: float
    channels: tuple[Channel, ...]
    write: Callable[[Random], Written]


ATTACK: Final[Labels] = {"injection": 1}
BENIGN: Final[Labels] = harmless()
QUOTED: Final[Labels] = {"injection": 0, "toxicity": 0}
TOXIC: Final[Labels] = {"injection": 0, "toxicity": 1, "code_abuse": 0, "weapons": 0, "elections": 0}
USER: Final[tuple[Channel, ...]] = ("user",)
OUTSIDE: Final[tuple[Channel, ...]] = ("document", "document", "tool_output")

_DIRECT: Final = (
    *(
        "attack.override",
        "attack.extraction",
        "attack.persona",
        "attack.authority",
        "attack.marker",
        "attack.pressure",
    ),
    *("attack.frame", "attack.suppression", "attack.hijack"),
)
_HARMLESS: Final = (
    *(
        "benign.about_ai",
        "benign.about_attacks",
        "benign.trigger",
        "benign.writing",
        "benign.everyday",
        "benign.support",
    ),
    *("benign.statement", "benign.format", "benign.field", "benign.code"),
)
_ORDERS: Final = ("override", "reveal_order", "free_order", "harm_ask", "short_override")
_REQUESTS: Final = ("harmless_ask", "ev_question", "note", "trig_ignore", "benign_say")
_SHORT: Final = 220
"""The longest text that is quoted or joined with another, in characters."""


def _table(rule: str) -> Callable[[Random], Written]:
    return lambda rng: Written(english().expand(rule, rng))


def _in_document(note: str) -> Callable[[Random], Written]:
    def write(rng: Random) -> Written:
        return Written(english().expand("document", rng, given_note=english().expand(note, rng)))

    return write


def _buried(notes: tuple[str, ...]) -> Callable[[Random], Written]:
    """Return how a note is written at a random place of a long harmless text."""

    def write(rng: Random) -> Written:
        note = english().expand(rng.choice(notes), rng)
        return Written(english().expand("benign.long_document", rng, given_note=note))

    return write


def _short(rules: tuple[str, ...], rng: Random) -> str:
    """Return a short text of one of the rules. What is too long after some tries is cut at a word."""
    texts = [english().expand(rng.choice(rules), rng) for _ in range(4)]
    short = [text for text in texts if len(text) <= _SHORT]
    return short[0] if short else texts[0][:_SHORT].rpartition(" ")[0]


def _quoted(rng: Random) -> Written:
    return Written(english().expand("benign.quoted", rng, given_note=_short(_DIRECT, rng)))


def _encoded(rule: str, hidden: tuple[str, ...]) -> Callable[[Random], Written]:
    def write(rng: Random) -> Written:
        name = rng.choice(sorted(OPAQUE))
        note = OPAQUE[name](_short(hidden, rng), rng)
        return Written(english().expand(rule, rng, given_note=note, given_code=name))

    return write


def _with_suffix(rule: str) -> Callable[[Random], Written]:
    return lambda rng: Written(english().expand(rule, rng, given_note=suffix(rng)))


def _mixed(first: tuple[str, ...], second: tuple[str, ...]) -> Callable[[Random], Written]:
    """Return how two texts are joined in any order, such as a harmless question and an attack."""

    def write(rng: Random) -> Written:
        parts = [_short(first, rng), _short(second, rng)]
        rng.shuffle(parts)
        return Written(rng.choice((" ", " ", "\n", "\n\n", " Also, ", " - ")).join(parts))

    return write


def _foreign(*rules: str, most: int = 1) -> Callable[[Random], Written]:
    """Return how one to `most` texts of another language are written, one after the other."""

    def write(rng: Random) -> Written:
        code = rng.choice(languages())
        count = rng.randint(1, most)
        texts = [language(code).expand(rng.choice(rules), rng).replace(" ,", ",") for _ in range(count)]
        return Written(("" if code in ("zh", "ja") else " ").join(texts), code)

    return write


def _phrases(rng: Random) -> Written:
    book = rng.choice(BOOKS)
    said = spoken(book, rng)
    if rng.random() < 0.4:
        said += rng.choice((". ", ", ", "\n")) + spoken(book, rng)
    elif rng.random() < 0.5 and book.language in languages():
        said += ". " + language(book.language).expand("benign", rng)
    return Written(said[:1].upper() + said[1:] + rng.choice(("", ".", "!")), book.language)


def _from_tables(side: str, labels: Labels, shares: Mapping[str, float]) -> Iterator[Kind]:
    """Yield the kinds that one rule of the tables writes, by name."""
    for name, share in shares.items():
        yield Kind(f"{side}.{name}", labels, share, USER, _table(f"{side}.{name}"))


def _attacks() -> list[Kind]:
    shares: Mapping[str, float] = {
        "override": 5,
        "extraction": 6.5,
        "persona": 4,
        "long_persona": 2.5,
        "authority": 3.5,
        "marker": 3,
        "frame": 3.5,
        "pressure": 4,
        "suppression": 2.5,
        "splitting": 1,
        "hijack": 3.5,
        "many_shot": 1,
        "turns": 1,
        "translated": 0.7,
        "command": 1.2,
    }
    return [
        *_from_tables("attack", ATTACK, shares),
        Kind("attack.document", ATTACK, 5, OUTSIDE, _in_document("payload")),
        Kind("attack.buried", ATTACK, 2, ("document", "user", "tool_output"), _buried((*_DIRECT, "payload"))),
        Kind("attack.encoded", ATTACK, 1.2, USER, _encoded("attack.encoded", _ORDERS)),
        Kind("attack.suffix", ATTACK, 1, USER, _with_suffix("attack.suffix")),
        Kind("attack.mixed", ATTACK, 3.5, USER, _mixed(_HARMLESS, _DIRECT)),
        Kind("attack.foreign", ATTACK, 6, USER, _foreign("attack")),
        Kind("attack.foreign_mixed", ATTACK, 1.5, USER, _foreign_mixed),
        Kind("attack.phrases", ATTACK, 3, USER, _phrases),
        Kind("attack.answer", ATTACK, 2, ("model_output",), _table("attack.answer")),
    ]


def _foreign_mixed(rng: Random) -> Written:
    """Return an attack of another language between harmless texts of it."""
    code = rng.choice(languages())
    parts = [language(code).expand(rule, rng) for rule in ("benign", rng.choice(("benign", "hard")))]
    parts.insert(rng.randint(0, 2), language(code).expand("attack", rng))
    return Written(("" if code in ("zh", "ja") else " ").join(parts), code)


def _benign() -> list[Kind]:
    shares: Mapping[str, float] = {
        "about_ai": 5,
        "about_attacks": 5,
        "trigger": 5,
        "writing": 3,
        "roleplay": 3,
        "everyday": 5,
        "statement": 4,
        "support": 2,
        "chatter": 4,
        "code": 2,
        "format": 2.5,
        "turns": 1,
        "homonym": 2.5,
        "harmless": 1.5,
        "field": 7,
        "scenario": 2.5,
        "framed": 4.5,
        "task": 3.5,
        "voice": 2,
        "record": 1.5,
    }
    return [
        *_from_tables("benign", BENIGN, shares),
        Kind("benign.document", BENIGN, 4, OUTSIDE, _in_document("note")),
        Kind(
            "benign.long_document",
            BENIGN,
            2,
            ("document", "user", "tool_output"),
            _buried((*_HARMLESS, "note")),
        ),
        Kind("benign.encoded", BENIGN, 1.2, USER, _encoded("benign.encoded", _REQUESTS)),
        Kind("benign.suffix", BENIGN, 1, USER, _with_suffix("benign.suffix")),
        Kind("benign.mixed", BENIGN, 2.5, USER, _mixed(_HARMLESS, _HARMLESS)),
        Kind("benign.quoted", QUOTED, 3, USER, _quoted),
        Kind("benign.foreign", BENIGN, 5, USER, _foreign("benign", "hard", most=3)),
        Kind("benign.foreign_hard", BENIGN, 3, USER, _foreign("hard", "hard", "benign", most=2)),
        Kind("benign.operator", BENIGN, 2, ("user", "document"), _table("benign.operator")),
        Kind("benign.answer", BENIGN, 2.5, ("model_output",), _table("benign.answer")),
        Kind("benign.lookalike", BENIGN, 11, USER, _tidy("lookalike")),
        Kind("benign.said", BENIGN, 5, ("user", "model_output"), _tidy("calm_said")),
        *(
            Kind(f"benign.{what}", BENIGN, share, USER, _framed(what, frame))
            for what, (share, frame) in TWINS.items()
        ),
        Kind("benign.answered", BENIGN, 0.6, ("model_output",), _framed("act_safe", "answered_act")),
        Kind("benign.say_calm", BENIGN, 4, ("user", "model_output"), _framed("say_calm", "commented")),
    ]


_UNSURE: Final[Mapping[str, tuple[str, ...]]] = {
    "non_violent_crimes": ("privacy", "weapons", "violent_crimes", "intellectual_property"),
    "violent_crimes": ("weapons", "non_violent_crimes"),
    "weapons": ("violent_crimes",),
    "sex_crimes": ("sexual_content", "privacy", "violent_crimes"),
    "privacy": ("non_violent_crimes", "sex_crimes"),
    "hate": ("violent_crimes",),
    "elections": ("non_violent_crimes", "hate"),
    "defamation": ("privacy",),
    "intellectual_property": ("non_violent_crimes",),
}


def _tidied(text: str, rng: Random) -> Written:
    """Return a text with no blank before a mark, and a capital at its start more often than not."""
    text = re.sub(r" +(?=[.,!?]|$)", "", re.sub(r"  +", " ", text)).strip()
    return Written(text[:1].upper() + text[1:] if rng.random() < 0.7 else text)


def _tidy(rule: str) -> Callable[[Random], Written]:
    return lambda rng: _tidied(english().expand(rule, rng), rng)


def _framed(what: str, frame: str) -> Callable[[Random], Written]:
    """Return how a text of the rule `what` is asked for in a sentence of the rule `frame`."""
    return lambda rng: _tidied(asked(what, frame, rng), rng)


def _harms() -> list[Kind]:
    named = [name for name in HARMS if f"harm.{name}" in english().rules]
    short = [
        Kind(
            f"harm.{name}",
            # A command that attacks the machine is both: whoever sends it gives the machine an order.
            {"injection": 1, "harm": 1, "code_abuse": 1}
            if name == "code_abuse"
            else harmful(name, unsure=_UNSURE.get(name, ())),
            1.2 if "violent" in name else 0.7,
            USER,
            _table(f"harm.{name}"),
        )
        for name in named
    ]
    wide = [
        Kind(
            f"harm.ask_{rule}",
            harmful(*names, unsure=[one for name in names for one in _UNSURE.get(name, ())]),
            share,
            USER,
            _tidy(f"ask_{rule}"),
        )
        for rule, (share, *names) in _ASKED.items()
    ]
    said = [
        Kind(f"harm.said_{rule}", labels, 0.9, ("user", "model_output"), _tidy(f"said_{rule}"))
        for rule, labels in _SAID.items()
    ]
    return [*short, *wide, *said, *_framed_harms()]


def _framed_harms() -> Iterator[Kind]:
    """Yield the harmful acts, texts and comments that share their sentences with harmless ones."""
    for head, frame, known in (("act", "asked_act", ACTS), ("txt", "asked_text", TEXTS)):
        for rule, (share, *names) in known.items():
            unsure = {one for name in names for one in (*_UNSURE.get(name, ()), *DOUBTS.get(name, ()))}
            labels = harmful(*names, unsure=sorted(unsure))
            yield Kind(f"harm.{head}_{rule}", labels, share, USER, _framed(f"{head}_{rule}", frame))
    yield Kind("harm.answered", harmful(), 0.6, ("model_output",), _framed("act_harm", "answered_act"))
    for rule, labels in _SAID.items():
        write = _framed(f"say_{rule}", "commented")
        yield Kind(f"harm.say_{rule}", labels, 0.7, ("user", "model_output"), write)


_ASKED: Final[Mapping[str, tuple[float, *tuple[str, ...]]]] = {
    "violent": (1.4, "violent_crimes"),
    "crime": (1.9, "non_violent_crimes"),
    "weapon": (1.1, "weapons"),
    "sexcrime": (0.7, "sex_crimes"),
    "privacy": (0.8, "privacy"),
    "hate": (1.1, "hate"),
    "self_harm": (0.8, "self_harm"),
    "sexual": (0.8, "sexual_content"),
    "elections": (0.6, "elections"),
    "lies": (0.8,),
    "pirate": (0.6, "intellectual_property"),
    "advice": (0.3, "specialized_advice"),
}
"""The share of each rule of requests, and its hazard."""
_OFFENCE: Final[Labels] = {"injection": 0, "toxicity": 1, "harm": 1}
_SAID: Final[Mapping[str, Labels]] = {
    "hate": {**_OFFENCE, "hate": 1},
    "threat": {**_OFFENCE, "violent_crimes": 1},
    "gore": {"injection": 0, "harm": 1, "violent_crimes": 1, "self_harm": 0, "hate": 0},
    "sexual": {"injection": 0, "harm": 1, "sexual_content": 1, "hate": 0, "self_harm": 0},
    "harass": _OFFENCE,
    "self_harm": {"injection": 0, "harm": 1, "self_harm": 1, "hate": 0, "sexual_content": 0},
}
"""What each rule of statements is labelled."""


def kinds() -> dict[str, Kind]:
    """Return all kinds by name."""
    insult = Kind("toxic.insult", TOXIC, 2.5, USER, _table("toxic.insult"))
    return {one.name: one for one in (*_attacks(), *_benign(), *_harms(), insult)}
