"""The access log: one line for each finished call, as text or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

import msgspec

from tidegate.ports import Wall
from tidegate.telemetry.causes import one_line
from tidegate.types import ANSWER, CONTINUED, Record, Usage

Form = Literal["text", "json"]


class Entry(msgspec.Struct):
    """The fields of one line. `ttft_ms` is null if the answer was not streamed or had no content."""

    time: str
    request_id: str
    call: str
    client: str
    endpoint: str
    model: str
    route: str
    engine: str
    purpose: str
    policy: str
    key: str
    stream: bool
    status: int
    outcome: str
    duration_ms: float
    waited_ms: float
    ttft_ms: float | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    recalled: str


class AccessLog:
    """Writes one line per call. Satisfies `Sink`.

    `write` gets the line with its line end. `wall` returns seconds since the epoch.
    """

    def __init__(self, form: Form, wall: Wall, write: Callable[[str], object] | None = None) -> None:
        self._shown = _as_json if form == "json" else _as_text
        self._wall = wall
        self._write = write or _to_stdout

    def finished(self, record: Record) -> None:
        """See `Sink`."""
        self._write(self._shown(_entry(record, self._wall())) + "\n")


def _to_stdout(line: str) -> None:
    # The process that reads standard output may have ended. Calls must still succeed.
    with suppress(OSError, ValueError):
        sys.stdout.write(line)
        sys.stdout.flush()


def _entry(record: Record, now: float) -> Entry:
    usage = _usage(record)
    ttft_ms = (
        _ms(record.first_content_at - record.received_at)
        if record.stream and record.first_content_at
        else None
    )
    return Entry(
        time=datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        request_id=record.request_id,
        call=record.id,
        client=record.peer,
        endpoint=record.endpoint.value,
        model=one_line(record.model),
        route=record.route,
        engine=record.engine,
        purpose=record.purpose,
        policy=record.policy,
        key=record.key,
        stream=record.stream,
        status=record.status,
        outcome=record.outcome,
        duration_ms=_ms(record.ended_at - record.arrived_at),
        waited_ms=_ms(record.waited_s),
        ttft_ms=ttft_ms,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        recalled=record.recalled,
    )


def _usage(record: Record) -> Usage:
    """The token counts of the last answer. The prompt of a continuation has what was sent before, which is no prompt."""
    usage, before, known = Usage(), 0, 0
    for one in record.spent:
        if one.purpose in (ANSWER, CONTINUED):
            before = before if one.purpose == CONTINUED else 0
            if one.usage is not None:
                usage, known = one.usage, before
            before += one.received_tokens
    return Usage(max(0, usage.prompt_tokens - known), usage.completion_tokens + known, usage.cached_tokens)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _as_json(entry: Entry) -> str:
    return msgspec.json.encode(entry).decode()


def _as_text(entry: Entry) -> str:
    """Return a short line of text. `model` comes from the client and may contain spaces, so it is quoted as JSON."""
    model = msgspec.json.encode(entry.model).decode()
    engine = entry.engine or entry.recalled or "-"
    ttft = "-" if entry.ttft_ms is None else f"{entry.ttft_ms:.0f}"
    return (
        f"{entry.time} {entry.client or '-'} {entry.request_id} {entry.endpoint} {model} engine={engine}"
        f" {entry.status} {entry.outcome} {entry.duration_ms:.0f}ms waited={entry.waited_ms:.0f}ms ttft={ttft}ms"
        f" tokens={entry.prompt_tokens}/{entry.completion_tokens}"
    )
