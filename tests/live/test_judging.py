"""Judges and a guard's format on a real llama.cpp: SmolLM2 of 135 million parameters, held to the form by its grammar.

What such a small model thinks of a text means nothing. That its verdict can be read shows that the transport is real.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import msgspec
import pytest
from serving import Answer, Process, ask, eventually, serve

from tidegate.engines.answers import read_answer
from tidegate.kernel.text import Views
from tidegate.rails.guards.llama_guard import LlamaGuard, LlamaGuardConfig
from tidegate.types import Caller, Piece, Scene, Surface, Where

CONFIG = """
engines:
  small: {kind: embedded, slots: 2, reserved_seats: 1}
models:
  m: {deployments: [{engine: small}]}
  guard: {deployments: [{engine: small}]}
rails:
  judge_budget_ms: 300000
  profiles:
    json: {rails: [{kind: self_check, model: m, cache_s: 0, surfaces: [input]}]}
    votes: {rails: [{kind: judge, model: m, criterion: The text is polite., surfaces: [input], votes: 3}]}
policies:
  default: {rails: none, stricter_rails: [json, votes]}
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Process]:
    with serve(CONFIG) as process:
        ready = f"{process.url}/readyz"
        eventually(lambda: httpx2.get(ready).status_code == 200, "readiness")
        yield process


def posted(gateway: Process, path: str, **body: Any) -> Answer:
    return ask(f"{gateway.base_url}/{path}", json.dumps(body).encode())


@pytest.mark.parametrize("profile", ["json", "votes"])
def test_a_real_model_gives_a_verdict_in_the_form(gateway: Process, profile: str) -> None:
    answer = posted(gateway, "checks", input="How do I get to the harbour?", profile=profile)
    assert answer.status == 200, answer.body
    assert answer.json["status"] in ("passed", "blocked")
    assert [one.get("error") for one in answer.json["verdicts"] if one.get("error")] == []


class Through:
    """Services whose calls go to the running gateway, with a grammar that holds the model to the format of a guard."""

    clock = staticmethod(time.monotonic)

    def __init__(self, gateway: Process, grammar: str) -> None:
        self._gateway = gateway
        self._grammar = grammar
        self.said = ""

    def engines_of(self, model: str) -> list[Any]:
        del model
        return []

    async def ask(self, model: str, fields: Mapping[str, msgspec.Raw], **more: Any) -> Piece:
        del more
        body = {name: msgspec.json.decode(raw) for name, raw in fields.items()}
        body |= {"model": model, "grammar": self._grammar}
        path = "completions" if "prompt" in body else "chat/completions"
        answer = await asyncio.to_thread(posted, self._gateway, path, **body)
        assert answer.status == 200, answer.body
        [choice] = answer.json["choices"]
        self.said = choice["text"] if "prompt" in body else choice["message"]["content"]
        return Piece(answer.body, read_answer(answer.body), None)


@pytest.mark.parametrize("transport", ["chat", "completions"])
@pytest.mark.parametrize(
    ("grammar", "passes"),
    [
        ('root ::= "safe"', True),
        ('root ::= "unsafe\\nS1" [0-2]', False),
        ('root ::= "safe" | "unsafe\\nS9"', None),
    ],
)
def test_a_real_model_speaks_the_format_of_llama_guard(
    gateway: Process, transport: str, grammar: str, passes: bool | None
) -> None:
    async def main() -> None:
        rail = LlamaGuard(
            LlamaGuardConfig.model_validate({"kind": "llama_guard", "model": "m", "transport": transport})
        )
        services: Any = Through(gateway, grammar)
        await rail.open(services)
        scene = Scene(Where(0, "content"), Surface.INPUT, Caller(), float("inf"), "user")
        verdict = await rail.check(Views("How do I get to the harbour?"), scene)
        assert not verdict.error
        assert verdict.passed == (services.said == "safe")
        assert passes in (None, verdict.passed)
        assert 0 <= verdict.score <= 1

    asyncio.run(main())
