"""What tests of the HTTP side say to a gateway in front of a scripted engine, and how they read what it answers."""

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
"""What the engine says where no marker says otherwise."""
NEEDED: dict[str, dict[str, bytes]] = {
    CHAT: {"model": b'"m"', "messages": b'[{"role": "user", "content": "hi"}]'},
    COMPLETIONS: {"model": b'"m"', "prompt": b'"once"'},
    EMBEDDINGS: {"model": b'"m"', "input": b'"text"'},
}
"""The fields without which no request is one, as unparsed JSON values."""
STREAM_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
"""The shortest whole answer that is streamed."""


def chat(marker: str = "", **more: Any) -> bytes:
    """The body of a chat request that tells the engine what to do."""
    text = f"[[scripted {marker}]]"
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def stream(marker: str = "", **more: Any) -> bytes:
    """The same, streamed."""
    return chat(marker, stream=True, **more)


def post(gateway: Running, body: bytes, endpoint: str = CHAT, **headers: str) -> Answer:
    """Sends a body; underlines in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(f"{gateway.base_url}/{endpoint}", body, named)


def data_of(body: bytes) -> list[bytes]:
    """The data of each event; fails where the last one is cut."""
    reader = SseReader()
    events = reader.feed(body)
    assert reader.rest == b""
    return [event.data for event in events if event.data is not None]


def said(body: bytes) -> str:
    """The text of a whole stream; fails unless it ends as it must."""
    *events, done = data_of(body)
    assert done == b"[DONE]"
    return "".join(json.loads(event)["choices"][0]["delta"].get("content", "") for event in events)


def body_of(fields: dict[str, bytes]) -> bytes:
    """A JSON object of unparsed values."""
    return b"{" + b", ".join(b'"%b": %b' % (name.encode(), value) for name, value in fields.items()) + b"}"
