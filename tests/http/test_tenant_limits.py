"""A changed policy of a tenant in the store holds for the next call, and what was used before still counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from serving import Running, ask, run_gateway
from talking import CHAT, chat

ADMIN = "the-token-of-the-admin"
PER = {
    "requests_per_day": {"many": {"requests_per_day": 9}, "few": {"requests_per_day": 1}},
    "requests_per_minute": {
        "many": {"requests_per_minute": 9, "burst_requests": 9},
        "few": {"requests_per_minute": 1, "burst_requests": 1},
    },
}


def administer(gateway: Running, path: str, **fields: str) -> Any:
    headers = {"authorization": f"Bearer {ADMIN}", "content-type": "application/json"}
    answer = ask(f"{gateway.url}/admin/{path}", json.dumps(fields).encode(), headers)
    assert answer.status in (200, 201), answer.body
    return json.loads(answer.body)


@pytest.mark.parametrize("dimension", PER)
def test_a_changed_policy_of_a_team_holds_for_the_next_call(tmp_path: Path, dimension: str) -> None:
    tree = {
        "server": {"port": 0},
        "admin": {"token": ADMIN},
        "engines": {"script": {"kind": "scripted"}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
        "policies": {name: {"limits": limits} for name, limits in PER[dimension].items()},
        "auth": {"pepper": "a-pepper-of-the-test"},
        "stores": {"main": {"kind": "local", "path": str(tmp_path / "keys.db")}},
    }
    with run_gateway(json.dumps(tree)) as gateway:
        administer(gateway, "tenants", organisation="acme", team="blue", policy="many")
        key = administer(gateway, "keys", organisation="acme", team="blue")["key"]

        def call() -> tuple[int, str]:
            answer = ask(f"{gateway.base_url}/{CHAT}", chat(), {"authorization": f"Bearer {key}"})
            return answer.status, answer.headers["x-ratelimit-limit-requests"]

        assert [call(), call()] == [(200, "9")] * 2
        administer(gateway, "tenants", organisation="acme", team="blue", policy="few")
        assert call() == (429, "1")
        administer(gateway, "tenants", organisation="acme", team="blue", policy="many")
        assert call() == (200, "9")
