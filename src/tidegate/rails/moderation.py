"""OpenAI's categories of `/v1/moderations`, and what of ours belongs to them, in one table.

The categories are those of OpenAI's API reference (https://platform.openai.com/docs/api-reference/moderations). Rails name
theirs as in `hazards.py`, or as their settings do, such as those of `toxicity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from tidegate.types import Verdict

CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
OF_IMAGES: Final = frozenset(
    {"sexual", "self-harm/intent", "self-harm/instructions", "self-harm", "violence", "violence/graphic"}
)
"""The categories for which OpenAI's schema allows the input type `image`."""
SURE: Final = 0.5
"""A category counts in a flagged text if its score is as high, or as high as that of the verdict."""

MODERATED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "violent_crimes": ("violence", "illicit", "illicit/violent"),
        "non_violent_crimes": ("illicit",),
        "sex_crimes": ("sexual", "illicit"),
        "child_exploitation": ("sexual", "sexual/minors"),
        "defamation": (),
        "specialized_advice": (),
        "privacy": (),
        "intellectual_property": (),
        "weapons": ("illicit", "illicit/violent"),
        "self_harm": ("self-harm",),
        "sexual_content": ("sexual",),
        "elections": (),
        "code_abuse": (),
        "jailbreak": (),
        "injection": (),
        "profanity": (),  # rude words that are aimed at nobody
        "unethical": (),
        "politics": (),
        "malware": ("illicit",),
        "off_topic": (),
        "ungrounded": (),
        "irrelevant": (),
        "policy": (),
        # Those of the detector that stand for no hazard: what is harmful in any way mostly asks for what is forbidden.
        "harm": ("illicit",),
        "toxicity": ("harassment",),
        # Those of the rail `toxicity`, less the ones with OpenAI's own names.
        "insult": ("harassment",),
        "threat": ("harassment", "harassment/threatening"),
        **{name: (name,) for name in CATEGORIES},
    }
)
"""OpenAI's categories by ours. What has none makes a text flagged without a category."""


class Scored(NamedTuple):
    """How sure a rail is of one of OpenAI's categories. `objects` says that its verdict is for this category."""

    category: str
    score: float
    objects: bool


def scored(verdict: Verdict) -> Iterator[Scored]:
    """Yield what a verdict says of OpenAI's categories; one may come more than once."""
    for name, score, objects in _said(verdict):
        for category in MODERATED.get(name.lower(), ()):
            yield Scored(category, score, objects)


def _said(verdict: Verdict) -> Sequence[tuple[str, float, bool]]:
    """Return the categories of ours that a verdict has, with how sure it is of each, and whether it objects to it."""
    if verdict.categories:
        objects = frozenset(verdict.categories) if not verdict.passed else frozenset[str]()
        return [(name, score, name in objects) for name, score in verdict.scores]
    named = [(verdict.category, verdict.score), *((one.kind, one.score) for one in verdict.spans)]
    enough = min(SURE, verdict.score)
    said = [(name, score, True) for name, score in named if not verdict.passed]
    return said + [(name, score, not verdict.passed and score >= enough) for name, score in verdict.scores]
