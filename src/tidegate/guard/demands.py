"""Rules that demand something of a text where the rails of the registry object to what they find in it."""

from __future__ import annotations

from typing import Final

from tidegate.kernel.linear import BadExpression, compiled
from tidegate.ports import TextViews
from tidegate.types import PASSED, RailFacts, Scene, Surface, Verdict

_WAYS: Final = ("fullmatch", "search")


class Length:
    """A text has from `least` up to `most` characters. Satisfies `ports.Rule`. One that is too long is cut."""

    def __init__(self, least: int, most: int | None) -> None:
        """Raises ValueError for bounds that no text can keep."""
        if least < 0 or (most is not None and most < least):
            raise ValueError("'min' must be 0 or more, and 'max' not below it")
        self.about = RailFacts(
            "valid_length", "1", frozenset(Surface), entire=True, corrects=True, usual_ms=0.001
        )
        self._least = least
        self._most = most

    def check(self, views: TextViews, scene: Scene) -> Verdict:  # noqa: ARG002 - the text alone decides
        length = len(views.original)
        if self._most is not None and length > self._most:
            reason = f"more than {self._most} characters"
            return Verdict(False, "too_long", 1.0, reason, text=views.original[: self._most])
        if length < self._least:
            return Verdict(False, "too_short", 1.0, f"fewer than {self._least} characters")
        return PASSED


class Matches:
    """A text matches a pattern. Satisfies `ports.Rule`."""

    def __init__(self, pattern: str, way: str) -> None:
        """`way` is `fullmatch` or `search`. Raises ValueError for another one, and for a pattern that RE2 does not take."""
        if way not in _WAYS:
            raise ValueError(f"'match_type' must be one of {', '.join(_WAYS)}, not '{way}'")
        try:
            pattern_of = compiled(pattern)
        except BadExpression as error:
            raise ValueError(f"'regex' is no pattern of RE2: {error}") from error
        self._matches = pattern_of.fullmatch if way == "fullmatch" else pattern_of.search
        self.about = RailFacts("regex_match", "1", frozenset(Surface), entire=True, usual_ms=0.002)

    def check(self, views: TextViews, scene: Scene) -> Verdict:  # noqa: ARG002 - the text alone decides
        if self._matches(views.original) is not None:
            return PASSED
        return Verdict(False, "no_match", 1.0, "does not match the pattern")
