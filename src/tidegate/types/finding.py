"""What rails found in a call and what was done about it. Structs, not behaviour."""

from __future__ import annotations

import enum

import msgspec

from tidegate.types.surface import Surface


class Action(enum.IntEnum):
    """What was done about a text, in the order of severity."""

    PASS = 0
    LOG = 1
    REDACT = 2
    FIX = 3
    REGENERATE = 4
    REVIEW = 5
    BLOCK = 6

    def __init__(self, value: int) -> None:
        del value
        self.word = self._name_.lower()
        """The action as settings, headers and metrics name it."""


class Finding(msgspec.Struct, gc=False):
    """The outcome of one rail on one surface of a call: the most severe action, and what it was for.

    `count` is the number of texts or spans that the rail objected to. `error` is the reason if the rail itself failed.
    `hashed` is a keyed hash of the text, or of the part of a stream that was found, which says whether two texts are equal
    and nothing else. `took_s` is the time that the rail has taken in all. `shown_chars` is how much of the blocked passage
    of a stream left before its verdict, which only `stream_first` allows.
    """

    rail: str
    version: str
    surface: Surface
    action: Action = Action.PASS
    category: str = ""
    score: float = 0.0
    error: str = ""
    count: int = 0
    hashed: str = ""
    took_s: float = 0.0
    shown_chars: int = 0
