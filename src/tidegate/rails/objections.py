"""Texts that rails with `on_fail: review` have objected to: people decide whether they may leave."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tidegate.types import Finding, Where


class Objection(msgspec.Struct, eq=False):
    """One text with the finding of the first rail that objected to it, and the names of other rails that did.

    `place` is the channel of the text, and its path if the text stands in a JSON document. `read` returns the text as it
    is now, `put` replaces it.
    """

    finding: Finding
    category: str
    score: float
    where: Where
    place: str
    read: Callable[[], str]
    put: Callable[[str], None]
    others: list[str] = []
