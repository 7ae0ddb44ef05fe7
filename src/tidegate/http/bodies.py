"""Reads the whole body of a request, and checks its type, its size, and whether there is memory for it."""

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
    """All of the body of a call, in bytes that the budget holds for it until the call's exit.

    Raises UnsupportedMediaType, PayloadTooLarge, Overloaded where there is no room, and what the connection says of a body
    that did not come.
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


async def _read_on(
    message: Message | None, scope: Scope, receive: Receive, call: Call, budget: ByteBudget
) -> bytes:
    """A body that is large, or comes in parts."""
    room, limit_bytes = budget.room(), call.policy.max_body_bytes
    call.exit.push(lambda _: room.release())
    # Checked but not reserved: a client can announce any length for free, and must not block others with it.
    if not room.could_take(int(call.head.headers.get(b"content-length", b"0"))):
        raise _full()
    parts = BytesIO()  # it grows in place; a list and a join would hold the body twice
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
    return refused or BadRequest("The body is not whole")


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
    return Overloaded("The bodies of other requests take up the memory there is for them", retry_after_s=1)
