"""Two embedded engines behind one model: each system prompt is read by one of them, and known to it from then on."""

from __future__ import annotations

import json
from collections import Counter

import httpx2
from serving import eventually, serve

PROMPTS, ROUNDS = 8, 2
ENGINE = {"kind": "embedded", "slots": 2, "context_tokens": 2048, "cache_ram_mib": 64}
CONFIG = {
    "server": {"expose_engines": True},
    "engines": {"left": ENGINE, "right": ENGINE},
    "models": {"smol": {"deployments": [{"engine": "left"}, {"engine": "right"}]}},
}


def test_eight_system_prompts_are_read_once_each():
    with serve(json.dumps(CONFIG)) as process, httpx2.Client(base_url=process.url, timeout=120) as client:

        def all_ready() -> bool:
            told = client.get("/readyz").json()
            return len(told["engines"]) == 2 and all(told["engines"].values())

        eventually(all_ready, "readiness of both engines")
        places = [Counter[str]() for _ in range(PROMPTS)]
        again: list[tuple[int, int]] = []
        routes: list[str] = []
        for turn in range(ROUNDS):
            for number in range(PROMPTS):
                rules = " ".join(f"Rule {at} of house {number}: be kind and brief." for at in range(25))
                messages = [
                    {"role": "system", "content": rules},
                    {"role": "user", "content": f"What is {turn} plus {number}?"},
                ]
                told = client.post(
                    "/v1/chat/completions", json={"model": "smol", "messages": messages, "max_tokens": 1}
                )
                usage = told.json()["usage"]
                route = dict(part.split("=") for part in told.headers["x-tidegate-route"].split(";"))
                routes.append(f"{number}: {told.headers['x-tidegate-route']}")
                places[number][route["engine"]] += 1
                if turn:
                    again.append((usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]))
    assert all(len(place) == 1 for place in places), routes
    assert {engine for place in places for engine in place} == {"left", "right"}
    assert min(prompt for prompt, _ in again) > 250
    assert sum(cached for _, cached in again) >= 0.9 * sum(prompt for prompt, _ in again), again
