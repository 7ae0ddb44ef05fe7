"""`GET /admin/usage`: what is consumed of each limit, asked for as an operator does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from serving import Answer, Running, ask, config_to, run_gateway
from talking import SCRIPT, chat

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

SECRETS = {name: f"canary-{name}-0123456789abcdef" for name in ("ann", "bob", "ops", "clerk")}
LIMITS = {"requests_per_minute": 600, "burst_requests": 20, "tokens_per_day": 5000}
MEMBER = {"organisation": "acme", "team": "blue"}
TREE: dict[str, Any] = {
    "policies": {
        "default": {"limits": {"concurrent_calls": 9}},
        "counted": {"limits": {"requests_per_day": 1}, "enforce": False, "timezone": "Europe/Berlin"},
        "own": {
            "limits": LIMITS,
            "limits_by_model": {"m*": {"requests_per_day": 100}},
            "end_user_limits": LIMITS,
        },
    },
    "organisations": {"acme": {"policy": "counted", "teams": {"blue": {}}}},
    "keys": {
        "ann": {"secret": SECRETS["ann"], **MEMBER, "policy": "own"},
        "bob": {"secret": SECRETS["bob"], **MEMBER, "policy": "own"},
        "ops": {"secret": SECRETS["ops"], "scopes": ["admin:read"]},
        "clerk": {"secret": SECRETS["clerk"], "scopes": ["inference", "metrics", "admin:write"]},
    },
}


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    """A gateway that ann asked three times, once for an end user, and bob once."""
    models = {"models": {"m": {"deployments": [{"engine": "upstream"}], "limits": {"requests_per_day": 10}}}}
    with run_gateway(json.dumps(json.loads(config_to(engine.base_url)) | TREE | models)) as gateway:
        for name, fields in (("ann", {}), ("ann", {}), ("ann", {"user": "zoe"}), ("bob", {})):
            headers = {"authorization": f"Bearer {SECRETS[name]}"}
            assert ask(f"{gateway.base_url}/chat/completions", chat(**fields), headers).status == 200
        yield gateway


def usage(gateway: Running, query: str = "", key: str = "ops") -> Answer:
    headers = {"authorization": f"Bearer {SECRETS[key]}"}
    answer = ask(f"{gateway.url}/admin/usage{query}", headers=headers, method="GET")
    assert b"canary" not in answer.body
    return answer


def rows(gateway: Running, query: str = "") -> list[dict[str, Any]]:
    return usage(gateway, query).json["limits"]


def names(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one["level"], one["tenant"], one["dimension"]) for one in found]


def test_each_limit_that_was_met_is_told_with_what_is_used_of_it(gateway: Running) -> None:
    page = usage(gateway).json
    assert (page["more"], page["configured"], page["silent_workers"]) == (False, True, 0)
    found = {(one["level"], one["tenant"], one["dimension"]): one for one in page["limits"]}
    used = {name: one["used"] for name, one in found.items() if "requests_per_day" in name}
    assert used == {
        ("organisation", "acme", "requests_per_day"): 4,
        ("key_model", "ann/m*", "requests_per_day"): 3,
        ("key_model", "bob/m*", "requests_per_day"): 1,
        ("model", "m", "requests_per_day"): 4,
    }
    tokens = found["key", "ann", "tokens_per_day"]
    assert tokens["used"] > 0
    assert tokens["used"] + tokens["left"] == tokens["limit"] == 5000
    assert (tokens["unit"], tokens["burst"], tokens["enforce"]) == ("tokens", None, True)
    assert tokens["since"].endswith("T00:00:00+00:00")
    assert 0 < tokens["resets_s"] <= 86_400
    minute = found["key", "ann", "requests_per_minute"]
    assert (minute["limit"], minute["burst"], minute["since"], minute["unit"]) == (600, 20, None, "calls")
    assert found["end_user", "ann/zoe", "tokens_per_day"]["used"] > 0


def test_a_limit_that_is_not_enforced_shows_its_debt(gateway: Running) -> None:
    (one,) = rows(gateway, "?level=organisation")
    assert (one["limit"], one["used"], one["left"], one["enforce"]) == (1, 4, -3, False)
    assert one["used_share"] == 4
    assert one["since"][11:] in ("22:00:00+00:00", "23:00:00+00:00")  # midnight in Berlin


def test_the_levels_keep_their_order_and_the_most_used_limit_is_first(gateway: Running) -> None:
    found = rows(gateway)
    levels = list(dict.fromkeys(one["level"] for one in found))
    assert levels == ["key", "organisation", "model", "key_model", "end_user"]
    for level in levels:
        shares = [one["used_share"] for one in found if one["level"] == level]
        assert shares == sorted(shares, reverse=True)


def test_one_level_one_tenant_and_the_first_few(gateway: Running) -> None:
    assert {level for level, _, _ in names(rows(gateway, "?level=key"))} == {"key"}
    assert names(rows(gateway, "?tenant=acme")) == [("organisation", "acme", "requests_per_day")]
    assert names(rows(gateway, "?tenant=ann/zoe&level=key")) == []
    assert names(rows(gateway, "?level=user")) == []
    page = usage(gateway, "?level=key&most=1").json
    assert page["more"] is True
    assert names(page["limits"]) == names(rows(gateway, "?level=key"))[:1]


@pytest.mark.parametrize(
    ("query", "param", "words"),
    [
        ("level=keys", "level", "did you mean 'key'"),
        ("level=", "level", "there are: key, user"),
        ("level=KEY", "level", "did you mean 'key'"),
        ("most=0", "most", "from 1 to 1000"),
        ("most=1001", "most", "from 1 to 1000"),
        ("most=-1", "most", "from 1 to 1000"),
        ("most=", "most", "from 1 to 1000"),
        ("most=1e2", "most", "from 1 to 1000"),
        ("most=%D9%A3", "most", "from 1 to 1000"),  # a digit of another script
        ("tenant=", "tenant", "give a name"),
        ("levle=key", "levle", "did you mean 'level'"),
        ("q=1", "q", "there are: level, tenant, most"),
        ("level=key&level=team", "level", "twice"),
    ],
)
def test_a_wrong_parameter_is_named(gateway: Running, query: str, param: str, words: str) -> None:
    refused = usage(gateway, f"?{query}")
    assert (refused.status, refused.error["param"]) == (400, param)
    assert words in refused.error["message"]


def test_it_needs_the_scope_admin_read(gateway: Running) -> None:
    refused = usage(gateway, key="clerk")
    assert refused.status == 403
    assert "admin:read" in refused.error["message"]
    assert ask(f"{gateway.url}/admin/usage", method="GET").status == 401


def test_without_limits_nothing_is_configured(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url)) as gateway:
        page = ask(f"{gateway.url}/admin/usage", method="GET").json
    assert page == {"limits": [], "more": False, "configured": False, "silent_workers": 0}
