"""What a row of the examples has: see `examples.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from guarded.server import Guard
from guarded.world import GUARD


def asks_model(_: Guard) -> Mapping[str, Any]:
    """The settings of a rail that asks the guard's model."""
    return {"model": GUARD}


class GuardExample(NamedTuple):
    """The answers of the other side, as JSON or as bytes, to the check of a text.

    `unsafe` means the `category`. `unknown` objects under a label that nobody knows; None if the format has no labels.
    `garbage` are answers that say nothing that can be trusted. `settings` makes the settings from the server.
    """

    safe: Any
    unsafe: Any
    category: str
    garbage: Sequence[Any]
    unknown: Any = None
    settings: Callable[[Guard], Mapping[str, Any]] = asks_model
    body: Mapping[str, Any] = {"input": "hello"}
