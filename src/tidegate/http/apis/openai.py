"""The OpenAI requests as they arrive, checked and turned into Calls.

A body is read twice, both times in C: once into names and unparsed values, which is what travels on, and once into the
types below, which is how a wrong value is found and named. Fields that only the engine reads are typed here so that a
mistake in them is told at once; their exact bytes travel in `Call.fields`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tidegate.errors import BadRequest
from tidegate.http.edge.nesting import check_nesting
from tidegate.types import Call, Endpoint, Exit, Message


class _Body(msgspec.Struct):
    """What all three endpoints share."""

    model: str
    user: str | None = None


class _Generation(_Body):
    """What the two generating endpoints share."""

    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    n: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None


class ChatRequest(_Generation, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None


class CompletionRequest(_Generation, kw_only=True):
    """`POST /v1/completions`."""

    prompt: str | list[Any]
    suffix: str | None = None
    logprobs: int | None = None
    echo: bool | None = None
    best_of: int | None = None


class EmbeddingRequest(_Body, kw_only=True):
    """`POST /v1/embeddings`."""

    input: str | list[Any]
    encoding_format: str | None = None
    dimensions: int | None = None


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CHAT = msgspec.json.Decoder(ChatRequest)
_COMPLETION = msgspec.json.Decoder(CompletionRequest)
_EMBEDDING = msgspec.json.Decoder(EmbeddingRequest)


class Arrival(msgspec.Struct, frozen=True):
    """What is known of a call before its body was read. The meanings are those of `Call`."""

    id: str
    received_at: float
    deadline: float
    onward: list[tuple[bytes, bytes]] = []
    reply_headers: list[tuple[bytes, bytes]] = []
    request_id: str = ""


def parse(
    endpoint: Endpoint, body: bytes, arrival: Arrival, *, max_depth: int = 64, max_containers: int = 100_000
) -> Call:
    """A Call from a request body. Raises BadRequest that names the field, or the limit: see `nesting`."""
    check_nesting(body, max_depth=max_depth, max_containers=max_containers)
    try:
        fields = _FIELDS.decode(body)
        if not body.isascii():
            body.decode()
        call = Call(
            id=arrival.id,
            request_id=arrival.request_id or arrival.id,
            endpoint=endpoint,
            model="",
            fields=fields,
            exit=Exit(),
            received_at=arrival.received_at,
            deadline=arrival.deadline,
            onward=arrival.onward,
            reply_headers=arrival.reply_headers,
        )
        _FILL[endpoint](call, body)
    except msgspec.ValidationError as error:
        raise _wrong_value(str(error)) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not valid UTF-8") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply") from error
    if not call.model:
        raise BadRequest("The field 'model' is empty", param="model")
    return call


def _fill_chat(call: Call, body: bytes) -> None:
    request = _CHAT.decode(body)
    if not request.messages:
        raise BadRequest("The field 'messages' is empty", param="messages")
    call.messages = request.messages
    _fill_generation(call, request)


def _fill_completion(call: Call, body: bytes) -> None:
    _fill_generation(call, _COMPLETION.decode(body))


def _fill_generation(call: Call, request: _Generation) -> None:
    call.model = request.model
    call.stream = bool(request.stream)
    if request.n is not None:
        if request.n < 1:
            raise BadRequest("The field 'n' must be 1 or more", param="n")
        call.choices = request.n
    if request.stream_options is not None and not call.stream:
        raise BadRequest("The field 'stream_options' goes with 'stream': true only", param="stream_options")


def _fill_embedding(call: Call, body: bytes) -> None:
    call.model = _EMBEDDING.decode(body).model


_FILL = {
    Endpoint.CHAT: _fill_chat,
    Endpoint.COMPLETIONS: _fill_completion,
    Endpoint.EMBEDDINGS: _fill_embedding,
}

_AT = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")


def _wrong_value(message: str) -> BadRequest:
    """Msgspec's words with the place as OpenAI writes it: `messages[0].role`."""
    at = _AT.search(message)
    path = at.group(1) if at else ""
    words = _AT.sub("", message)
    if missing := _MISSING.search(message):
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return BadRequest(f"The field '{path}' is missing", param=path)
    if not path:
        return BadRequest(f"The body must be a JSON object: {words}")
    return BadRequest(f"The field '{path}' is wrong: {words}", param=path)
