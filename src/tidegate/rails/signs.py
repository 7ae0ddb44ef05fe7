"""One look at a text for several rules, since nothing in most texts concerns any of them.

A rule that is `Signed` passes every plain text without one of its signs. The patterns of all rules are one expression of
RE2, and their words one automaton, so that a look at a text takes a few microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ahocorasick_rs
import msgspec

from tidegate.kernel.linear import Presence
from tidegate.kernel.text.views import letters_of_ascii
from tidegate.ports import Signed
from tidegate.rails.step import Step
from tidegate.types import Signs


class Look(msgspec.Struct, frozen=True, eq=False):
    """The look for the signs of some rules of a plan."""

    steps: frozenset[Step]
    _patterns: Presence | None
    _letters: ahocorasick_rs.AhoCorasick | None

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Look | None:
        """Return the look for those of the steps that are signed, or None if none is. Rails of others are not relied on."""
        signed = {step: step.rail.signs for step in steps if step.trusted and isinstance(step.rail, Signed)}
        if not signed:
            return None
        patterns, letters = _all(one.patterns for one in signed.values()), _letters_of(signed.values())
        return cls(
            frozenset(signed),
            Presence(patterns) if patterns else None,
            ahocorasick_rs.AhoCorasick(letters) if letters else None,
        )

    def is_quiet(self, text: str) -> bool:
        """Return whether all of the rules pass this text, as far as one look can tell."""
        if not text.isascii():
            return False
        data = text.encode()
        if self._patterns is not None and self._patterns.within(data):
            return False
        return self._letters is None or not self._letters.find_matches_as_indexes(letters_of_ascii(data))


def _all(many: Iterable[Sequence[str]]) -> list[str]:
    return sorted({one for each in many for one in each})


def _letters_of(signs: Iterable[Signs]) -> list[str]:
    return _all(one.letters for one in signs)
