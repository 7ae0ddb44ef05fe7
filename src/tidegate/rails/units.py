"""The texts of a request or an answer as rails see them: each alone, also those within a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tidegate.forms.leaves import leaves
from tidegate.forms.paths import Path
from tidegate.kernel.text import Views
from tidegate.ports import TextViews
from tidegate.rails.asked.conversation import is_turn
from tidegate.types import Scene, Surface, Text, Where

REQUEST = Where(-1, "")
"""The place of `WHOLE_REQUEST`."""
WHOLE_REQUEST = Text(REQUEST, Surface.INPUT, "")
"""The empty text that stands for a request as a whole, for rails with `once`."""


class Unit(msgspec.Struct, eq=False):
    """What is checked as one text: a text, or one of the texts in a JSON document.

    Rails see it behind its `context`, which was checked before. If it is `quiet`, the rules of the look pass it.
    """

    text: Text
    value: str
    surface: Surface
    is_request: bool = False
    leaf: Path | None = None
    context: str = ""
    views: TextViews | None = None
    scene: Scene | None = None
    changed: bool = False
    quiet: bool = False

    def put(self, text: str) -> None:
        """Replace the text."""
        self.value, self.views, self.changed, self.quiet = text, None, True, False

    @property
    def place(self) -> str:
        """Where the text stands in its message or choice."""
        return ".".join([self.text.where.channel, *map(str, self.leaf or ())])


def latest(units: Sequence[Unit]) -> Sequence[Unit]:
    """Return the first text of each message of the latest turn, and all texts that are in no turn.

    The latest turn begins behind the last answer that a user has replied to. What stands before it was checked when it was
    the latest one, and rails that read messages see it. Texts of the system, of developers and outside of messages are in
    no turn: rails see nothing of them but what they check.
    """
    if len(units) < 2:
        return units
    asked = max((unit.text.where.at for unit in units if unit.text.role == "user"), default=-1)
    answered = [unit.text.where.at for unit in units if unit.text.role == "assistant"]
    start = max((at for at in answered if at < asked), default=-1) + 1
    found: dict[int, Unit] = {}
    outside: list[Unit] = []
    for unit in units:
        at = unit.text.where.at
        if not is_turn(unit.text):
            outside.append(unit)
        elif at >= start:
            found.setdefault(at, unit)
    return [*found.values(), *outside]


def units_of(text: Text, context: str) -> Iterator[Unit]:
    """Yield what of a text is checked as one: all of it, or the texts in it if it is a JSON document."""
    if not text.is_json:
        yield Unit(text, text.value, text.surface, text.where == REQUEST, context=context)
        return
    for leaf in leaves(text.value):
        yield Unit(text, leaf.value, text.surface, leaf=leaf.path)


def views_of(unit: Unit) -> TextViews:
    """Return the views of a text behind its context. They are made once."""
    if unit.views is None:
        unit.views = Views(unit.context + unit.value)
    return unit.views
