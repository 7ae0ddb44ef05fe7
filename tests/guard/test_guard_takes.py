"""What `Guard.check` and `Guard.check_many` take, and what they say of anything else."""

from __future__ import annotations

import asyncio

import pytest

from tidegate import Guard
from tidegate.types import PASSED, RailFacts, Surface


class Sees:
    """A rule that notes the texts that it checks."""

    tier = 0

    def __init__(self) -> None:
        self.about = RailFacts("sees", "1", frozenset(Surface), tier=self.tier)
        self.seen: list[str] = []

    def check(self, views, scene):
        self.seen.append(views.original)
        return PASSED


class Waits(Sees):
    """The same as a rail that is not a rule."""

    tier = 1

    async def check(self, views, scene):  # type: ignore[override]
        return super().check(views, scene)


@pytest.mark.parametrize("given", [None, 5, ["a"], b"a"])
@pytest.mark.parametrize("rail", [Sees, Waits])
def test_check_takes_a_text(given, rail: type[Sees]) -> None:
    guard = Guard([rail()])
    words = f"check takes a text; for several use check_many: got {type(given).__name__}"
    for check in (guard.check, guard.validate, lambda text: asyncio.run(guard.acheck(text))):
        with pytest.raises(TypeError, match=words):
            check(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ab", "check_many takes several texts; for one use check: got str"),
        (b"ab", "for one use check: got bytes"),
        (None, "for one use check: got NoneType"),
        (["a", None], r"check_many takes texts, but texts\[1\] is of type NoneType"),
    ],
)
@pytest.mark.parametrize("rail", [Sees, Waits])
def test_check_many_takes_texts(given, words: str, rail: type[Sees]) -> None:
    asked = rail()
    with pytest.raises(TypeError, match=words):
        Guard([asked]).check_many(given)
    assert asked.seen == []
    assert all(Guard([asked]).check_many(text for text in ("a", "b")))
