"""Two engines with fixed latencies in one process: an application's model, and a guard model for content safety.

It is a bare asyncio protocol, so that its own CPU time stays far below what is measured. A timer decides when an answer is
sent. `GET /counts` says how many completions each port has been asked for.

    python benchmarks/iorails/mock_llms.py --app-port 19481 --app-s 4 --guard-port 19482 --guard-s 0.5

The guard model finds every text safe, except that it calls a prompt with FORBIDDEN_PROMPT unsafe, and so an answer with
FORBIDDEN_ANSWER. The application's model writes such an answer where the prompt has MISBEHAVE. So it can be shown that a
gateway obeys both verdicts.
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from typing import cast

import uvloop

APP_MODEL, GUARD_MODEL = "mock-app", "mock-content-safety"
ANSWER = (
    "The ferry to the islands leaves from the longer pier at nine in the morning. Bicycles are taken on the lower deck, "
    "and tickets are sold on board. When the wind is strong, the crossing takes about twenty minutes longer, and "
    "passengers are asked to stay inside. The last boat back is at six in the evening, and on Sundays at seven."
)
FORBIDDEN_PROMPT, MISBEHAVE, FORBIDDEN_ANSWER = "forbidden-prompt", "misbehave-please", "forbidden-answer"


def response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def completion(model: str, text: str) -> bytes:
    answer = {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 60, "total_tokens": 80},
    }
    return response(json.dumps(answer).encode())


def verdict(prompt: str, answer: str) -> bytes:
    found = {"User Safety": prompt, "Response Safety": answer}
    if "unsafe" in found.values():
        found["Safety Categories"] = "Violence"
    return completion(GUARD_MODEL, json.dumps(found))


class App:
    """What the application's model answers."""

    model = APP_MODEL
    usual = completion(APP_MODEL, ANSWER)
    bad = completion(APP_MODEL, f"Here is the {FORBIDDEN_ANSWER}.")

    def __call__(self, body: bytes) -> bytes:
        return self.bad if MISBEHAVE.encode() in body else self.usual


class Guard:
    """What the guard model answers."""

    model = GUARD_MODEL
    safe, bad_prompt, bad_answer = (
        verdict("safe", "safe"),
        verdict("unsafe", "safe"),
        verdict("safe", "unsafe"),
    )

    def __call__(self, body: bytes) -> bytes:
        if FORBIDDEN_PROMPT.encode() in body:
            return self.bad_prompt
        return self.bad_answer if FORBIDDEN_ANSWER.encode() in body else self.safe


@dataclass
class Port:
    """One engine: its answers, its latency in seconds, and the completions that it was asked for."""

    answer: App | Guard
    latency_s: float
    count: int = 0


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive. A client has one request in flight on a connection."""

    def __init__(self, port: Port, ports: dict[str, Port]) -> None:
        self._port = port
        self._ports = ports
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) >= length:
            self._received = rest[length:]
            self._serve(head.split(b" ", 2)[1], rest[:length])

    def _serve(self, path: bytes, body: bytes) -> None:
        if path.endswith(b"/chat/completions"):
            self._port.count += 1
            answer = self._port.answer(body)
            if self._port.latency_s:
                self._loop.call_later(self._port.latency_s, self._send, answer)
            else:
                self._send(answer)
        elif path.endswith(b"/counts"):
            counts = {name: port.count for name, port in self._ports.items()}
            self._send(response(json.dumps(counts).encode()))
        else:  # GET /v1/models, which gateways ask for to see whether the engine is ready
            models = {"object": "list", "data": [{"id": self._port.answer.model, "object": "model"}]}
            self._send(response(json.dumps(models).encode()))

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(options: argparse.Namespace) -> None:
    ports = {"app": Port(App(), options.app_s), "guard": Port(Guard(), options.guard_s)}
    loop = asyncio.get_running_loop()
    for name, number in (("app", options.app_port), ("guard", options.guard_port)):
        await loop.create_server(
            lambda name=name: Connection(ports[name], ports), "127.0.0.1", number, backlog=2048
        )
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, port, latency_s in (("app", 19481, 4.0), ("guard", 19482, 0.5)):
        parser.add_argument(f"--{name}-port", type=int, default=port, metavar="PORT", help=f"({port})")
        parser.add_argument(
            f"--{name}-s",
            type=float,
            default=latency_s,
            metavar="S",
            help=f"latency in seconds ({latency_s:g})",
        )
    uvloop.run(serve(parser.parse_args()))
