"""The data that is kept about a call: an entry for each engine call, and the record for sinks. Structs, not behaviour.

Times are seconds of the gateway's monotonic clock. 0 means that the event did not happen.
"""

from __future__ import annotations

import msgspec

from tidegate.types.answer import Usage
from tidegate.types.ask import Endpoint
from tidegate.types.finding import Finding


class Spent(msgspec.Struct):
    """One engine call of a call. `purpose` is its purpose, such as `answer`, `judge:facts` or `summary`.

    `received_tokens` estimates the length of what has arrived, for callers with limits of tokens.
    """

    purpose: str
    engine: str
    model: str
    sent_at: float
    first_byte_at: float = 0.0
    ended_at: float = 0.0
    usage: Usage | None = None
    outcome: str = "running"
    received_tokens: int = 0


class Record(msgspec.Struct, frozen=True):
    """A call that has ended, as sinks get it: made once, never changed, and it keeps neither call nor body alive.

    `model` is what the client asked for, `route` the configured name that it matched, `engine` the one asked last.
    `received_at` is when the whole request was there, `arrived_at` when its head was. `stage_ms` has the milliseconds of
    each stage that ran, `spent` the entries of the call, which have all ended. `status` is the HTTP status of the outcome,
    also where the error came after the first event; 499 says that the client left. `peer` is the client's address.
    `findings` has what the rails have found, `added_ttft_s` how much later the first content came for them, and `held_s`
    how long they held back all events together. `recalled` is `joined` or `replayed` if the answer was not made for this
    call alone. `structure` is what became of the form that the request demands of its answer; empty if it demands none.
    """

    id: str
    request_id: str
    endpoint: Endpoint
    purpose: str
    policy: str
    key: str
    model: str
    route: str
    engine: str
    outcome: str
    stream: bool
    arrived_at: float
    received_at: float
    ended_at: float
    waited_s: float = 0.0
    answered_at: float = 0.0
    first_content_at: float = 0.0
    last_content_at: float = 0.0
    content_events: int = 0
    stage_ms: tuple[float, ...] = ()
    spent: tuple[Spent, ...] = ()
    status: int = 200
    peer: str = ""
    recalled: str = ""
    findings: tuple[Finding, ...] = ()
    added_ttft_s: float = 0.0
    held_s: float = 0.0
    structure: str = ""
