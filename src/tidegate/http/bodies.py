"""Reads the whole body of a request, and checks its type, its size, and that there is memory for it."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from starlette.types import Message, Receive, Scope

from tidegate.budget import UNCOUNTED_BYTES, ByteBudget, Room
from tidegate.call import Call
from tidegate.errors import BadRequest, GatewayError, Overloaded, PayloadTooLarge, UnsupportedMediaType
from tidegate.http.edge.connection import REFUSED

_JSON = b"application/json"


async def read_body(scope: Scope, receive: Receive, call: Call, budget: ByteBudget) -> bytes:
    """Return the whole body of a call. Its bytes are reserved in `budget` until the call's exit.

    Raises UnsupportedMediaType, PayloadTooLarge, and Overloaded if the budget is used up. For an incomplete body, raises
    the error with which the connection refused the rest, or BadRequest.
    """
    headers, limit_bytes = call.head.headers, call.policy.max_body_bytes
    _check_kind(headers)
    length = headers.get(b"content-length")
    if length is not None:
        _check_size(int(length), limit_bytes)
    message = await receive() if length is not None and int(length) <= UNCOUNTED_BYTES else None
    if message is None or message.get("more_body"):
        return await _read_on(message, scope, receive, call, budget)
    if message["type"] == "http.disconnect":
        raise _cut_off(scope)
    body: bytes = message.get("body", b"")
    _check_size(len(body), limit_bytes)
    return body


async def read_small_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """Return the whole body of a request that makes no call, which may be empty. Raises what `read_body` raises."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length")
    if length is not None:
        _check_size(int(length), limit_bytes)
    parts = BytesIO()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _cut_off(scope)
        parts.write(message.get("body", b""))
        _check_size(parts.tell(), limit_bytes)
        if not message.get("more_body"):
            break
    if parts.tell():
        _check_kind(headers)
    return parts.getvalue()


async def _read_on(
    message: Message | None, scope: Scope, receive: Receive, call: Call, budget: ByteBudget
) -> bytes:
    """Read a body that is large or arrives in parts. `message` is its first part, if that has been received already."""
    room, limit_bytes = budget.room(), call.policy.max_body_bytes
    call.exit.push(lambda _: room.release())
    # The announced length is checked but not reserved: a client could otherwise block others by announcing a large body.
    if not room.could_take(int(call.head.headers.get(b"content-length", b"0"))):
        raise _full()
    parts = BytesIO()  # grows in place; joining a list would hold the body twice
    while True:
        message = message or await receive()
        parts.write(message.get("body", b""))
        _hold(parts.tell(), limit_bytes, room)
        if not message.get("more_body"):
            break
        message = None
    if message["type"] == "http.disconnect":
        raise _cut_off(scope)
    return parts.getvalue()


def _cut_off(scope: Scope) -> GatewayError:
    refused: GatewayError | None = scope.get(REFUSED)
    return refused or BadRequest("The body is incomplete")


def _check_kind(headers: Mapping[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type", b"")
    if media_type != _JSON and media_type.partition(b";")[0].strip().lower() != _JSON:
        raise UnsupportedMediaType("Send the header 'Content-Type: application/json'")
    if b"content-encoding" in headers and headers[b"content-encoding"].strip().lower() != b"identity":
        raise UnsupportedMediaType("Send the body uncompressed, without 'Content-Encoding'")


def _check_size(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise PayloadTooLarge(f"The body is larger than {limit_bytes} bytes")


def _hold(size_bytes: int, limit_bytes: int, room: Room) -> None:
    _check_size(size_bytes, limit_bytes)
    if not room.try_take(size_bytes):
        raise _full()


def _full() -> Overloaded:
    return Overloaded("The memory for request bodies is used up by other requests", retry_after_s=1)
