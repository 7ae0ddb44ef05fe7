"""Warnings of limits per day and month that a restart would forget, and of keys that have expired."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tidegate import config

STORE = {
    "stores": {"main": {"kind": "local", "path": "x.db"}},
    "auth": {"pepper": "the pepper of these tests"},
}


def warnings(**sections: Any) -> list[str]:
    tree = {
        "engines": {"e": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        **sections,
    }
    text = msgspec.json.encode(tree).decode()
    return [f"{one.path}: {one.message}" for one in config.warnings(config.parse_text(text, source="test"))]


def policy(**settings: Any) -> dict[str, Any]:
    return {"policies": {"p": settings}}


RAIL = {"kind": "regex", "patterns": {"X": "x"}, "surfaces": ["output"], "hold": "whole"}
JWT = {"issuer": "https://issuer.example", "audience": "tidegate"}


@pytest.mark.parametrize(
    "profile",
    [
        {"rails": [{**RAIL, "on_fail": "review"}]},
        {"rails": [{**RAIL, "on_fail": "regenerate"}], "after_rounds": "review"},
    ],
)
def test_a_profile_that_asks_people_is_warned_of_where_nobody_can_decide(profile: dict[str, Any]) -> None:
    rails = {"profiles": {"careful": profile, "other": {"rails": [RAIL]}}}
    secret = "0123456789abcdef"
    reviewer = {"secret": secret, "scopes": ["review"]}
    claims = {"scopes": "roles", "scopes_by_value": {"reviewers": ["review"]}}
    for nobody in (
        {},
        {"keys": {"ann": {"secret": secret}}},
        {"auth": {"jwt": JWT}},
    ):
        [warning] = warnings(rails=rails, **nobody)
        assert warning.startswith("rails.profiles.careful: asks people, but nobody can decide")
        assert "the scope `review`, or set admin.token" in warning
    for somebody in (
        {"keys": {"ann": reviewer}},
        {"admin": {"token": secret}},
        {"auth": {"jwt": {**JWT, "claims": claims}}},
        STORE,
    ):
        assert warnings(rails=rails, **somebody) == []


@pytest.mark.parametrize(
    ("sections", "paths"),
    [
        (policy(limits={"requests_per_day": 5}), ["policies.p.limits.requests_per_day"]),
        (
            policy(limits={"tokens_per_day": 5, "requests_per_minute": 5, "requests_per_day": 9}),
            ["policies.p.limits.requests_per_day", "policies.p.limits.tokens_per_day"],
        ),
        (
            policy(limits={"usd_per_month": 5, "usd_per_day": 1.5}),
            ["policies.p.limits.usd_per_day", "policies.p.limits.usd_per_month"],
        ),
        (policy(limits_by_model={"m": {"tokens_per_day": 5}}), ["policies.p.limits_by_model.m.tokens_per_day"]),
        (policy(end_user_limits={"requests_per_day": 5}), ["policies.p.end_user_limits.requests_per_day"]),
        (policy(limits={"requests_per_day": 5}, enforce=False), ["policies.p.limits.requests_per_day"]),
        (
            {"models": {"m": {"deployments": [{"engine": "e"}], "limits": {"tokens_per_day": 7}}}},
            ["models.m.limits.tokens_per_day"],
        ),
    ],
)  # fmt: skip
def test_a_limit_that_a_restart_forgets_is_warned_of_and_a_store_ends_that(
    sections: dict[str, Any], paths: list[str]
) -> None:
    found = warnings(**sections)
    assert [one.partition(": ")[0] for one in found] == paths
    assert all("forgotten when the gateway restarts: add a store under `stores`" in one for one in found)
    assert warnings(**sections, **STORE) == []


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"requests_per_minute": 5, "burst_requests": 2},
        {"tokens_per_minute": 5, "burst_tokens": 2},
        {"concurrent_calls": 3},
        {"requests_per_day": None},
    ],
)
def test_other_limits_need_no_store(limits: dict[str, Any]) -> None:
    assert warnings(**policy(limits=limits, end_user_limits=limits)) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"limits": {"burst_requests": 1}},
            "policies.p.limits.burst_requests: has no effect without requests_per_minute",
        ),
        (
            {"limits": {"burst_tokens": 1, "requests_per_minute": 5}},
            "policies.p.limits.burst_tokens: has no effect",
        ),
        (
            {"limits": {"requests_per_minute": 5, "burst_requests": 50}},
            "policies.p.limits.burst_requests: counts as 5",
        ),
        ({"end_user_limits": {"burst_tokens": 1}}, "policies.p.end_user_limits.burst_tokens: has no effect"),
        ({"models": ["typo"]}, "policies.p.models: 'typo' matches no model; there are: m"),
        ({"models": ["n*"]}, "policies.p.models: 'n*' matches no model"),
        (
            {"limits_by_model": {"nosuch": {"requests_per_minute": 1}}},
            "policies.p.limits_by_model: 'nosuch' matches no model",
        ),
    ],
)
def test_what_is_most_likely_a_mistake_in_a_policy_is_told(settings: dict[str, Any], told: str) -> None:
    [warning] = warnings(**policy(**settings))
    assert warning.startswith(told)


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": {"requests_per_minute": 5, "burst_requests": 5}},
        {"models": ["m"]},
        {"models": ["m*"]},
        {"models": ["m", "omni-moderation-latest"]},
        {"models": ["*"]},
        {"limits_by_model": {"m": {"requests_per_minute": 1}}},
    ],
)
def test_a_policy_without_a_mistake_gives_no_warning(settings: dict[str, Any]) -> None:
    assert warnings(**policy(**settings)) == []


@pytest.mark.parametrize(
    ("expires_at", "expired"),
    [
        ("2027-01-01T00:00:00Z", True),
        ("2027-01-01T00:00:00", True),
        ("2027-01-01T01:00:00+01:00", True),
        ("2026-12-31T23:59:59Z", True),
        ("2027-01-01T00:00:01Z", False),
        ("2027-01-01T00:00:00-01:00", False),
        (None, False),
    ],
)
def test_a_configured_key_that_has_expired_is_warned_of(expires_at: str | None, expired: bool) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    tree = {
        "engines": {"e": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        "keys": {"ann": {"secret": "0123456789abcdef", "expires_at": expires_at}},
    }
    read = config.parse(tree, source="test")
    assert [one.path for one in config.warnings(read, now)] == ["keys.ann.expires_at"] * expired
    assert config.warnings(read) == []
