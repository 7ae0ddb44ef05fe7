"""Records of calls that have ended, for tests of what is told of them."""

from __future__ import annotations

from typing import Any

from tidegate.types import Endpoint, Record, Spent, Usage


def a_call(**values: Any) -> Record:
    """A finished call: sent after 1 ms, first byte after 51 ms, answered after 51.2 ms."""
    told: dict[str, Any] = {
        "id": "x",
        "request_id": "x",
        "endpoint": Endpoint.CHAT,
        "purpose": "answer",
        "policy": "default",
        "key": "",
        "model": "gpt-4o",
        "route": "gpt-*",
        "engine": "",
        "outcome": "ok",
        "stream": True,
        "arrived_at": 100.0,
        "received_at": 100.0,
        "ended_at": 100.2,
        "answered_at": 100.0512,
        "first_content_at": 100.06,
        "last_content_at": 100.16,
        "content_events": 11,
        "spent": (Spent("answer", "gpu", "gpt-4o", 100.001, 100.051, 100.17, Usage(7, 11, 5)),),
    }
    return Record(**told | values)
