"""The kind of a text: its label, its channel, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from training.generate.asking import asked
from training.generate.grammar import english
from training.rows import Channel, Labels, harmless


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


def table(rule: str) -> Callable[[Random], Written]:
    """Return how the tables write a text of a rule."""
    return lambda rng: Written(english().expand(rule, rng))


def tidied(text: str, rng: Random) -> Written:
    """Return a text with no blank before a mark, and a capital at its start more often than not."""
    text = re.sub(r" +(?=[.,!?]|$)", "", re.sub(r"  +", " ", text)).strip()
    return Written(text[:1].upper() + text[1:] if rng.random() < 0.7 else text)


def tidy(rule: str) -> Callable[[Random], Written]:
    """Return how the tables write a text of a rule, `tidied`."""
    return lambda rng: tidied(english().expand(rule, rng), rng)


def framed(what: str, frame: str) -> Callable[[Random], Written]:
    """Return how a text of the rule `what` is asked for in a sentence of the rule `frame`."""
    return lambda rng: tidied(asked(what, frame, rng), rng)
