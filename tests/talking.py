"""Requests to a gateway in front of a scripted engine, and functions that read its answers, for tests of the HTTP side."""

from __future__ import annotations

import json
from typing import Any

from serving import Answer, Running, ask

from tidegate.engines.scripted.script import Script
from tidegate.kernel.sse import SseReader

CHAT, COMPLETIONS, EMBEDDINGS = "chat/completions", "completions", "embeddings"
ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS)
TEXT = "The tide turns."
SCRIPT = Script(text=TEXT, tokens=3)
"""The engine's script, unless a marker changes it."""
NEEDED: dict[str, dict[str, bytes]] = {
    CHAT: {"model": b'"m"', "messages": b'[{"role": "user", "content": "hi"}]'},
    COMPLETIONS: {"model": b'"m"', "prompt": b'"once"'},
    EMBEDDINGS: {"model": b'"m"', "input": b'"text"'},
}
"""The required fields of each endpoint, as unparsed JSON values."""
STREAM_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
"""The shortest complete streamed answer."""


def chat(marker: str = "", **more: Any) -> bytes:
    """Return the body of a chat request whose marker tells the scripted engine what to do."""
    text = f"[[scripted {marker}]]"
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def stream(marker: str = "", **more: Any) -> bytes:
    """Return the same body with `stream: true`."""
    return chat(marker, stream=True, **more)


def post(gateway: Running, body: bytes, endpoint: str = CHAT, **headers: str) -> Answer:
    """Send a body. Underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(f"{gateway.base_url}/{endpoint}", body, named)


def data_of(body: bytes) -> list[bytes]:
    """Return the data of each event. Fails if the last event is cut."""
    reader = SseReader()
    events = reader.feed(body)
    assert reader.rest == b""
    return [event.data for event in events if event.data is not None]


def said(body: bytes) -> str:
    """Return the text of a complete stream. Fails unless the stream ends with [DONE]."""
    *events, done = data_of(body)
    assert done == b"[DONE]"
    return "".join(json.loads(event)["choices"][0]["delta"].get("content", "") for event in events)


def body_of(fields: dict[str, bytes]) -> bytes:
    """Return a JSON object of unparsed values."""
    return b"{" + b", ".join(b'"%b": %b' % (name.encode(), value) for name, value in fields.items()) + b"}"
