"""The OpenAI requests as they arrive, checked and turned into Calls.

A body is read twice, both times in C: once into names and unparsed values, which is what travels on, and once into the
types below, which is how a wrong value is found and named. Fields that only the engine reads are typed here so that a
mistake in them is told at once; their exact bytes travel in `Call.fields`.
"""

from __future__ import annotations

import re

import msgspec

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.http.apis.repeats import check_repeated_keys
from tidegate.http.edge.nesting import check_nesting
from tidegate.types import ChatRequest, CompletionRequest, EmbeddingRequest, Endpoint, Generation

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CHAT = msgspec.json.Decoder(ChatRequest)
_COMPLETION = msgspec.json.Decoder(CompletionRequest)
_EMBEDDING = msgspec.json.Decoder(EmbeddingRequest)


def read(body: bytes, call: Call, *, max_depth: int = 64, max_containers: int = 100_000) -> None:
    """Fill a call from a request body. Raises BadRequest that names the field, or the limit: see `nesting`."""
    check_nesting(body, max_depth=max_depth, max_containers=max_containers)
    try:
        call.fields = _FIELDS.decode(body)
        if not body.isascii():
            body.decode()
        _FILL[call.endpoint](call, body)
    except msgspec.ValidationError as error:
        raise _wrong_value(str(error)) from error
    except msgspec.DecodeError as error:
        # What clients that count characters meet: their last bytes are not part of the body.
        counted = "; 'Content-Length' counts bytes, not characters" if "truncated" in str(error) else ""
        raise BadRequest(f"The body is not valid JSON: {error}{counted}") from error
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not valid UTF-8") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply") from error
    if not call.model:
        raise BadRequest("The field 'model' is empty", param="model")


def _fill_chat(call: Call, body: bytes) -> None:
    call.request = request = _CHAT.decode(body)
    if not request.messages:
        raise BadRequest("The field 'messages' is empty", param="messages")
    check_repeated_keys(bytes(call.fields["messages"]), request.messages)
    call.messages = request.messages
    _fill_generation(call, request)


def _fill_completion(call: Call, body: bytes) -> None:
    call.request = request = _COMPLETION.decode(body)
    _fill_generation(call, request)
    # One list of tokens is one prompt; a list of texts or of such lists is as many. Each gets `n` choices.
    prompts = request.prompt
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        call.choices *= len(prompts)


def _fill_generation(call: Call, request: Generation) -> None:
    call.model = request.model
    call.stream = bool(request.stream)
    if request.n is not None:
        if request.n < 1:
            raise BadRequest("The field 'n' must be 1 or more", param="n")
        call.choices = request.n
    if request.stream_options is not None and not call.stream:
        raise BadRequest("The field 'stream_options' goes with 'stream': true only", param="stream_options")


def _fill_embedding(call: Call, body: bytes) -> None:
    call.request = request = _EMBEDDING.decode(body)
    call.model = request.model


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
