"""The body of a request, whole: what it must be, how large it may be, and whether there is memory for it."""

from __future__ import annotations

from io import BytesIO

from starlette.types import Receive, Scope

from tidegate.budget import Room
from tidegate.errors import BadRequest, Overloaded, PayloadTooLarge, UnsupportedMediaType
from tidegate.http.edge.protocol import REFUSED

_JSON = b"application/json"


async def read_body(
    scope: Scope, headers: dict[bytes, bytes], receive: Receive, limit_bytes: int, room: Room
) -> bytes:
    """All of the body, in bytes that `room` holds for it.

    Raises UnsupportedMediaType, PayloadTooLarge, Overloaded where there is no room, and what the connection says of a body
    that did not come.
    """
    _check_kind(headers)
    length = headers.get(b"content-length")
    if length is not None:
        # Only looked at: a length is a promise that costs a client nothing, so it keeps no room from others.
        _check_size(int(length), limit_bytes)
        if not room.could_take(int(length)):
            raise _full()
    message = await receive()
    body: bytes = message.get("body", b"")
    _hold(len(body), limit_bytes, room)
    if message.get("more_body"):
        parts = BytesIO()  # it grows in place; a list and a join would hold the body twice
        parts.write(body)
        while message.get("more_body"):
            message = await receive()
            parts.write(message.get("body", b""))
            _hold(parts.tell(), limit_bytes, room)
        body = parts.getvalue()
    if message["type"] == "http.disconnect":
        raise scope.get(REFUSED) or BadRequest("The body is not whole")
    return body


def _check_kind(headers: dict[bytes, bytes]) -> None:
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
