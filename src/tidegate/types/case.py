"""Cases for human reviewers, and their decisions. Structs, not behaviour."""

from __future__ import annotations

import msgspec

from tidegate.types.verdict import Verdict


class Case(msgspec.Struct, frozen=True):
    """A text that a person has to judge: the answer, its question, and the verdict that stopped it."""

    call_id: str
    question: str
    text: str
    verdict: Verdict


class Decision(msgspec.Struct, frozen=True):
    """The decision of a reviewer. `action` is `approve`, `edit` or `reject`, `text` the edited text, `by` the reviewer."""

    action: str
    by: str
    text: str = ""
    reason: str = ""
