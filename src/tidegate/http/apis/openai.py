"""Checks OpenAI requests and turns them into Calls.

A body is decoded twice, both times in C. The first time gives field names and unparsed values, which are passed on to the
engine in `Call.fields`, byte for byte. The second time gives the types below, which finds wrong values and their place.
Fields that only the engine reads have types too, so that a mistake in them is reported at once. A large body is read in
steps: see `large.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.http.apis.repeats import check_repeated_keys
from tidegate.http.edge.nesting import check_nesting
from tidegate.kernel.nearest import nearest
from tidegate.types import (
    ChatRequest,
    CheckRequest,
    CompletionRequest,
    EmbeddingRequest,
    Endpoint,
    Generation,
    Messages,
    ModerationRequest,
    Request,
)

FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
TYPES: Mapping[Endpoint, type[Request]] = MappingProxyType(
    {
        Endpoint.CHAT: ChatRequest,
        Endpoint.COMPLETIONS: CompletionRequest,
        Endpoint.EMBEDDINGS: EmbeddingRequest,
        Endpoint.CHECKS: CheckRequest,
        Endpoint.MODERATIONS: ModerationRequest,
    }
)
REQUESTS: Mapping[Endpoint, msgspec.json.Decoder[Request]] = {
    endpoint: msgspec.json.Decoder(kind) for endpoint, kind in TYPES.items()
}
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The exceptions that decoding a body raises. `refusal` turns them into errors for the client."""


def read(body: bytes, call: Call, *, max_depth: int = 64, max_containers: int = 100_000) -> None:
    """Fill a call from a request body. Raises BadRequest that names the wrong field or the limit (see `nesting.py`)."""
    check_nesting(body, max_depth=max_depth, max_containers=max_containers)
    try:
        call.fields = FIELDS.decode(body)
        if not body.isascii():
            body.decode()
        request = REQUESTS[call.endpoint].decode(body)
    except UNREADABLE as error:
        raise refusal(error, call.fields) from error
    if isinstance(request, ChatRequest | CheckRequest) and request.messages is not None:
        raw = call.fields["messages"]
        check_any(request.messages)
        check_repeated_keys(bytes(raw), request.messages)
        call.messages = Messages(raw)
    take(call, request, count_prompts(request.prompt) if type(request) is CompletionRequest else 1)


def check_any(messages: object) -> None:
    """Raise BadRequest if there are no messages."""
    if not messages:
        raise BadRequest("The field 'messages' is empty", param="messages")


def count_prompts(prompt: str | list[Any]) -> int:
    """Return the number of prompts: a list of texts or of token lists has several, a text or one token list is one.

    Each prompt gets `n` choices.
    """
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1


def take(call: Call, request: Request, prompts: int = 1) -> None:
    """Set the fields of a call that the gateway itself needs. `prompts` is the request's number of prompts.

    Raises BadRequest.
    """
    call.request = request
    if isinstance(request, CheckRequest | ModerationRequest):
        return
    call.model = request.model
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
        raise BadRequest(
            "The field 'stream_options' is allowed only with 'stream': true", param="stream_options"
        )


_AT = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")


def refusal(error: Exception, given: Iterable[str] = ()) -> BadRequest:
    """Return the client's error for a body whose decoding raised one of `UNREADABLE`.

    `given` are the names of the body's fields: one of them may be a misspelt name of the field that is missing.
    """
    if isinstance(error, msgspec.ValidationError):
        return _wrong_value(str(error), given)
    if isinstance(error, msgspec.DecodeError):
        # A client that counts characters announces too short a body, and its last bytes are cut off.
        counted = "; 'Content-Length' counts bytes, not characters" if "truncated" in str(error) else ""
        return BadRequest(f"The body is not valid JSON: {error}{counted}")
    if isinstance(error, UnicodeDecodeError):
        return BadRequest("The body is not valid UTF-8")
    return BadRequest("The body is nested too deeply")


def _wrong_value(message: str, given: Iterable[str]) -> BadRequest:
    """Return an error with msgspec's message, and the place in OpenAI's notation, such as `messages[0].role`."""
    at = _AT.search(message)
    path = at.group(1) if at else ""
    words = _AT.sub("", message)
    if missing := _MISSING.search(message):
        misspelt = None if path else nearest(missing.group(1), given)
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        hint = f"; did you misspell it as '{misspelt}'?" if misspelt else ""
        return BadRequest(f"The field '{path}' is missing{hint}", param=path)
    if not path:
        return BadRequest(f"The body must be a JSON object: {words}")
    return BadRequest(f"The field '{path}' is wrong: {words}", param=path)
