"""The kinds of text of our own: what each is labelled, which channel it comes through, and how it is written.

A kind's share is its part of all rows. A quarter are attacks, since harmless texts are far more
diverse. For documents, talks, encodings, suffixes and quotations, each side has its counterpart in the same frame, so that
the frame says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from training.generate.asking import TWINS
from training.generate.disguises import OPAQUE
from training.generate.forums import forums
from training.generate.grammar import english, language, languages
from training.generate.harms import harms
from training.generate.kind import (
    ATTACK,
    BENIGN,
    OUTSIDE,
    QUOTED,
    TOXIC,
    USER,
    Kind,
    Written,
    framed,
    table,
    tidy,
)
from training.generate.noise import suffix
from training.generate.papers import paper, passage, planted, wrapped
from training.generate.phrasebooks import BOOKS, spoken
from training.generate.posts import posts
from training.rows import Labels

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
        yield Kind(f"{side}.{name}", labels, share, USER, table(f"{side}.{name}"))


def _attacks() -> list[Kind]:
    shares: Mapping[str, float] = {
        "override": 7.5,
        "extraction": 9.75,
        "persona": 8.25,
        "long_persona": 3.75,
        "authority": 5.25,
        "marker": 4.5,
        "frame": 5.25,
        "pressure": 6,
        "suppression": 3.75,
        "splitting": 1.5,
        "hijack": 5.25,
        "many_shot": 1.5,
        "turns": 1.5,
        "translated": 1.05,
        "command": 1.8,
    }
    return [
        *_from_tables("attack", ATTACK, shares),
        Kind("attack.document", ATTACK, 7.5, OUTSIDE, _in_document("payload")),
        Kind("attack.buried", ATTACK, 3, ("document", "user", "tool_output"), _buried((*_DIRECT, "payload"))),
        Kind("attack.encoded", ATTACK, 1.8, USER, _encoded("attack.encoded", _ORDERS)),
        Kind("attack.suffix", ATTACK, 1.5, USER, _with_suffix("attack.suffix")),
        Kind("attack.mixed", ATTACK, 5.25, USER, _mixed(_HARMLESS, _DIRECT)),
        Kind("attack.foreign", ATTACK, 9, USER, _foreign("attack")),
        Kind("attack.foreign_mixed", ATTACK, 2.25, USER, _foreign_mixed),
        Kind("attack.phrases", ATTACK, 4.5, USER, _phrases),
        Kind("attack.answer", ATTACK, 3, ("model_output",), table("attack.answer")),
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
        "trigger": 9,
        "writing": 3,
        "roleplay": 5,
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
        Kind("benign.foreign", BENIGN, 16, USER, _foreign("benign", "hard", most=3)),
        Kind("benign.foreign_hard", BENIGN, 12, USER, _foreign("hard", "hard", "benign", most=2)),
        Kind("benign.operator", BENIGN, 2, ("user", "document"), table("benign.operator")),
        Kind("benign.answer", BENIGN, 2.5, ("model_output",), table("benign.answer")),
        Kind("benign.trap", BENIGN, 12, USER, tidy("benign.trap")),
        Kind("benign.lookalike", BENIGN, 11, USER, tidy("lookalike")),
        Kind("benign.said", BENIGN, 5, ("user", "model_output"), tidy("calm_said")),
        *(
            Kind(f"benign.{what}", BENIGN, share, USER, framed(what, frame))
            for what, (share, frame) in TWINS.items()
        ),
        Kind("benign.answered", BENIGN, 0.6, ("model_output",), framed("act_safe", "answered_act")),
        Kind("benign.say_calm", BENIGN, 4, ("user", "model_output"), framed("say_calm", "commented")),
    ]


_ERRANDS: Final = 0.15
"""How much of what is planted in documents is an errand for nobody, such as a poem, and gives no order to a machine."""


def _planted(rng: Random) -> Written:
    if rng.random() < _ERRANDS:
        # Not at the beginning: a task above a text is what users write.
        errand = english().expand("planted_errand", rng)
        return Written(wrapped(planted(paper(rng), errand, rng, ("middle", "middle", "end")), rng))
    return Written(wrapped(planted(paper(rng), english().expand("planted", rng), rng), rng))


_SAID: Final = ("note", "pa_ask", "pa_about", "pa_about", "hv_statement", "ml_please", "ml_human", "ml_human")
"""What people ask of each other, or say with the words of attacks, where attacks have an order."""


def _plain(rng: Random) -> Written:
    """Return a document as it is, or with a sentence of people where attacks have an order."""
    text = paper(rng)
    if rng.random() < 0.5:
        text = planted(
            text,
            english().expand(rng.choice(_SAID), rng),
            rng,
        )
    return Written(wrapped(text, rng))


def _asked_of(rng: Random) -> Written:
    """Return a task of a user with the document that it is about."""
    parts = [
        english().expand(rng.choice(("hv_then", "ev_question", "benign.hard_request")), rng),
        wrapped(paper(rng), rng),
    ]
    if rng.random() < 0.15:
        parts.reverse()
    return Written(rng.choice(("\n\n", "\n", "\n---\n")).join(parts))


def _breadth() -> list[Kind]:
    """Return documents of many forms with and without a planted order, and prompts with the words of attacks."""
    shares: Mapping[str, float] = {
        "hard_request": 8,
        "hard_question": 5,
        "hard_statement": 3,
        "hard_code": 4,
        "hard_domain": 6,
        "hard_persona": 4,
        "hard_operator": 2.5,
        "hard_long": 3,
    }
    return [
        *_from_tables("benign", BENIGN, shares),
        Kind("benign.paper", BENIGN, 18, ("document", "document", "tool_output", "user"), _plain),
        Kind("benign.paper_task", BENIGN, 3, USER, _asked_of),
        Kind(
            "benign.repository",
            BENIGN,
            3,
            ("document", "tool_output", "user"),
            lambda rng: Written(passage(rng)),
        ),
        Kind("attack.planted", ATTACK, 18, OUTSIDE, _planted),
    ]


def kinds() -> dict[str, Kind]:
    """Return all kinds by name."""
    insult = Kind("toxic.insult", TOXIC, 2.5, USER, table("toxic.insult"))
    return {
        one.name: one for one in (*_attacks(), *_benign(), *_breadth(), *harms(), *forums(), *posts(), insult)
    }
