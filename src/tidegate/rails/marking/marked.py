"""What a rail is that marks texts, and what it makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from tidegate.types import Text, Where


class Marked(NamedTuple):
    """The texts that are marked, by place, and the instruction that says to the model what the marks mean."""

    texts: Mapping[Where, str]
    instruction: str


NOTHING_MARKED = Marked(MappingProxyType({}), "")


class Marking(Protocol):
    """A rail whose `about.marks` is true: it marks texts of a request for the engine, after all others have checked them.

    `marked` gets all texts of the request in their order. Equal texts get equal marks, so that the engine finds the prompts
    that it knows. An exception ends the call: nothing goes to an engine without its marks.
    """

    def marked(self, texts: Sequence[Text]) -> Marked: ...
