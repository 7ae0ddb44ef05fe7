"""A scripted guard: an HTTP server that can be any guard model, judge or remote guard, and that fails in any way.

with guard(answers(chat("safe"))) as server: ...
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import log
from typing import Any

from canned import Heard, requests, whole
from serving import PATIENCE_S

WAIT = object()
"""The server says nothing more until it closes."""
PAUSE = object()
"""The server waits for a moment."""
PAUSE_S = 0.004
Part = Any
"""Bytes to send, `PAUSE` or `WAIT`."""
Says = Callable[[Heard], Sequence[Part]]
"""What the server does for a request."""


class Guard(socketserver.ThreadingTCPServer):
    """The server. `says` may be changed between requests; `heard` has every POST."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, says: Says) -> None:
        self.says = says
        self.heard: list[Heard] = []
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"

    @property
    def bodies(self) -> list[Any]:
        """The JSON of every request."""
        return [json.loads(one.body) for one in self.heard]


class _Connection(socketserver.StreamRequestHandler):
    server: Guard

    def handle(self) -> None:
        with suppress(ConnectionError):
            for heard in requests(self.rfile):
                if heard.line.startswith(b"GET"):  # the gateway's probes
                    self.connection.sendall(whole(b"{}"))
                    continue
                self.server.heard.append(heard)
                for part in self.server.says(heard):
                    if part is WAIT:
                        self.server.closing.wait(PATIENCE_S)
                        return
                    if part is PAUSE:
                        self.server.closing.wait(PAUSE_S)
                    else:
                        self.connection.sendall(part)


@contextmanager
def guard(says: Says) -> Iterator[Guard]:
    """Run a guard that answers every POST by `says`."""
    with Guard(says) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="guard", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join(PATIENCE_S)


# --------------------------------------------------------------------------------------------------- what guards say


def answers(body: Any, *, status: int = 200) -> Says:
    """Always answer with this JSON, or with these bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: [whole(data, status=b"%d X" % status)]


def in_turn(*says: Says) -> Says:
    """Do one thing after the other, the last one for all further requests."""
    left = list(says)

    def say(heard: Heard) -> Sequence[Part]:
        now = left.pop(0) if len(left) > 1 else left[0]
        return now(heard)

    return say


def silent(_: Heard) -> Sequence[Part]:
    """Take the request and never answer."""
    return [WAIT]


def half(body: Any) -> Says:
    """Send the head and half of the body, and nothing more."""
    data = whole(json.dumps(body).encode())
    return lambda _: [data[: len(data) - 10], WAIT]


def slowly(body: Any) -> Says:
    """Send the answer in many parts, with a pause before each."""
    data = whole(json.dumps(body).encode())
    size = len(data) // 8 + 1
    return lambda _: [part for at in range(0, len(data), size) for part in (PAUSE, data[at : at + size])]


def chat(
    text: str | None, tops: Sequence[Mapping[str, float]] | None = None, *, finish: str = "stop"
) -> dict[str, Any]:
    """A chat completion. `tops` has the probabilities at each token of the answer, the token that was chosen first."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
    }
    if tops is not None:
        choice["logprobs"] = {
            "content": [
                {**_top(*next(iter(one.items()))), "top_logprobs": [_top(*each) for each in one.items()]}
                for one in tops
            ]
        }
    return {**_TOP, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def completion(
    text: str, tops: Sequence[Mapping[str, float]] | None = None, *, finish: str = "stop"
) -> dict[str, Any]:
    """A completion, as vLLM sends it. `tops` is as for `chat`."""
    choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    if tops is not None:
        choice["logprobs"] = {
            "tokens": [next(iter(one)) for one in tops],
            "token_logprobs": [log(next(iter(one.values()))) for one in tops],
            "top_logprobs": [{token: log(chance) for token, chance in one.items()} for one in tops],
            "text_offset": [0] * len(tops),
        }
    return {**_TOP, "object": "text_completion", "choices": [choice], "usage": USAGE}


USAGE = {"prompt_tokens": 200, "completion_tokens": 3, "total_tokens": 203}
_TOP = {"id": "g-1", "created": 1, "model": "guard"}


def _top(token: str, chance: float) -> dict[str, Any]:
    return {"token": token, "logprob": log(chance), "bytes": list(token.encode())}
