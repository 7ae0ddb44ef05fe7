"""The input and the result of rails. Structs, not behaviour."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from tidegate.types.caller import Caller, Parent


class Surface(enum.Enum):
    """The source of a text."""

    INPUT = "input"
    OUTPUT = "output"
    RETRIEVAL = "retrieval"
    TOOL = "tool"


class Action(enum.Enum):
    """The decision of a rail about a text."""

    ALLOW = "allow"
    BLOCK = "block"
    CHANGE = "change"


class Where(NamedTuple):
    """The place of a text in a request or an answer.

    `at` is the index of the message or choice, and `channel` the field that has the text, such as `content`.
    """

    at: int
    channel: str


class Hold(NamedTuple):
    """How much text a rail needs before it can release any: `none`, `span` (of `chars` characters), `sentence`, `whole`."""

    kind: str
    chars: int = 0


class Span(NamedTuple):
    """A part of a text that a rail found: from `start` up to, but not including, `end`, in characters of the original."""

    start: int
    end: int
    kind: str
    score: float = 1.0


class Scan(NamedTuple):
    """The result of scanning a stream: the number of characters that may be released, and the spans found in them."""

    clear: int
    found: tuple[Span, ...]


class RailFacts(msgspec.Struct, frozen=True):
    """The properties of a rail. `tier` is 0 for rules, 1 for small models, and 2 for judges and remote guards."""

    name: str
    version: str
    surfaces: frozenset[Surface]
    tier: int
    hold: Hold


class Scene(msgspec.Struct, frozen=True):
    """The context of a text for a rail: its place, the question, the retrieved documents, the caller."""

    where: Where
    surface: Surface
    caller: Caller
    deadline: float
    question: str = ""
    context: tuple[str, ...] = ()
    parent: Parent | None = None


class Verdict(msgspec.Struct, frozen=True):
    """The result of a rail, as data without any rendering.

    If the action is CHANGE, `text` is the whole changed text. `failed` means that the rail itself failed; the policy's
    `on_error` then decides.
    """

    action: Action
    category: str = ""
    score: float = 0.0
    reason: str = ""
    spans: tuple[Span, ...] = ()
    text: str | None = None
    failed: bool = False
