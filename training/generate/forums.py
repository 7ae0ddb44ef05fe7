"""Questions as people ask them in forums: about sensitive matters, about harm, and harmless ones in the same sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from training.generate.asking import asked
from training.generate.grammar import english
from training.generate.kind import BENIGN, USER, Kind, Written, tidied
from training.rows import harmful

_SLIPS: Final[Mapping[str, str]] = {
    "because": "becuase",
    "definitely": "definately",
    "weird": "wierd",
    "friend": "freind",
    "the": "teh",
    "would": "woud",
    "really": "realy",
    "people": "poeple",
    "their": "there",
    "should": "shoud",
    "without": "with out",
    "want to": "wanna",
    "going to": "gonna",
}
_WHOLE: Final = 0.25
"""How much of the harmful questions is no act in a sentence, but a question of its own."""
_ASKED: Final[Mapping[str, tuple[float, str, tuple[str, ...]]]] = {
    "crime": (1.2, "non_violent_crimes", ("code_abuse", "privacy", "weapons", "violent_crimes")),
    "violent": (1.2, "violent_crimes", ("weapons", "non_violent_crimes", "hate", "sex_crimes")),
    "weapon": (0.8, "weapons", ("violent_crimes", "non_violent_crimes")),
    "privacy": (0.9, "privacy", ("non_violent_crimes", "sex_crimes", "hate", "code_abuse")),
    "hate": (0.9, "hate", ("violent_crimes", "non_violent_crimes", "elections")),
    "self": (0.7, "self_harm", ("violent_crimes", "specialized_advice")),
    "drugs": (0.9, "non_violent_crimes", ("violent_crimes", "self_harm", "specialized_advice")),
    "account": (0.9, "non_violent_crimes", ("code_abuse", "privacy", "intellectual_property")),
    "fraud": (1.0, "non_violent_crimes", ("code_abuse", "privacy", "intellectual_property")),
    "sexcrime": (0.7, "sex_crimes", ("sexual_content", "privacy", "violent_crimes")),
    "defame": (0.6, "defamation", ("privacy", "hate", "non_violent_crimes", "code_abuse")),
    "elections": (0.5, "elections", ("non_violent_crimes", "hate", "defamation", "code_abuse")),
}
"""The share of each rule of harmful acts, its hazard, and the hazards that it may belong to as well."""


def casual(text: str, rng: Random) -> Written:
    """Return a text as people type it: now and then in small letters, without apostrophes, with a slip of spelling."""
    if rng.random() < 0.25:
        text = text.lower()
    if rng.random() < 0.4:
        text = text.replace("'", "")
    if rng.random() < 0.25:
        right, wrong = rng.choice(list(_SLIPS.items()))
        text = re.sub(rf"\b{right}\b", wrong, text, count=1)
    return tidied(text, rng)


def _posted(what: str, whole: str = "") -> Callable[[Random], Written]:
    """Return how an act is asked for in a sentence of forums, or now and then a question of the rule `whole` is written."""

    def write(rng: Random) -> Written:
        if whole and rng.random() < _WHOLE:
            return casual(english().expand(whole, rng), rng)
        return casual(asked(what, "forum_asked", rng), rng)

    return write


def forums() -> list[Kind]:
    """Return the kinds of questions of forums, harmless ones first."""
    return [
        Kind("benign.forum", BENIGN, 10, USER, lambda rng: casual(english().expand("forum", rng), rng)),
        Kind("benign.forum_act", BENIGN, 6, USER, _posted("fo_safe")),
        *(
            Kind(
                f"harm.forum_{rule}",
                harmful(hazard, unsure=unsure),
                share,
                USER,
                _posted(f"forum_{rule}", f"whole_{rule}"),
            )
            for rule, (share, hazard, unsure) in _ASKED.items()
        ),
    ]
