"""The audit of rails: a file to which a line of JSON is appended for each rail that objected to a text or failed.

It also has a line for each decision about a case, by a reviewer or by the deadline. No line has text of a user. A keyed
hash of the text says whether two texts are equal.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidegate.ports import Wall
from tidegate.types import Action, Finding, Judged, Record

log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder()


class Line(msgspec.Struct, omit_defaults=True):
    """One line of the audit. `at` is in seconds since the epoch; `score` is 0 to 1; `hash` is a keyed hash of the text."""

    at: float
    call: str
    request: str
    key: str
    policy: str
    model: str
    rail: str
    version: str
    surface: str
    action: str
    category: str = ""
    score: float = 0.0
    count: int = 0
    error: str = ""
    hash: str = ""


class DecisionLine(msgspec.Struct, omit_defaults=True):
    """The line of a decision about a case: who decided what, when and why. `reason` is the reviewer's own text."""

    at: float
    call: str
    case: str
    rail: str
    policy: str
    model: str
    action: str
    by: str
    reason: str = ""
    category: str = ""


class Audit:
    """Appends to the file. Satisfies `Sink`. The file is opened again for each call that is told of, so it may be moved."""

    def __init__(self, path: Path, wall: Wall) -> None:
        self._path = path
        self._wall = wall

    def finished(self, record: Record) -> None:
        """Write the lines of one call, in one write. A file that cannot be written is told of in the log."""
        lines = [
            _line(record, one, self._wall())
            for one in record.findings
            if one.action is not Action.PASS or one.error
        ]
        if lines:
            self._write(lines)

    def decided(self, judged: Judged) -> None:
        """Write the line of a decision. A file that cannot be written is told of in the log."""
        case, made = judged.case, judged.decision
        assert made is not None, "it was decided"
        about = (case.call_id, case.id, case.rail, case.policy, case.model)
        self._write(
            [DecisionLine(round(made.at, 3), *about, made.action, made.by, made.reason, case.category)]
        )

    def _write(self, lines: Sequence[Line | DecisionLine]) -> None:
        data = b"".join(_ENCODER.encode(line) + b"\n" for line in lines)
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(data)
        except OSError as error:
            why = error.strerror
            log.critical("the audit of rails cannot be written to %s: %s", self._path, why)


def _line(record: Record, one: Finding, at: float) -> Line:
    return Line(
        round(at, 3),
        record.id,
        record.request_id,
        record.key,
        record.policy,
        record.model,
        one.rail,
        one.version,
        one.surface.value,
        one.action.word,
        one.category,
        round(one.score, 4),
        one.count,
        one.error,
        one.hashed,
    )
