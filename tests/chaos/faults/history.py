"""What was recorded of a run: what clients sent and got, what reached the engines, and what the nemesis did.

A history is a file with one JSON object a line. All times are those of the machine's monotonic clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec


class Op(msgspec.Struct, kw_only=True, tag="op"):
    """One request of a client.

    `end` is one of: done (200 and complete), error (an error event, or an error status), cut (the connection ended
    without one of them), unreached (no connection), hung (no end within the client's patience). `engines` are the engines
    whose words are in the answer, by their fingerprints. `after_end` says that content came after an end.
    """

    number: int
    gateway: str
    expected: str
    tokens: int
    streamed: bool = True
    sent_at: float = 0.0
    first_at: float | None = None
    ended_at: float = 0.0
    status: int = 0
    code: str = ""
    text: str = ""
    end: str = ""
    engines: list[str] = []
    after_end: bool = False


class Asked(msgspec.Struct, kw_only=True, tag="asked"):
    """One call as an engine had it. `ended_at` is None if the engine was killed meanwhile. `run` is its process."""

    engine: str
    run: int
    number: int
    op: int
    gateway: str
    began_at: float
    ended_at: float | None = None
    outcome: str = "running"
    delivered: int = 0


class Passed(msgspec.Struct, kw_only=True, tag="passed"):
    """One call as the proxy before an engine had it. `fault` is the one that it met."""

    engine: str
    gateway: str = ""
    op: int = -1
    number: int = -1
    received_at: float = 0.0
    ended_at: float | None = None
    fault: str = "none"
    after: int = 0


class Act(msgspec.Struct, kw_only=True, tag="act"):
    """Something that the nemesis did to `whom`, between two times."""

    what: str
    whom: str
    began_at: float
    ended_at: float


class Late(msgspec.Struct, kw_only=True, tag="late"):
    """How late the clients and proxies were: if `p99_ms` is not small, the machine is too slow to measure with."""

    p99_ms: float


Line = Op | Asked | Passed | Act | Late
_DECODER = msgspec.json.Decoder(Line)


class History(msgspec.Struct):
    """All of it, by kind, in the order of the numbers."""

    ops: list[Op] = []
    asked: list[Asked] = []
    passed: list[Passed] = []
    acts: list[Act] = []
    late: list[Late] = []

    def lines(self) -> Iterable[Line]:
        yield from self.ops
        yield from self.asked
        yield from self.passed
        yield from self.acts
        yield from self.late

    def write(self, path: Path) -> None:
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in self.lines()))


def read_history(path: Path) -> History:
    history = History()
    for line in path.read_bytes().splitlines():
        match _DECODER.decode(line):
            case Op() as op:
                history.ops.append(op)
            case Asked() as asked:
                history.asked.append(asked)
            case Passed() as passed:
                history.passed.append(passed)
            case Act() as act:
                history.acts.append(act)
            case Late() as late:
                history.late.append(late)
    return history
