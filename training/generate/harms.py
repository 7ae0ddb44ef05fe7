"""The kinds of text that ask for harm or do it, without any how-to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from training.generate.asking import ACTS, DOUBTS, TEXTS
from training.generate.grammar import english
from training.generate.kind import USER, Kind, framed, table, tidy
from training.rows import HARMS, Labels, harmful

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


def harms() -> list[Kind]:
    """Return the kinds of harm."""
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
            table(f"harm.{name}"),
        )
        for name in named
    ]
    wide = [
        Kind(
            f"harm.ask_{rule}",
            harmful(*names, unsure=[one for name in names for one in _UNSURE.get(name, ())]),
            share,
            USER,
            tidy(f"ask_{rule}"),
        )
        for rule, (share, *names) in _ASKED.items()
    ]
    said = [
        Kind(f"harm.said_{rule}", labels, 0.9, ("user", "model_output"), tidy(f"said_{rule}"))
        for rule, labels in _SAID.items()
    ]
    return [*short, *wide, *said, *_framed_harms()]


def _framed_harms() -> Iterator[Kind]:
    """Yield the harmful acts, texts and comments that share their sentences with harmless ones."""
    for head, frame, known in (("act", "asked_act", ACTS), ("txt", "asked_text", TEXTS)):
        for rule, (share, *names) in known.items():
            unsure = {one for name in names for one in (*_UNSURE.get(name, ()), *DOUBTS.get(name, ()))}
            labels = harmful(*names, unsure=sorted(unsure))
            yield Kind(f"harm.{head}_{rule}", labels, share, USER, framed(f"{head}_{rule}", frame))
    yield Kind("harm.answered", harmful(), 0.6, ("model_output",), framed("act_harm", "answered_act"))
    for rule, labels in _SAID.items():
        write = framed(f"say_{rule}", "commented")
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
