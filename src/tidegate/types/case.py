"""Cases for human reviewers, and their decisions. Structs, not behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

APPROVE, EDIT, REJECT = "approve", "edit", "reject"
"""What a person decides: the text leaves as it is, or as the person has changed it, or not at all."""
BLOCK, RELEASE = "block", "release"
"""What the deadline decides: the text does not leave, or leaves as it is."""
DEADLINE = "deadline"
"""Who decides where nobody has decided in time."""


class Case(msgspec.Struct, frozen=True):
    """A text that a person has to judge, its question, and what the rail objected to.

    `created` and `deadline` are in seconds since the epoch: at the deadline the client no longer waits. `place` says where
    the text stands, such as `content` of the choice or message `at`. `others` names further rails that objected to the same
    text. `policy`, `model` and `key` are those of the call, and `profile` names its rails.
    """

    id: str
    call_id: str
    created: float
    deadline: float
    surface: str
    rail: str
    category: str
    score: float
    question: str
    text: str
    policy: str
    model: str
    key: str
    at: int = 0
    place: str = ""
    others: tuple[str, ...] = ()
    profile: str = ""


class Decision(msgspec.Struct, frozen=True):
    """The decision about a case. `action` is one of the constants above, `text` the edited text, `by` the reviewer.

    `at` is in seconds since the epoch. `number` counts the decisions of one file of cases.
    """

    action: str
    by: str
    text: str = ""
    reason: str = ""
    at: float = 0.0
    number: int = 0

    @property
    def releases(self) -> bool:
        """Whether the text leaves, changed or not."""
        return self.action in (APPROVE, EDIT, RELEASE)


class Outcome(NamedTuple):
    """What becomes of the texts of a call: whether they leave, and the decisions by case, as far as there are any.

    `later` is the id of a case that stays open although its client no longer waits. With `full`, nobody was asked, and the
    cases were not stored: as many are open as may be.
    """

    passed: bool
    decisions: Mapping[str, Decision]
    later: str = ""
    full: bool = False


class Judged(msgspec.Struct, frozen=True):
    """A case with its decision; None as long as it is open. `number` counts the cases of one file."""

    number: int
    case: Case
    decision: Decision | None = None
