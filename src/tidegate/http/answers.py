"""Answers of routes that make no call: JSON, errors, and the headers that every answer has."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import msgspec
from starlette.responses import Response
from starlette.types import Message, Scope, Send

from tidegate.errors import RETRY_AFTER_S, GatewayError
from tidegate.http.edge.cycle import request_id_of


def as_json(content: object, *, status: int = 200, more: Mapping[str, str] | None = None) -> Response:
    """A JSON response, with `more` headers. A 503 says when to come back."""
    headers = dict(more or {}) | ({"retry-after": f"{RETRY_AFTER_S:g}"} if status == 503 else {})
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def as_error(error: GatewayError, more: Mapping[str, str] | None = None) -> Response:
    """An error in OpenAI's shape, with `more` headers."""
    headers = {name.decode(): value.decode() for name, value in error.headers()} | dict(more or {})
    return Response(error.body(), error.status, headers, media_type="application/json")


def identified(scope: Scope, send: Send) -> Send:
    """Give an answer the headers that every answer has: the request's id and its time, milliseconds."""
    request_id = request_id_of(dict(scope["headers"])) or b"req_" + os.urandom(12).hex().encode()
    began = time.monotonic()

    async def send_identified(message: Message) -> None:
        if message["type"] == "http.response.start":
            timing = b"total;dur=%.3f" % ((time.monotonic() - began) * 1000)
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", request_id),
                (b"server-timing", timing),
            ]
        await send(message)

    return send_identified
