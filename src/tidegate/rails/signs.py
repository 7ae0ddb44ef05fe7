"""One look at a text for several rules, since nothing in most texts concerns any of them.

A rule that is `Signed` passes every plain text without one of its signs. The patterns of all rules are one expression of
RE2, and their words one automaton, so that a look at a text takes a few microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import ahocorasick_rs
import msgspec

from tidegate.kernel.linear import Presence
from tidegate.kernel.text.views import letters_of_ascii
from tidegate.ports import Clock, Signed
from tidegate.rails.step import Step
from tidegate.types import Finding, Text

_FASTEST = ahocorasick_rs.Implementation.ContiguousNFA  # of those that are made in milliseconds
MOST_CHARS = 4096
"""A longer text takes more than one turn of the event loop."""


class Look(msgspec.Struct, frozen=True, eq=False):
    """The look for the signs of some rules of a plan. It is `complete` if the plan has no other rules for these texts."""

    steps: frozenset[Step]
    complete: bool
    _patterns: Presence | None
    _letters: ahocorasick_rs.AhoCorasick | None

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Look | None:
        """Return the look for those of the steps that are signed, or None if none is. Rails of others are not relied on."""
        signed = {step: step.rail.signs for step in steps if step.trusted and isinstance(step.rail, Signed)}
        if not signed:
            return None
        signs = signed.values()
        patterns, letters = _all(one.patterns for one in signs), _all(one.letters for one in signs)
        return cls(
            frozenset(signed),
            all(step in signed for step in steps if step.about.tier == 0),
            _presence(patterns) if patterns else None,
            _automaton(letters) if letters else None,
        )

    def passed(self, texts: Sequence[Text], rules: Sequence[Step], clock: Clock) -> list[Finding] | None:
        """Return the findings of a plan's rules if one look tells that all of them pass these texts, else None.

        The time of the look is shared among the rules. Long texts need more than one turn.
        """
        began = clock()
        if not self._passes(texts):
            return None
        surfaces = {text.surface for text in texts}
        found = [
            Finding(step.name, step.about.version, surface)
            for step in rules
            for surface in surfaces
            if surface in step.surfaces
        ]
        took_s = (clock() - began) / max(len(found), 1)
        for one in found:
            one.took_s = took_s
        return found

    def _passes(self, texts: Iterable[Text]) -> bool:
        if not self.complete:
            return False
        chars = 0
        for text in texts:
            chars += len(text.value)
            if chars > MOST_CHARS or text.is_json or not self.is_quiet(text.value):
                return False
        return True

    def is_quiet(self, text: str) -> bool:
        """Return whether all of the rules pass this text, as far as one look can tell."""
        if not text.isascii():
            return False
        data = text.encode()
        if self._patterns is not None and self._patterns.within(data):
            return False
        return self._letters is None or not self._letters.find_matches_as_indexes(letters_of_ascii(data))


# Both take tens of milliseconds to make, and most configurations have the same rails.
@lru_cache(maxsize=8)
def _presence(patterns: tuple[str, ...]) -> Presence:
    return Presence(patterns)


@lru_cache(maxsize=8)
def _automaton(letters: tuple[str, ...]) -> ahocorasick_rs.AhoCorasick:
    return ahocorasick_rs.AhoCorasick(letters, implementation=_FASTEST)


def _all(many: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted({one for each in many for one in each}))
