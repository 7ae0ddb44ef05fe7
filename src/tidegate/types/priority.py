"""The class of a call, which decides how soon it is served when there is more to do than seats."""

from __future__ import annotations

import msgspec


class Priority(msgspec.Struct, frozen=True):
    """A class of calls. `rank` is its place among the classes: lower goes first, and the class `default` has 0."""

    name: str = "default"
    rank: int = 0


DEFAULT_PRIORITY = Priority()
