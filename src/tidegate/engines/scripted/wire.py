"""Turns a script's answer into the bytes of an HTTP response, headers included, with the times at which they are due.

The module is pure: a `Performance` is data that `server.py` sends. Faults in the bytes (a cut event, a wrong length, a
missing end) are made here. A reset or a stall is only named here, and `server.py` carries it out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from http import HTTPStatus

import msgspec

from tidegate.engines.scripted.answer import (
    Beat,
    beats,
    before_fault,
    due_s,
    fault_step,
    in_one,
    token_steps,
    whole,
)
from tidegate.engines.scripted.script import Fault, Question, Script
from tidegate.types import Endpoint

_JSON = b"application/json"
_EVENTS = b"text/event-stream; charset=utf-8"
_GARBAGE = (
    b"<html><head><title>502 Bad Gateway</title></head><body>upstream sent nothing we know</body></html>\n"
)
_PHRASES = {int(status): status.phrase.encode() for status in HTTPStatus}
_EURO = "€".encode()
HEAD_BYTES = 100
"""The approximate size of the headers of a stream."""
ERROR_BODY = msgspec.json.encode(
    {"error": {"message": "scripted failure", "type": "server_error", "code": "scripted", "param": None}}
)
"""The body of `error_event` and `error_status`."""


class Ending(enum.Enum):
    """The server's treatment of the connection after the last write."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


class Write(msgspec.Struct, frozen=True):
    """Bytes that are sent together, `due_s` seconds after the request. They complete `tokens` tokens."""

    due_s: float
    data: bytes
    tokens: int = 0


class Performance(msgspec.Struct, frozen=True):
    """One response: its writes, and its `ending`, which is due `ending_due_s` seconds after the request."""

    writes: list[Write]
    ending: Ending = Ending.KEEP
    ending_due_s: float = 0.0


def respond(
    status: int, body: bytes, *, kind: bytes = _JSON, retry_after_s: float | None = None
) -> Performance:
    """Return a plain response that is due at once."""
    return Performance(
        [Write(0.0, _head(status, kind, length=len(body), retry_after_s=retry_after_s) + body)]
    )


def perform(script: Script, ask: Question, endpoint: Endpoint) -> Performance:
    """Return the response to one call."""
    if script.fault is Fault.ERROR_STATUS:
        return _delayed(script, _refusal(script))
    if script.fault is Fault.GARBAGE:
        return _delayed(script, respond(200, _GARBAGE, kind=b"text/html"))
    if ask.stream and endpoint is not Endpoint.EMBEDDINGS:
        return _stream(script, ask, endpoint)
    return _whole(script, ask, endpoint)


def _refusal(script: Script) -> Performance:
    wait_s = script.retry_after_s
    if wait_s is None and script.status in (429, 503):
        wait_s = 1.0
    return respond(script.status, ERROR_BODY, retry_after_s=wait_s)


def _delayed(script: Script, performance: Performance) -> Performance:
    return Performance([Write(due_s(script, 0), write.data) for write in performance.writes])


def _head(
    status: int,
    kind: bytes,
    *,
    length: int | None = None,
    framing: str = "chunked",
    retry_after_s: float | None = None,
) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (status, _PHRASES.get(status, b"Scripted")), b"content-type: " + kind]
    if retry_after_s is not None:
        lines.append(b"retry-after: %g" % retry_after_s)
    if length is not None:
        lines.append(b"content-length: %d" % length)
    elif framing == "chunked":
        lines.append(b"transfer-encoding: chunked")
    else:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b""])


# ------------------------------------------------------------------------------------------------------ whole answers


def _whole(script: Script, ask: Question, endpoint: Endpoint) -> Performance:
    answer = whole(script, ask, endpoint)
    body, due = answer.events[0], answer.due_s
    half, tokens, length, ending = len(body) // 2, answer.tokens, len(body), Ending.KEEP
    match script.fault:
        case Fault.CLOSE | Fault.RESET | Fault.STALL | Fault.TRUNCATED_BODY:
            body, tokens, ending = body[:half], 0, _ENDINGS[script.fault]
            if script.fault_at == 0 and script.fault is not Fault.TRUNCATED_BODY:
                return Performance([], ending, due)
        case Fault.CUT_JSON:
            body, tokens, length = body[:half], 0, half
        case Fault.CUT_UTF8:
            body, tokens, length = body[:half] + _EURO[:1], 0, half + 1
        case Fault.ERROR_EVENT:
            body, tokens, length = ERROR_BODY, 0, len(ERROR_BODY)
        case _:
            pass
    writes = _with_head(script, [Write(due, body, tokens)], _head(200, _JSON, length=length))
    return Performance(writes, ending, due)


_ENDINGS = {
    Fault.CLOSE: Ending.CLOSE,
    Fault.RESET: Ending.RESET,
    Fault.STALL: Ending.STALL,
    Fault.TRUNCATED_BODY: Ending.CLOSE,
}


# ------------------------------------------------------------------------------------------------------------ streams


def encode_event(script: Script, data: bytes) -> bytes:
    """Encode one event with the script's line ends, with a comment before it, and with its JSON on one line or two."""
    end = b"\r\n" if script.crlf else b"\n"
    # White space is allowed after an object's first brace, so the two lines join to the same JSON.
    data = b"{" + end + b"data: " + data[1:] if script.multiline and data.startswith(b"{") else data
    return (b": ping" + end + end if script.comment else b"") + b"data: " + data + end + end


def _stream(script: Script, ask: Question, endpoint: Endpoint) -> Performance:
    score = beats(script, ask, endpoint)
    kept = before_fault(script, score)
    ending = _ENDINGS.get(script.fault, Ending.KEEP)
    broken_due = due_s(script, fault_step(script, token_steps(score)))
    parts = [
        Write(beat.due_s, b"".join([encode_event(script, event) for event in beat.events]), beat.tokens)
        for beat in (in_one(kept) if script.burst else kept)
    ]
    if last_words := _last_words(script, score[len(kept) :]):
        parts = _append(parts, Write(broken_due, last_words), join=len(kept) == len(score) or script.burst)
    if not parts and ending is not Ending.KEEP and not script.early:
        return Performance([], ending, broken_due)
    parts = _sliced(script, parts)
    length = _promised_length(script, score) if script.fault is Fault.TRUNCATED_BODY else None
    head = _head(200, _EVENTS, length=length, framing=script.framing)
    if length is None and script.framing == "chunked":
        parts = _chunked(parts, broken_due, ended=ending is Ending.KEEP)
    elif ending is Ending.KEEP:
        ending = Ending.CLOSE
    return Performance(_with_head(script, parts, head), ending, broken_due)


def _last_words(script: Script, unsaid: Sequence[Beat]) -> bytes:
    """Return the bytes after the last complete event: `[DONE]`, or the bytes that the fault sends instead."""
    done = encode_event(script, b"[DONE]")
    event = unsaid[0].events[-1] if unsaid else b""
    match script.fault:
        case Fault.CLOSE | Fault.RESET | Fault.STALL | Fault.TRUNCATED_BODY | Fault.MISSING_DONE:
            return b""
        case Fault.DOUBLE_DONE:
            return done + done
        case Fault.ERROR_EVENT:
            return encode_event(script, ERROR_BODY)
        case Fault.CUT_JSON:
            return encode_event(script, event[: len(event) // 2])
        case Fault.CUT_UTF8:
            field = b'"content":"' if b'"content":"' in event else b'"text":"'
            before, found, _ = event.partition(field)
            said = encode_event(script, before + found + _EURO)
            return said[: said.index(_EURO) + 1]
        case _:
            return done


def _append(parts: list[Write], last: Write, *, join: bool) -> list[Write]:
    if not join or not parts:
        return [*parts, last]
    final = parts[-1]
    return [*parts[:-1], Write(final.due_s, final.data + last.data, final.tokens)]


def _promised_length(script: Script, score: Iterable[Beat]) -> int:
    return sum(len(encode_event(script, event)) for beat in score for event in beat.events)


def _sliced(script: Script, parts: list[Write]) -> list[Write]:
    if not script.slice:
        return parts
    slices: list[Write] = []
    for part in parts:
        pieces = [part.data[at : at + script.slice] for at in range(0, len(part.data), script.slice)]
        slices += [Write(part.due_s, piece) for piece in pieces[:-1]]
        slices.append(Write(part.due_s, pieces[-1], part.tokens))
    return slices


def _chunked(parts: Sequence[Write], due: float, *, ended: bool) -> list[Write]:
    chunks = [Write(part.due_s, b"%x\r\n%b\r\n" % (len(part.data), part.data), part.tokens) for part in parts]
    return _append(chunks, Write(due, b"0\r\n\r\n"), join=True) if ended else chunks


def _with_head(script: Script, parts: Sequence[Write], head: bytes) -> list[Write]:
    """Put the headers before the body: in the first write, at once (`early`), or byte by byte (`slow_headers`)."""
    if script.fault is Fault.SLOW_HEADERS:
        drip_s = script.drip_ms / 1000
        return [*(Write(at * drip_s, head[at : at + 1]) for at in range(len(head))), *parts]
    if script.early or not parts:
        return [Write(0.0, head), *parts]
    first = parts[0]
    return [Write(first.due_s, head + first.data, first.tokens), *parts[1:]]
