"""What an engine answers: pieces in batches, and what the gateway reads of them. Structs, not behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec


# gc=False: created thousands of times a second and never part of a cycle. Walking them took 4 % of the CPU of 300 streams.
class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call as the engine reported them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Delta(msgspec.Struct, gc=False):
    """The part of a choice that carries text: a stream's `delta` or a whole `message`.

    Of a whole answer over 64 KiB, parts that are long stay unparsed: they are a `msgspec.Raw`.
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
        """Whether a reader sees something new: text, reasoning, a refusal or a tool call."""
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
    """Where the prompt's tokens came from."""

    cached_tokens: int | float | None = None


class Answer(msgspec.Struct, gc=False):
    """What the gateway reads of an engine's JSON, of a whole reply and of one streamed event alike."""

    choices: list[Choice] | None = None
    usage: TokenCounts | None = None
    error: Any = None

    def read_usage(self) -> Usage | None:
        """The token counts, or None where the engine sent none."""
        counts = self.usage
        if counts is None:
            return None
        details = counts.prompt_tokens_details
        return Usage(
            prompt_tokens=_tokens(counts.prompt_tokens),
            completion_tokens=_tokens(counts.completion_tokens),
            cached_tokens=_tokens(details.cached_tokens) if details else 0,
        )


# More than any call has, and so few that sums of them stay numbers: metrics are floats.
_MAX_TOKENS = 2**53


def _tokens(count: float | None) -> int:
    if not count:
        return 0
    return int(count) if 0 < count < _MAX_TOKENS else max(0, min(int(count), _MAX_TOKENS))


class Piece(msgspec.Struct, gc=False):
    """One unit of an answer: a streamed event, or the whole body of a reply that is not streamed.

    `data` is the engine's JSON, byte for byte. `event` holds the server-sent event that carried it, framing included, so
    that a piece nobody changed leaves as it came; a piece made or changed here has none and is framed on the way out.
    """

    data: bytes
    answer: Answer
    event: bytes | None = None


# The pieces that arrived in one read: they travel together and leave in one write.
Batch = list[Piece]


class Reply(msgspec.Struct):
    """An answer on its way out: batches of pieces, to be streamed or joined as the call asked.

    The iterator ends when the answer is complete and raises when it is not; there is no third way. `media_type` is
    that of an answer that is not streamed.
    """

    pieces: AsyncIterator[Batch]
    headers: list[tuple[bytes, bytes]] = []
    media_type: bytes = b"application/json"
