"""`tidegate check` on limits: those of policies and models, those that a key meets, and what a request would reserve."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command

TO = {"deployments": [{"engine": "e"}]}
TREE: dict[str, Any] = {
    "engines": {"e": {"kind": "scripted"}},
    "models": {
        "small": {**TO, "limits": {"requests_per_minute": 1000, "concurrent_calls": 8}},
        "gpt-*": {**TO, "limits": {"requests_per_day": 70}},
    },
    "policies": {
        "company": {"limits": {"tokens_per_day": 2_000_000}, "timezone": "Europe/Berlin"},
        "blue": {
            "limits": {"tokens_per_minute": 6000},
            "limits_by_model": {"gpt-*": {"requests_per_day": 500}},
            "on_limit": "wait",
        },
        "person": {"limits": {"requests_per_minute": 120, "burst_requests": 20}, "enforce": False},
        "app": {
            "limits": {"tokens_per_minute": 65, "burst_tokens": 65, "concurrent_calls": 3},
            "end_user_limits": {"requests_per_minute": 10, "tokens_per_day": 20_000},
            "strict": True,
            "count": "engine",
            "internal_calls": "caller",
        },
    },
    "organisations": {
        "acme": {
            "policy": "company",
            "teams": {"blue": {"policy": "blue", "users": {"ann": {"policy": "person"}}}},
        }
    },
    "keys": {
        "ann": {
            "secret": "canary-ann-0123456789",
            "organisation": "acme",
            "team": "blue",
            "user": "ann",
            "models": ["gpt-4*"],
        },
        "app": {"secret": "canary-app-0123456789", "policy": "app"},
        "guest": {"secret": "canary-guest-0123456789"},
    },
}
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    path = tmp_path / "tidegate.yaml"
    path.write_text(json.dumps(TREE))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str]:
        status, out, _ = run_command(monkeypatch, capsys, "check", "--config", str(path), *arguments)
        return status, out

    return run


def paragraph(out: str, name: str) -> list[str]:
    """The lines below a policy's name, without their indent."""
    lines = out.split("\nPolicies.")[1].split(f"\n{name}\n")[1].splitlines()
    end = next(at for at, line in enumerate(lines) if not line.startswith("  "))
    return [line[2:] for line in lines[:end]]


def test_the_limits_of_each_policy_and_what_happens_over_them(run: Run) -> None:
    _, out = run()
    assert {
        "limits        tokens_per_minute 6,000, 600 at once",
        "              gpt-*: requests_per_day 500",
        "over a limit  calls wait within their deadline (on_limit)",
    } <= set(paragraph(out, "blue"))
    assert "limits        requests_per_minute 120, 20 at once (counted only)" in paragraph(out, "person")
    assert "limits        tokens_per_day 2,000,000, in Europe/Berlin" in paragraph(out, "company")
    assert {
        "limits        tokens_per_minute 65, 65 at once",
        "              concurrent_calls 3",
        "each end user requests_per_minute 10, 1 at once",
        "              tokens_per_day 20,000",
        "counting      the engine counts prompts (count); max_tokens is set where a request has none (strict)",
        "own calls     the gateway's own calls are charged too (internal_calls)",
    } <= set(paragraph(out, "app"))
    assert "limits        none" in paragraph(out, "default")
    assert "e+" not in out
    for line in (
        "small: requests_per_minute 1,000, 100 at once",
        "small: concurrent_calls 8",
        "gpt-*: requests_per_day 70",
    ):
        assert out.count(f"  {line}\n") == 1


def test_policies_as_json(run: Run) -> None:
    page = json.loads(run("--json")[1])
    found = {one["policy"]: one for one in page["policies"]}
    assert found["blue"]["on_limit"] == "wait"
    assert [(one["dimension"], one["timezone"]) for one in found["company"]["limits"]] == [
        ("tokens_per_day", "Europe/Berlin")
    ]
    assert [one["dimension"] for one in found["app"]["end_user_limits"]] == [
        "requests_per_minute",
        "tokens_per_day",
    ]
    assert (found["app"]["strict"], found["app"]["count"], found["app"]["internal_calls"]) == (
        True,
        "engine",
        "caller",
    )
    assert {(one["tenant"], one["most"]) for one in page["model_limits"]} == {
        ("small", 1000),
        ("small", 8),
        ("gpt-*", 70),
    }


def test_a_key_meets_the_limits_of_every_level_and_of_the_models_that_it_may_ask(run: Run) -> None:
    _, out = run("--key", "ann")
    limits = out.split("limits        ")[1].split("over a limit")[0].split("\n")
    assert [line.strip() for line in limits if line.strip()] == [
        "user acme/blue/ann: requests_per_minute 120, 20 at once (counted only)",
        "team acme/blue: tokens_per_minute 6,000, 600 at once",
        "organisation acme: tokens_per_day 2,000,000, in Europe/Berlin",
        "team_model acme%2Fblue/gpt-*: requests_per_day 500",
        "model gpt-*: requests_per_day 70",
    ]
    assert "each end user requests_per_minute 10, 1 at once" in run("--key", "app")[1]


def explained(run: Run, tmp_path: Path, key: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    request = tmp_path / "request.json"
    request.write_text(
        json.dumps({"model": "small", "messages": [{"role": "user", "content": "hi"}], **body})
    )
    status, out = run("--explain", str(request), "--key", key, "--json")
    told = json.loads(out)
    (stage,) = [one for one in told["stages"] if one["name"] == "limit"]
    return status, {**stage, "refused": told["refused"]}


@pytest.mark.parametrize(
    ("key", "body", "words"),
    [
        ("ann", {"model": "gpt-4o", "max_tokens": 10}, ["10 answer, by max_tokens"]),
        ("ann", {"model": "gpt-4o"}, ["answer, estimated", "(counted only)", "team acme/blue: tokens_per_minute 6,000"]),
        ("app", {}, ["by the max_tokens that is set", "the engine would be asked", "key app: concurrent_calls 3"]),
        ("app", {"user": "zoe", "max_tokens": 9}, ["end_user app/zoe: tokens_per_day 20,000"]),
        ("guest", {}, ["reserves 1 call, of\nmodel small: requests_per_minute 1,000"]),
    ],
)  # fmt: skip
def test_what_a_request_would_reserve(
    run: Run, tmp_path: Path, key: str, body: dict[str, Any], words: list[str]
) -> None:
    status, stage = explained(run, tmp_path, key, body)
    assert (status, stage["state"]) == (0, "passed")
    assert [one for one in words if one not in stage["note"]] == []


def test_waiting_is_told(run: Run, tmp_path: Path) -> None:
    policies = TREE["policies"]
    waits = {**policies, "person": {**policies["person"], "on_limit": "wait"}}
    (tmp_path / "tidegate.yaml").write_text(json.dumps({**TREE, "policies": waits}))
    assert "it waits if they do not fit" in explained(run, tmp_path, "ann", {"model": "gpt-4o"})[1]["note"]


@pytest.mark.parametrize(
    ("key", "body", "param"),
    [
        ("app", {"max_tokens": 65}, "key.tokens_per_minute"),
        ("app", {"max_completion_tokens": 70}, "key.tokens_per_minute"),
        ("app", {"max_tokens": 30, "n": 3}, "key.tokens_per_minute"),
        ("ann", {"model": "gpt-4o", "max_tokens": 6000}, "team.tokens_per_minute"),
        ("app", {"messages": [{"role": "user", "content": "word " * 400}], "max_tokens": 1}, "key.tokens_per_minute"),
        ("ann", {"model": "gpt-4o", "max_tokens": 3_000_000}, "team.tokens_per_minute"),
    ],
)  # fmt: skip
def test_a_request_that_can_never_fit_is_refused_as_the_gateway_would(
    run: Run, tmp_path: Path, key: str, body: dict[str, Any], param: str
) -> None:
    status, stage = explained(run, tmp_path, key, body)
    assert (status, stage["state"]) == (1, "refused")
    assert (stage["refused"]["status"], stage["refused"]["param"]) == (400, param)
