"""The types of clients' requests. Decoding a request into its type finds the mistakes in it. Structs, not behaviour.

Fields that only the engine reads are typed too, so the gateway reports a mistake in them at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from tidegate.types.messages import ChatMessage

Length = Annotated[int, msgspec.Meta(le=2**31 - 1)]
"""A number of tokens or of choices. Engines store it in 32 bits."""


class ModelRequest(msgspec.Struct):
    """The fields that all three endpoints share."""

    model: str
    user: str | None = None


class Generation(ModelRequest):
    """The fields that the two generating endpoints share."""

    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    n: Length | None = None
    max_tokens: Length | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None


class ChatRequest(Generation, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage]
    max_completion_tokens: Length | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None


class CompletionRequest(Generation, kw_only=True):
    """`POST /v1/completions`."""

    prompt: str | list[Any]
    suffix: str | None = None
    logprobs: int | None = None
    echo: bool | None = None
    best_of: Length | None = None


class EmbeddingRequest(ModelRequest, kw_only=True):
    """`POST /v1/embeddings`."""

    input: str | list[Any]
    encoding_format: str | None = None
    dimensions: int | None = None


class CheckRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/checks`: texts or messages, an answer to them, or both. `profile` names the rails."""

    input: str | list[str] | None = None
    messages: list[ChatMessage] | None = None
    answer: str | None = None
    profile: str | None = None
    user: str | None = None


class TextPart(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """A text of an input for moderation."""

    text: str


class ImageUrl(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Where an image is: an address, or the image itself as a data URL."""

    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url", forbid_unknown_fields=True):
    """An image of an input for moderation."""

    image_url: ImageUrl


Moderated = str | TextPart | ImagePart


class ModerationRequest(msgspec.Struct, kw_only=True):
    """`POST /v1/moderations`: a text, a list of texts, or the parts of one input. `model` names a profile of rails."""

    input: str | list[Moderated]
    model: str | None = None
    user: str | None = None


Request = ChatRequest | CompletionRequest | EmbeddingRequest | CheckRequest | ModerationRequest
