"""The answer of an engine: pieces in batches, and the fields that the gateway reads. Structs, not behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec


# gc=False: these structs are created thousands of times a second and are never part of a cycle. Garbage collection of them
# took 4 % of the CPU time of 300 streams.
class Usage(msgspec.Struct, frozen=True, gc=False):
    """The token counts of one call, as reported by the engine."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Delta(msgspec.Struct, gc=False):
    """The part of a choice that has the text: the `delta` of a stream or the `message` of a whole answer.

    In a whole answer over 64 KiB, long values stay unparsed, as a `msgspec.Raw`.
    """

    content: Any = None
    tool_calls: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    function_call: Any = None


class Choice(msgspec.Struct, gc=False):
    """One alternative in an answer or in a streamed event."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    def has_content(self) -> bool:
        """Return whether there is any text, reasoning, refusal or tool call."""
        part = self.delta or self.message
        if part is None:
            return bool(self.text)
        return bool(
            part.content
            or part.tool_calls
            or part.reasoning_content
            or part.reasoning
            or part.refusal
            or part.function_call
        )


class TokenCounts(msgspec.Struct, gc=False):
    """An engine's `usage` object. Engines send null, leave fields out, and write whole numbers as `10.0`."""

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    prompt_tokens_details: PromptDetails | None = None


class PromptDetails(msgspec.Struct, gc=False):
    """How many of the prompt's tokens came from the engine's cache."""

    cached_tokens: int | float | None = None


class Answer(msgspec.Struct, gc=False):
    """The fields that the gateway reads from an engine's JSON, be it a whole reply or one streamed event."""

    choices: list[Choice] | None = None
    usage: TokenCounts | None = None
    error: Any = None

    def read_usage(self) -> Usage | None:
        """Return the token counts, or None if the engine sent none."""
        counts = self.usage
        if counts is None:
            return None
        details = counts.prompt_tokens_details
        return Usage(
            prompt_tokens=_tokens(counts.prompt_tokens),
            completion_tokens=_tokens(counts.completion_tokens),
            cached_tokens=_tokens(details.cached_tokens) if details else 0,
        )


# A limit above the tokens of any real call. Metrics are floats, and sums of larger counts could be inexact or infinite.
_MAX_TOKENS = 2**53


def _tokens(count: float | None) -> int:
    if not count:
        return 0
    return int(count) if 0 < count < _MAX_TOKENS else max(0, min(int(count), _MAX_TOKENS))


class Piece(msgspec.Struct, gc=False):
    """One unit of an answer: a streamed event, or the whole body of a reply that is not streamed.

    `data` is the engine's JSON, byte for byte. `event` has the bytes of the whole server-sent event, so that an unchanged
    piece is sent as it arrived. A piece that the gateway made or changed has no `event` and is encoded when it is sent.
    """

    data: bytes
    answer: Answer
    event: bytes | None = None


# The pieces that arrived in one read. They are passed on together and sent in one write.
Batch = list[Piece]


class Reply(msgspec.Struct):
    """An answer to a call, as batches of pieces. `http` streams or joins them, as the call asked.

    The iterator ends only if the answer is complete; otherwise it raises. `media_type` is the media type of an answer that
    is not streamed.
    """

    pieces: AsyncIterator[Batch]
    headers: list[tuple[bytes, bytes]] = []
    media_type: bytes = b"application/json"
