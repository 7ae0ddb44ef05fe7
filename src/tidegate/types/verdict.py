"""The input and the result of rails. Structs, not behaviour."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from tidegate.types.caller import Caller, Parent


class Surface(enum.Enum):
    """Where a text comes from."""

    INPUT = "input"
    OUTPUT = "output"
    RETRIEVAL = "retrieval"
    TOOL = "tool"


class Action(enum.Enum):
    """What a rail says about a text."""

    ALLOW = "allow"
    BLOCK = "block"
    CHANGE = "change"


class Where(NamedTuple):
    """The place of a text in a request or an answer: the choice or message, and the channel, such as `content`."""

    at: int
    channel: str


class Hold(NamedTuple):
    """How much text a rail must see before it can let any pass: `none`, `span` of `chars`, `sentence` or `whole`."""

    kind: str
    chars: int = 0


class Span(NamedTuple):
    """A part of a text that a rail found: from `start` up to `end`, in characters of the original."""

    start: int
    end: int
    kind: str
    score: float = 1.0


class Scan(NamedTuple):
    """What a scanner says of a stream: how many characters are `clear` to leave, and what it found before them."""

    clear: int
    found: tuple[Span, ...]


class RailFacts(msgspec.Struct, frozen=True):
    """What a rail says of itself. `tier`: 0 rules, 1 small models, 2 judges and remote guards."""

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
    """What a rail found: data, never rendering. `text` is the whole text as it should be where the action is CHANGE.

    `failed` means that the rail itself broke; the policy's `on_error` decides then.
    """

    action: Action
    category: str = ""
    score: float = 0.0
    reason: str = ""
    spans: tuple[Span, ...] = ()
    text: str | None = None
    failed: bool = False
