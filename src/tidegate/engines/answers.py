"""Reads an engine's answer: whether it is complete, how many tokens it used, and whether it reports an error.

Every answer is first decoded strictly. If that fails, the answer is read again field by field, because the client may be
able to use an answer that is odd in fields only the gateway reads. The bytes are passed on unchanged, and each kind of
oddity is counted once per answer. An incomplete answer is always an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from tidegate.engines.large import check_utf8, decode_large
from tidegate.engines.refusals import (
    MAX_ERROR_BYTES,
    Explanation,
    decoded,
    explain,
    explanation,
    is_error,
    judge,
    says_nothing,
)
from tidegate.errors import GatewayError, UpstreamError
from tidegate.kernel.sse import Event, EventTooLarge, SseReader
from tidegate.kernel.surrogates import without_lone
from tidegate.types import Answer, Batch, Choice, Delta, Piece, PromptDetails, TokenCounts

Odd = Callable[[str], None]
"""A function that counts a kind of oddity."""
Judge = Callable[[int | None, Explanation], GatewayError]
"""A function that returns the error for a status and an explanation. The status is None for an error inside a 200."""

_ANSWER = msgspec.json.Decoder(Answer)
_NOT_JSON = "the engine sent an answer that is not valid JSON"
_QUOTED = 120


def uncounted(kind: str) -> None:
    """Count nothing."""
    del kind


def read_answer(data: bytes, *, large: bool = False, odd: Odd = uncounted, judged: Judge = judge) -> Answer:
    """Return the part of an engine's JSON answer that the gateway needs. Raises UpstreamError for invalid JSON.

    If the answer reports an error, raises the error that `judged` returns. `large` leaves long texts unparsed: see
    `large.py`.
    """
    try:
        answer = decode_large(data) if large else _ANSWER.decode(data)
        check_utf8(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _read_odd(data, odd, judged)
    if answer.error is not None:
        _check_error(answer, odd, judged)
    return answer


def _check_error(answer: Answer, odd: Odd, judged: Judge) -> None:
    if not says_nothing(answer.error):
        raise judged(None, explain(answer.error))
    odd("error")


# ------------------------------------------------------------------------------------------------------------- odd answers


def _read_odd(data: bytes, odd: Odd, judged: Judge) -> Answer:
    """Read an answer that differs from OpenAI's documented form. Raises UpstreamError for invalid JSON."""
    try:
        check_utf8(data)
        value = _lenient(data, odd)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(_NOT_JSON, data) from error
    if isinstance(value, dict):
        return _Tolerant(odd).answer(cast("dict[str, Any]", value))
    if is_error(value):
        raise judged(None, explain(value))
    raise _unreadable("the engine sent an answer that is not a JSON object", data)


def _of_another_form(field: str) -> UpstreamError:
    return UpstreamError(
        f"the engine sent an answer in another form than OpenAI's: `{field}` has the wrong type"
    )


def _lenient(data: bytes, odd: Odd) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        value = msgspec.json.decode(without_lone(data))
        odd("surrogates")
        return value


def _unreadable(message: str, data: bytes) -> UpstreamError:
    error = UpstreamError(message)
    error.cause = f"{message}: {data[:_QUOTED].decode(errors='replace')!r}"
    return error


class _Tolerant:
    """A reader that decodes each field separately.

    A field of the wrong type is counted as odd and treated as missing. If clients need the field, UpstreamError is raised.
    """

    def __init__(self, odd: Odd) -> None:
        self._odd = odd

    def answer(self, value: dict[str, Any]) -> Answer:
        return Answer(
            self._choices(value.get("choices")), self._usage(value.get("usage")), value.get("error")
        )

    def _choices(self, value: Any) -> list[Choice] | None:
        if value is None:
            return None
        if not isinstance(value, list):
            raise _of_another_form("choices")
        return [self._choice(one, place) for place, one in enumerate(cast("list[Any]", value))]

    def _choice(self, value: Any, place: int) -> Choice:
        if not isinstance(value, dict):
            raise _of_another_form("choices")
        choice = cast("dict[str, Any]", value)
        reason, message, text = choice.get("finish_reason"), choice.get("message"), choice.get("text")
        if not isinstance(text, str | None) or not isinstance(message, dict | None):
            raise _of_another_form("choices[].text" if message is None else "choices[].message")
        return Choice(
            self._index(choice.get("index", 0), place),
            self._delta(choice.get("delta")),
            self._delta(cast("Any", message)),
            text,
            reason if isinstance(reason, str) else self._missing("finish_reason", reason),
        )

    def _index(self, value: Any, place: int) -> int:
        """Return the choice's index. If that is unusable, return the choice's place in the list instead."""
        found = _whole_number(value)
        if type(value) is not int:
            self._odd("index")
        return place if found is None else found

    def _delta(self, value: Any) -> Delta | None:
        if isinstance(value, dict):
            parts = cast("dict[str, Any]", value)
            return Delta(*(parts.get(field) for field in Delta.__struct_fields__))
        if isinstance(value, str):
            self._odd("delta")
            return Delta(content=value)
        return self._missing("delta", value)

    def _usage(self, value: Any) -> TokenCounts | None:
        if not isinstance(value, dict):
            return self._missing("usage", value)
        counts = cast("dict[str, Any]", value)
        details = counts.get("prompt_tokens_details")
        cached: Any = (
            cast("dict[str, Any]", details).get("cached_tokens") if isinstance(details, dict) else None
        )
        if details is not None and not isinstance(details, dict):
            self._odd("usage")
        return TokenCounts(
            self._count(counts.get("prompt_tokens")),
            self._count(counts.get("completion_tokens")),
            PromptDetails(self._count(cached)),
        )

    def _count(self, value: Any) -> int | float | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        found = _whole_number(value)
        return found if found is not None and value is not None else self._missing("usage", value)

    def _missing(self, kind: str, value: Any) -> None:
        """Return None, and count an oddity unless the engine left the field out or sent null."""
        if value is not None:
            self._odd(kind)


def _whole_number(value: Any) -> int | None:
    """Return a whole number in any form that engines send (`1`, `1.0`, `"1"`), or None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


# ----------------------------------------------------------------------------------------------------------- whole answers


def check_whole(data: bytes, judged: Judge = judge, *, needs_choices: bool = True) -> None:
    """Raise the error that a body without `choices` reports. If it reports none and needs choices, raise UpstreamError."""
    # Errors are shorter than this, and decoding a longer body would block the event loop.
    if len(data) <= MAX_ERROR_BYTES and is_error(decoded(data)):
        raise judged(None, explanation(data))
    if needs_choices:
        raise _unreadable("the engine sent an answer without choices", data)


# ---------------------------------------------------------------------------------------------------------------- streams

_KEEP_ALIVES = frozenset({b"ping", b"keepalive", b"keep-alive", b"heartbeat"})


class EventStream:
    """An answer that arrives as server-sent events. It is complete if every choice that began has a `finish_reason`.

    Neither `[DONE]` nor the end of the connection proves this, since some engines send both after an interrupted answer.
    For an engine that never sends a `finish_reason` (`says_why` is False), `[DONE]` counts as proof.
    """

    _failure: GatewayError | None = None
    _noted: frozenset[str] = frozenset()
    _stray: bytes = b""

    def __init__(
        self,
        *,
        max_event_bytes: int = 4 * 2**20,
        says_why: bool = True,
        odd: Odd = uncounted,
        judged: Judge = judge,
    ) -> None:
        self.done = False
        """Whether `[DONE]` has arrived."""
        self.ended = False
        """Whether reading has ended, because `[DONE]` or something other than an answer has arrived."""
        self._reader = SseReader(max_event_bytes=max_event_bytes)
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._says_why = says_why
        self._count = odd
        self._judged = judged

    def feed(self, data: bytes) -> Batch:
        """Return the pieces in these bytes, up to `[DONE]` or the first event that is not an answer.

        Raises a GatewayError for an event that is not an answer. If the same bytes have pieces before that event, `feed`
        returns these pieces, and `finish` raises the error.
        """
        batch: Batch = []
        try:
            for event in self._reader.feed(data):
                if event.data is None:
                    self._put_aside(event)
                    continue
                if event.data == b"[DONE]":
                    self.done = self.ended = True
                    break
                answer = self._answer(event)
                if answer is None:
                    if self.done:
                        break
                    continue
                for choice in answer.choices or ():
                    # Some engines send "" in place of null.
                    (self._ended if choice.finish_reason else self._begun).add(choice.index)
                batch.append(Piece(event.data, answer, event.raw))
        except EventTooLarge as error:
            self._fail(UpstreamError(f"the engine's stream is unusable: {error}"), batch)
        except GatewayError as error:
            self._fail(error, batch)
        return batch

    def last(self) -> Batch:
        """Return the pieces of a last event that has no line end. Call this if the bytes end before `ended` is True.

        Raises what `feed` raises.
        """
        rest = self._reader.rest
        self._check_stray(rest)
        if not rest.strip():
            return []
        try:
            batch = self.feed(b"\n\n")
        except UpstreamError as error:
            if error.message != _NOT_JSON:
                raise
            raise _broke_off(rest) from error
        if not (batch or self.done or rest.lstrip().startswith(b":")):
            raise _broke_off(rest)
        self._note("last_line_end")
        return batch

    def finish(self, choices: int) -> None:
        """Check the answer at the end of the stream. Raises UpstreamError if it is incomplete, or the error kept by `feed`.

        `choices` is the number of choices in the request. An engine may send fewer choices, but then it has to send
        `[DONE]`.
        """
        if self._failure is not None:
            raise self._failure
        if self._says_why:
            whole = bool(self._ended) and self._begun <= self._ended
            if whole and (self.done or len(self._ended) >= choices):
                return
        elif self.done and (self._begun or self._ended):
            return
        error = UpstreamError("the engine's stream ended before its answer was complete")
        error.cause = f"{error.message}: {self._lacking(choices)}"
        raise error

    def _answer(self, event: Event) -> Answer | None:
        """Return the answer in an event, or None for an event without content."""
        data = event.data
        assert data is not None
        try:
            answer = _ANSWER.decode(data)
            check_utf8(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if self._carries_nothing(event, data):
                return None
            if event.name == b"error":
                raise self._judged(None, explanation(data)) from None
            answer = _read_odd(data, self._note, self._judged)
        if answer.error is not None:
            _check_error(answer, self._note, self._judged)
        if answer.choices is None or event.name:
            self._check_other(event, data, answer)
        return answer

    def _carries_nothing(self, event: Event, data: bytes) -> bool:
        """Return whether data that is no answer is harmless: `[DONE]` with spaces, empty data, or a keep-alive event."""
        text = data.strip()
        if text == b"[DONE]":
            self.done = self.ended = True
            self._note("done")
            return True
        if not text or event.name.lower() in _KEEP_ALIVES:
            self._note("empty_event" if not text else "ping")
            return True
        return False

    def _check_other(self, event: Event, data: bytes, answer: Answer) -> None:
        """Check an event that has a name or no choices. Raises an error if the event reports one in another form."""
        is_answer = answer.choices is not None or answer.usage is not None
        if event.name == b"error" or (not is_answer and is_error(decoded(data))):
            raise self._judged(None, explanation(data))
        if event.name not in (b"", b"message"):
            self._note("ping" if event.name.lower() in _KEEP_ALIVES else "named_event")

    def _put_aside(self, event: Event) -> None:
        """Keep lines that are not events, because an engine may send a JSON body that says why it does not stream."""
        if (
            not (self._begun or self._ended or event.raw.startswith(b":"))
            and len(self._stray) < MAX_ERROR_BYTES
        ):
            self._stray += event.raw

    def _check_stray(self, rest: bytes) -> None:
        """Raise the error for a JSON body that the engine sent in place of a stream."""
        body = (self._stray + rest).lstrip()
        if self._begun or self._ended or body[:1] not in (b"{", b"["):
            return
        value = decoded(body)
        if is_error(value):
            raise self._judged(None, explanation(body))
        raise _unreadable("the engine sent a JSON body in place of a stream", body)

    def _fail(self, error: GatewayError, batch: Batch) -> None:
        if not batch:
            raise error
        self._failure, self.ended = error, True

    def _note(self, kind: str) -> None:
        if kind not in self._noted:
            self._noted |= {kind}
            self._count(kind)

    def _lacking(self, choices: int) -> str:
        if not self._says_why:
            return (
                "neither [DONE] nor a choice arrived"
                if not self._begun | self._ended
                else "[DONE] is missing"
            )
        if open_ones := self._begun - self._ended:
            return f"choice {min(open_ones)} has no finish_reason"
        if not self._ended:
            said = (self._stray[:_QUOTED] or b"nothing").decode(errors="replace")
            return f"it has no choices, only {said!r}"
        return f"{len(self._ended)} of {choices} choices arrived, and [DONE] is missing"


def _broke_off(rest: bytes) -> UpstreamError:
    return _unreadable("the engine's stream broke off inside an event", rest[-_QUOTED:])
