"""Puts what somebody asks for, harmful or not, into the same sentences, so that the sentence says nothing.

The table `harm/frames.txt` has the sentences. There, `~` before a verb stands for its form in -ing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Final

from training.generate.grammar import english

_VERB: Final = re.compile(r"~([A-Za-z][a-z]*)")
_SHORT: Final = re.compile(r"(?:[^aeiou]*|qu)[aeiou][bdgklmnprt]")
"""A verb of one short syllable, such as `rob`, doubles its last letter."""
_DOUBLED: Final = frozenset(
    {
        "commit",
        "submit",
        "control",
        "begin",
        "unplug",
        "kidnap",
        "format",
        "equip",
        "forget",
        "refer",
        "transfer",
    }
)
_IRREGULAR: Final = {"traffic": "trafficking", "dox": "doxxing", "dye": "dyeing", "be": "being"}


def gerund(verb: str) -> str:
    """Return the form in -ing of an English verb, with its capital if it has one."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    low = verb.lower()
    if low.endswith("ie"):
        return verb[:-2] + "ying"
    if low.endswith("e") and not low.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return verb + (low[-1] if low in _DOUBLED or _SHORT.fullmatch(low) else "") + "ing"


def asked(what: str, frame: str, rng: Random) -> str:
    """Return a text of the rule `frame`, a sentence that asks for a text of the rule `what`."""
    act = english().expand(what, rng).strip()
    text = english().expand(frame, rng, given_act=act)
    return _VERB.sub(lambda match: gerund(match[1]), text)


ACTS: Final[Mapping[str, tuple[float, *tuple[str, ...]]]] = {
    "violent": (1.8, "violent_crimes"),
    "crime": (2.8, "non_violent_crimes"),
    "weapon": (1.0, "weapons"),
    "sexcrime": (0.8, "sex_crimes"),
    "privacy": (1.0, "privacy"),
    "hate": (1.2, "hate"),
    "self": (0.6, "self_harm"),
    "sexual": (0.7, "sexual_content"),
    "elections": (0.5, "elections"),
    "defame": (0.5, "defamation"),
    "lies": (0.5,),
    "pirate": (0.5, "intellectual_property"),
    "advice": (0.2, "specialized_advice"),
}
TEXTS: Final[Mapping[str, tuple[float, *tuple[str, ...]]]] = {
    "lies": (0.5,),
    "hate": (0.7, "hate"),
    "crime": (0.7, "non_violent_crimes"),
    "violent": (0.5, "violent_crimes"),
    "self": (0.1, "self_harm"),
    "sexual": (0.3, "sexual_content"),
    "elections": (0.3, "elections"),
    "defame": (0.3, "defamation"),
    "pirate": (0.1, "intellectual_property"),
}
"""The share of each rule of harmful acts and of harmful texts, and its hazard."""
DOUBTS: Final[Mapping[str, tuple[str, ...]]] = {
    "violent_crimes": ("hate", "sex_crimes", "self_harm"),
    "non_violent_crimes": ("code_abuse", "hate", "elections"),
    "weapons": ("non_violent_crimes",),
    "hate": ("non_violent_crimes", "self_harm"),
    "self_harm": ("violent_crimes",),
    "sexual_content": ("sex_crimes", "privacy"),
    "elections": ("defamation",),
    "defamation": ("hate", "non_violent_crimes", "violent_crimes"),
    "privacy": ("hate",),
}
"""More hazards that an act or a text of many words may belong to."""
TWINS: Final[Mapping[str, tuple[float, str]]] = {
    "act_safe_sense": (5.5, "asked_act"),
    "act_safe_care": (6.5, "asked_act"),
    "act_safe_plain": (4, "asked_act"),
    "act_safe_odd": (0.8, "asked_act"),
    "txt_safe": (4, "asked_text"),
}
"""Harmless acts and texts in the sentences of the harmful ones: the share of each, and the rule of sentences."""
