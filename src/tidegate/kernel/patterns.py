"""Sets of names given as exact names and as prefixes that end in `*`. Pure, and closed under intersection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Patterns:
    """A set of names: `Patterns(["gpt-*", "small"])` has `small` and every name that begins with `gpt-`."""

    __slots__ = ("_exact", "_prefixes", "listed")

    def __init__(self, patterns: Iterable[str]) -> None:
        kept = _widest(set(patterns))
        self.listed = tuple(sorted(kept))
        self._exact = frozenset(one for one in kept if not one.endswith("*"))
        self._prefixes = tuple(one[:-1] for one in kept if one.endswith("*"))

    def __contains__(self, name: str) -> bool:
        return name in self._exact or name.startswith(self._prefixes)

    def __and__(self, other: Patterns) -> Patterns:
        """The names that both sets have."""
        return Patterns(both for one in self.listed for both in other.within(one))

    def within(self, pattern: str) -> Iterator[str]:
        """The patterns of those names of a pattern that the set has."""
        return (both for one in self.listed if (both := _narrower(one, pattern)))


def _widest(patterns: set[str]) -> set[str]:
    """The patterns without those that another one covers, so that equal sets are listed equally."""
    return {one for one in patterns if not any(_narrower(one, other) == one for other in patterns - {one})}


def _narrower(one: str, other: str) -> str:
    """The pattern of the names that both patterns have; "" if there are none."""
    for narrow, wide in ((one, other), (other, one)):
        if narrow == wide or (wide.endswith("*") and narrow.startswith(wide[:-1])):
            return narrow
    return ""
