"""Continues answers that break off: another engine is asked for the rest, and the client sees one stream.

Only for models with `continues: true`, and for plain text: the new engine gets the text so far as the beginning of its own
answer (`continue_final_message`, as vLLM and SGLang call it), which says nothing of tool calls, of a grammar that is half
done, or of log probabilities. Everything else ends in an error event, as without this stage.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

import msgspec

from tidegate.call import LENGTHS, Call
from tidegate.errors import Again, BadRequest, GatewayError
from tidegate.stages.failover import Failover
from tidegate.stages.round import Round
from tidegate.stages.seam import Seam, Unclear
from tidegate.types import (
    ANSWER,
    CONTINUED,
    FAILED,
    Answer,
    Batch,
    ChatRequest,
    Choice,
    Delta,
    Message,
    Messages,
    Piece,
    Spent,
)

_NAMES = """
    model messages stream stream_options n max_tokens max_completion_tokens min_tokens temperature top_p top_k min_p seed
    stop stop_token_ids presence_penalty frequency_penalty repetition_penalty logit_bias ignore_eos user metadata store
    service_tier safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort verbosity
    skip_special_tokens spaces_between_special_tokens
"""
_PLAIN = frozenset(_NAMES.split())
"""The fields that mean the same for the rest of an answer as for the whole. Calls with others are not continued."""
_NOTHING = frozenset({b"null", b"[]", b"{}", b"false"})
_TRUE, _FALSE = msgspec.Raw(b"true"), msgspec.Raw(b"false")
_AT_LEAST = "min_tokens"


class Rounds(Protocol):
    """The rounds of a call: they yield its answer. After an error, the next batch is that of a new round.

    `purpose` is that of the engine call of the next round, and `round` the last one.
    """

    failover: Failover
    purpose: str
    round: Round | None

    async def __anext__(self) -> Batch:
        """Return the next batch of the answer."""
        ...


def may_continue(call: Call) -> bool:
    """Return whether the answer to a call could be continued: streamed text, in one choice, not bound to a form."""
    if (
        not call.stream
        or call.choices != 1
        or call.purpose != ANSWER
        or type(call.request) is not ChatRequest
    ):
        return False
    return all(name in _PLAIN or _is_nothing(raw) for name, raw in call.fields.items())


def _is_nothing(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) <= 8 and bytes(view) in _NOTHING


class Continued:
    """The answer of some rounds, continued after a break. It is an iterator of batches."""

    def __init__(self, call: Call, rounds: Rounds) -> None:
        self._call = call
        self._rounds = rounds
        self._fields, self._messages = call.fields, call.messages
        self._first = b""
        # The texts of events. Each has one token or more, and exactly one from engines that send each token at once.
        self._shown: list[str] = []
        self._shown_before = 0  # how many of them are of earlier rounds
        self._has_reasoning = False
        self._is_open = True  # whether more text may follow what was shown
        self._is_over = False
        self._seam: Seam | None = None
        self._broke: GatewayError | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """Return the next batch. Raises the error of the break if nobody can go on."""
        while not self._is_over:
            try:
                batch = await anext(self._rounds)
            except GatewayError as error:
                # As in the rounds, no frame of a traceback may have the raised error as a local variable.
                batch = self._after_break(error)
                if batch is None:
                    raise self._told(error) from error.__cause__
            else:
                if self._seam is not None:
                    batch = self._joined(batch, self._seam)
                    if batch is None:
                        raise self._first_error()
                self._note(batch)
            if batch:
                return batch
        raise StopAsyncIteration

    # -- what was shown ------------------------------------------------------------------------------------------------

    def _note(self, batch: Batch) -> None:
        """Note what the client gets."""
        for piece in batch:
            if not self._first and piece.answer.choices:
                self._first = piece.data
            for choice in piece.answer.choices or ():
                if choice.delta is not None:
                    self._note_delta(choice.delta)
                if choice.finish_reason or choice.index:
                    self._is_open = False

    def _note_delta(self, delta: Delta) -> None:
        text = delta.content
        if delta.reasoning or delta.reasoning_content:
            self._has_reasoning = True
            self._is_open = self._is_open and not self._shown
        if delta.tool_calls or delta.function_call or delta.refusal or not isinstance(text, str | None):
            self._is_open = False
        elif text:
            self._shown.append(text)

    def _joined(self, batch: Batch, seam: Seam) -> Batch | None:
        """Return the pieces of a continuation as parts of the first answer, or None if that is not possible."""
        one = self._rounds.round
        assert one is not None, "it has yielded the batch"
        asked, spent = one.permit.deployment, one.spent
        try:
            joined = seam.join(batch, asked.engine_name if asked.shown else "")
        except Unclear:
            spent.purpose = FAILED
            return None
        if seam.rest.echo_chars:
            # The caller does not pay for it.
            spent.received_tokens = max(0, spent.received_tokens - seam.rest.echo_chars // 4)
            seam.rest.echo_chars = 0
        return joined

    # -- after a break -------------------------------------------------------------------------------------------------

    def _after_break(self, error: GatewayError) -> Batch | None:
        """Take in an error, and prepare a continuation. Return what the client gets now, or None if nothing can go on."""
        one = self._rounds.round
        if one is None or not one.spent.first_byte_at or error.again is Again.NO or not self._can_go_on():
            return None
        tokens = self._tokens_sent()
        fields = _without_length(self._fields, tokens)
        if fields is None:
            self._is_over = True
            return [self._end()]
        asked = one.permit.deployment
        if not self._rounds.failover.resumes(error, asked):
            return None
        # Without its traceback, whose frames would keep this answer until the next garbage collection.
        self._broke = self._broke or error.with_traceback(None)
        if asked.health is not None:
            asked.health.continuations += 1
        self._ask_for_rest(fields, one.spent, tokens)
        return []

    def _can_go_on(self) -> bool:
        """Whether the rest of the answer can be asked for. Reasoning is not sent back, so it must have ended."""
        if (
            not self._first
            or not self._is_open
            or (self._messages and self._messages[-1].role == "assistant")
        ):
            return False
        return not self._has_reasoning or bool("".join(self._shown).strip())

    def _tokens_sent(self) -> int:
        """Return the number of tokens that the next engine gets as the beginning: without the white space at the end."""
        count = len(self._shown)
        while count and self._shown[count - 1].isspace():
            count -= 1
        return count

    def _ask_for_rest(self, fields: dict[str, msgspec.Raw], spent: Spent, tokens: int) -> None:
        """Prepare the next round: the call asks for the rest of the answer, or for a new one if it had no text yet."""
        call, text = self._call, "".join(self._shown)
        sent = text.rstrip()
        if sent:
            fields |= {
                "messages": _with_answer(fields["messages"], sent),
                "continue_final_message": _TRUE,
                "add_generation_prompt": _FALSE,
            }
            self._rounds.purpose = CONTINUED
            spent.received_tokens = max(spent.received_tokens, len(self._shown) - self._shown_before)
        else:
            spent.purpose = FAILED
        self._shown_before = len(self._shown)
        call.fields, call.messages = fields, Messages(fields["messages"])
        self._seam = Seam(self._first, sent, text[len(sent) :], tokens, len(text))

    def _told(self, error: GatewayError) -> GatewayError:
        """The error for the client. It is not told that an engine refuses fields which it has not sent."""
        return self._first_error() if self._broke is not None and isinstance(error, BadRequest) else error

    def _first_error(self) -> GatewayError:
        """Return the error of the first break, to be raised. It is not kept: its traceback will have this answer."""
        broke, self._broke = self._broke, None
        assert broke is not None, "there was a break"
        return broke

    def _end(self) -> Piece:
        """Return the end of an answer that has as many tokens as it may have."""
        choice = Choice(0, Delta(), finish_reason="length")
        return Piece(Seam(self._first).encoded({}, {"index": 0}, choice), Answer([choice]))


def _without_length(fields: dict[str, msgspec.Raw], tokens: int) -> dict[str, msgspec.Raw] | None:
    """Return the fields for an answer that has so many tokens already. None if it may not have more."""
    found = dict(fields)
    for name in (*LENGTHS, _AT_LEAST):
        most = _NUMBER.decode(fields[name]) if name in fields else None
        if not isinstance(most, int) or most <= 0:
            continue  # it does not limit the length
        left = most - tokens
        if left <= 0 and name != _AT_LEAST:
            return None
        found[name] = msgspec.Raw(b"%d" % max(0, left))
    return found


def _with_answer(messages: msgspec.Raw, text: str) -> msgspec.Raw:
    """Return the JSON of the messages and of an answer to them. The messages keep their bytes."""
    before = bytes(messages).rstrip()[:-1]
    return msgspec.Raw(b"%b,%b]" % (before, bytes(Message.of("assistant", text).raw)))


_NUMBER: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
