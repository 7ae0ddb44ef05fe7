"""The official OpenAI SDK meets a 429: it waits as told, and succeeds. It does not come back where that is useless."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from openai import OpenAI
from serving import Running, run_gateway
from talking import SCRIPT

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

KEY = "the-key-of-this-client"


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@contextmanager
def limited(engine: ScriptedServer, **limits: int) -> Iterator[tuple[Running, OpenAI]]:
    tree = {
        "server": {"port": 0},
        "engines": {"upstream": {"kind": "openai", "url": engine.base_url}},
        "models": {"*": {"deployments": [{"engine": "upstream"}]}},
        "policies": {"default": {"limits": limits}},
        "keys": {"client": {"secret": KEY, "scopes": ["inference", "metrics"]}},
    }
    with run_gateway(json.dumps(tree)) as gateway, OpenAI(api_key=KEY, base_url=gateway.base_url) as client:
        yield gateway, client


def say_hi(client: OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **more)


def refusals(gateway: Running) -> float:
    page = gateway.run(gateway.gateway.scrape()).decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith("tidegate_quota_refusals_total{")
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_over_the_limit_succeeds_after_the_wait_that_it_is_told(
    engine: ScriptedServer, stream: bool
) -> None:
    # One call at once, and another one each 1.5 s.
    with limited(engine, requests_per_minute=40, burst_requests=1) as (gateway, client):
        say_hi(client, stream=False)
        answer = say_hi(client, stream=stream)
        parts = [chunk.choices[0].delta for chunk in answer] if stream else [answer.choices[0].message]
        assert "".join(part.content or "" for part in parts) == SCRIPT.text
        # It was refused once, and came back when the call fitted.
        assert refusals(gateway) == 1


def test_a_budget_that_is_used_up_is_not_asked_again(engine: ScriptedServer) -> None:
    with limited(engine, requests_per_day=1) as (gateway, client):
        say_hi(client)
        with pytest.raises(openai.RateLimitError) as raised:
            say_hi(client)
        assert raised.value.code == "rate_limit_exceeded"
        assert raised.value.param == "key.requests_per_day"
        assert refusals(gateway) == 1


def test_what_remains_is_in_the_headers_that_the_sdk_shows(engine: ScriptedServer) -> None:
    with limited(engine, requests_per_minute=100, tokens_per_minute=10_000) as (_, client):
        raw = client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "hi"}], max_tokens=5
        )
        assert raw.headers["x-ratelimit-limit-requests"] == "100"
        assert raw.headers["x-ratelimit-remaining-requests"] == "9"
        assert 900 < int(raw.headers["x-ratelimit-remaining-tokens"]) < 1000
        assert raw.headers["x-ratelimit-reset-tokens"].endswith("ms")
