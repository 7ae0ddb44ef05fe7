"""The OpenAI requests as they arrive, checked and turned into Calls.

A body is read twice, both times in C: once into names and unparsed values, which is what travels on, and once into the
types below, which is how a wrong value is found and named. Fields that only the engine reads are typed here so that a
mistake in them is told at once; their exact bytes travel in `Call.fields`. A large body is read in steps: see `large.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.http.apis.repeats import check_repeated_keys
from tidegate.http.edge.nesting import check_nesting
from tidegate.types import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Endpoint,
    Generation,
    Messages,
    Request,
)

FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
TYPES: Mapping[Endpoint, type[Request]] = MappingProxyType(
    {
        Endpoint.CHAT: ChatRequest,
        Endpoint.COMPLETIONS: CompletionRequest,
        Endpoint.EMBEDDINGS: EmbeddingRequest,
    }
)
REQUESTS: Mapping[Endpoint, msgspec.json.Decoder[Request]] = {
    endpoint: msgspec.json.Decoder(kind) for endpoint, kind in TYPES.items()
}
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a body raises; `refusal` says it to the client."""


def read(body: bytes, call: Call, *, max_depth: int = 64, max_containers: int = 100_000) -> None:
    """Fill a call from a request body. Raises BadRequest that names the field, or the limit: see `nesting`."""
    check_nesting(body, max_depth=max_depth, max_containers=max_containers)
    try:
        call.fields = FIELDS.decode(body)
        if not body.isascii():
            body.decode()
        request = REQUESTS[call.endpoint].decode(body)
    except UNREADABLE as error:
        raise refusal(error) from error
    if type(request) is ChatRequest:
        raw = call.fields["messages"]
        check_any(request.messages)
        check_repeated_keys(bytes(raw), request.messages)
        call.messages = Messages(raw)
    take(call, request, count_prompts(request.prompt) if type(request) is CompletionRequest else 1)


def check_any(messages: object) -> None:
    """Raises BadRequest where there are no messages."""
    if not messages:
        raise BadRequest("The field 'messages' is empty", param="messages")


def count_prompts(prompt: str | list[Any]) -> int:
    """One list of tokens is one prompt; a list of texts, or of such lists, is as many. Each gets `n` choices."""
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1


def take(call: Call, request: Request, prompts: int = 1) -> None:
    """Set what the gateway itself needs of a request with so many prompts. Raises BadRequest."""
    call.request, call.model = request, request.model
    if isinstance(request, Generation):
        _take_generation(call, request, prompts)
    if not call.model:
        raise BadRequest("The field 'model' is empty", param="model")


def _take_generation(call: Call, request: Generation, prompts: int) -> None:
    call.stream = bool(request.stream)
    if request.n is not None:
        if request.n < 1:
            raise BadRequest("The field 'n' must be 1 or more", param="n")
        call.choices = request.n
    call.choices *= prompts
    if request.stream_options is not None and not call.stream:
        raise BadRequest("The field 'stream_options' goes with 'stream': true only", param="stream_options")


def set_max_tokens(call: Call, tokens: int) -> None:
    """Limit the length of the answer where the request does not."""
    request: Any = call.request
    # Null says as little as a field that is left out.
    if isinstance(request, Generation) and all(getattr(request, name, None) is None for name in _LENGTHS):
        call.fields = {**call.fields, "max_tokens": msgspec.Raw(b"%d" % tokens)}


_LENGTHS = ("max_tokens", "max_completion_tokens")
_AT = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")


def refusal(error: Exception) -> BadRequest:
    """What a client is told of a body that decoding has failed on with one of `UNREADABLE`."""
    if isinstance(error, msgspec.ValidationError):
        return _wrong_value(str(error))
    if isinstance(error, msgspec.DecodeError):
        # What clients that count characters meet: their last bytes are not part of the body.
        counted = "; 'Content-Length' counts bytes, not characters" if "truncated" in str(error) else ""
        return BadRequest(f"The body is not valid JSON: {error}{counted}")
    if isinstance(error, UnicodeDecodeError):
        return BadRequest("The body is not valid UTF-8")
    return BadRequest("The body is nested too deeply")


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
