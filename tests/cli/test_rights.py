"""`tidegate check` on policies and keys: who may do what, and no secret among it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_command

from tidegate import cli
from tidegate.access.keys import Peppers

SECRETS = [f"canary-{at:02}-0123456789abcdef" for at in range(50)]
PEPPER = "canary-pepper-0123456789"
DIGEST = Peppers([PEPPER.encode()]).digest("canary-digested").hex()
Run = Callable[..., tuple[int, str, str]]

ENGINES = {"e": {"kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "canary-of-the-engine"}}
TREE = {
    "auth": {"pepper": PEPPER},
    "admin": {"token": "canary-admin-0123456789"},
    "engines": ENGINES,
    "models": {name: {"deployments": [{"engine": "e"}]} for name in ("small", "gpt-*")},
    "policies": {
        "narrow": {
            "models": ["small", "gpt-4o"],
            "defaults": {"deadline_s": 5, "max_tokens": 9, "priority": "batch"},
        }
    },
    "organisations": {"acme": {"policy": "narrow", "teams": {"blue": {"users": {"ann": {}}}}}},
    "keys": {
        "ann": {
            "secret": SECRETS[0],
            "organisation": "acme",
            "team": "blue",
            "user": "ann",
            "models": ["gpt-*"],
        },
        "ops": {
            "secret": SECRETS[1],
            "scopes": ["metrics", "admin:read"],
            "expires_at": "2030-01-01T00:00:00Z",
        },
        "hidden": {"digest": DIGEST},
        **{f"k{at}": {"secret": secret} for at, secret in enumerate(SECRETS[2:])},
    },
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    path = tmp_path / "tidegate.yaml"
    path.write_text(json.dumps(TREE))

    def run(*arguments: str) -> tuple[int, str, str]:
        return run_command(monkeypatch, capsys, "check", "--config", str(path), *arguments)

    return run


def test_a_key_of_the_store_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "with-a-store.yaml"
    store = {"main": {"kind": "local", "path": str(tmp_path / "keys.db")}}
    policies = {"narrow": {"models": ["small"], "limits": {"requests_per_minute": 60}}}
    path.write_text(json.dumps({**TREE, "stores": store, "policies": {**TREE["policies"], **policies}}))

    def tidegate(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["tidegate", *arguments, "--config", str(path), "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    made = json.loads(tidegate("keys", "create", "--policy", "narrow"))
    told = json.loads(tidegate("check", "--key", made["id"]))
    assert (told["key"], told["policy_from"]) == (made["id"], "key")
    assert told["rights"]["models"] == ["small"]
    [limit] = told["rights"]["limits"]
    assert (limit["level"], limit["tenant"]) == ("key", made["id"])
    assert made["key"] not in json.dumps(told)


def test_a_key_by_name(run: Run) -> None:
    status, out, _ = run("--key", "ann", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["rights"] == {
        "policy": "narrow",
        "models": ["gpt-4o"],
        "priority": "batch",
        "deadline_s": 5,
        "max_body_bytes": 32 * 2**20,
        "max_tokens": 9,
        "on_limit": "refuse",
        "strict": False,
        "count": "estimate",
        "internal_calls": "house",
        "rails": "rules",
        "stricter_rails": ["strict"],
        "limits": [],
        "end_user_limits": [],
    }
    assert (told["organisation"], told["team"], told["user"]) == ("acme", "blue", "ann")
    assert told["policy_from"] == "organisation"
    assert told["scopes"] == ["inference"]
    assert "/v1/chat/completions" in told["routes"]
    assert not {"/metrics", "/admin/reload"} & set(told["routes"])


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("ann", ["tenants       acme / blue / ann", "policy        narrow (of its organisation)", "expires       never"]),
        ("ops", ["scopes        admin:read, metrics", "expires       2030-01-01T00:00:00+00:00"]),
        ("hidden", ["tenants       none", "policy        default (nobody above it names one)"]),
        ("admin.token", ["scopes        admin:read, admin:write, metrics, review"]),
    ],
)  # fmt: skip
def test_a_key_for_people(run: Run, key: str, lines: list[str]) -> None:
    status, out, _ = run("--key", key)
    assert status == 0
    assert [line for line in lines if line not in out.splitlines()] == []


def test_an_unknown_key_and_options_that_exclude_each_other(run: Run) -> None:
    status, _, err = run("--key", "nobody")
    assert status == 2
    assert "there is no key 'nobody'; there are: admin.token, ann, hidden, k0" in err
    status, _, err = run("--key", "ann", "--connect")
    assert status == 2
    assert "--connect and --key exclude each other" in err


def test_policies_are_among_what_is_in_force(run: Run) -> None:
    status, out, _ = run("--json")
    assert status == 0
    told = {one["policy"]: one for one in json.loads(out)["policies"]}
    assert told["default"]["models"] == ["gpt-*", "small"]
    assert told["narrow"]["models"] == ["gpt-4o", "small"]
    assert "Only callers with a key are served." in run()[1]
    assert "Policies" in run()[1]


@pytest.mark.parametrize(("model", "status"), [("gpt-4o", 0), ("small", 1), ("gpt-5", 1), ("nothing", 1)])
def test_a_request_is_explained_under_the_policy_of_a_key(
    run: Run, tmp_path: Path, model: str, status: int
) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}))
    found, out, _ = run("--explain", str(request), "--key", "ann", "--json")
    told = json.loads(out)
    assert (found, told["policy"], told["deadline_s"]) == (status, "narrow", 5)
    if status == 0:
        assert told["places"][0]["request"]["body"]["max_tokens"] == 9
    else:
        assert told["refused"]["status"] == 404
