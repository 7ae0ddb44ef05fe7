"""`tidegate check --key` and `--explain` for keys that a gateway refuses, and for callers without a key."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command

PEPPER = "a pepper for the tests of check"
SECRET = "canary-of-the-file-0123456789"
POLICIES = {"narrow": {"models": ["small"]}, "default": {"limits": {"requests_per_minute": 60}}}
BODY = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}


class Gateway:
    """Runs commands on a configuration with a store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        Path("request.json").write_text(json.dumps(BODY))
        self.configure()

    def configure(self, *without: str, **sections: Any) -> None:
        """Write a configuration. `without` are policies that it lacks."""
        tree = {
            "auth": {"pepper": PEPPER},
            "stores": {"main": {"kind": "local", "path": "keys.db"}},
            "engines": {"e": {"kind": "scripted"}},
            "models": {"small": {"deployments": [{"engine": "e"}]}},
            "policies": {name: one for name, one in POLICIES.items() if name not in without},
            "keys": {
                "ann": {"secret": SECRET},
                "old": {"secret": f"{SECRET}-old", "expires_at": "2020-01-01T00:00:00Z"},
                "later": {"secret": f"{SECRET}-later", "expires_at": "2100-01-01T00:00:00Z"},
                "ops": {"secret": f"{SECRET}-ops", "scopes": ["metrics"]},
            },
        }
        Path("tidegate.yaml").write_text(json.dumps(tree | sections))

    def __call__(self, *line: str) -> tuple[int, str, str]:
        """The status of a command, and what it printed on both outputs."""
        return run_command(self._monkeypatch, self._capsys, *line)

    def json(self, *line: str) -> tuple[int, Any]:
        status, out, err = self(*line, "--json")
        assert out, err
        return status, json.loads(out)

    def make(self, *line: str) -> dict[str, Any]:
        return self.json("keys", "create", *line)[1]

    def explain(self, *line: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """The status, the explanation, and its stage `authenticate`."""
        status, told = self.json("check", "--explain", "request.json", *line)
        [stage] = [one for one in told["stages"] if one["name"] == "authenticate"]
        return status, told, stage


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gateway:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return Gateway(monkeypatch, capsys)


# --------------------------------------------------------------------------------- a policy that is not configured any more


def of_the_key(gateway: Gateway) -> str:
    return gateway.make("--policy", "narrow")["id"]


def of_its_organisation(gateway: Gateway) -> str:
    gateway("tenants", "set", "acme", "--policy", "narrow")
    return gateway.make("--organisation", "acme")["id"]


def of_its_user(gateway: Gateway) -> str:
    gateway("tenants", "set", "acme/blue/ann", "--policy", "narrow")
    return gateway.make("--organisation", "acme", "--team", "blue", "--user", "ann")["id"]


def of_its_organisation_below_another_one(gateway: Gateway) -> str:
    gateway("tenants", "set", "acme", "--policy", "narrow")
    return gateway.make("--organisation", "acme", "--policy", "default")["id"]


@pytest.mark.parametrize(
    "make", [of_the_key, of_its_organisation, of_its_user, of_its_organisation_below_another_one]
)
def test_a_policy_that_is_gone_is_told_as_a_refusal(gateway: Gateway, make: Callable[[Gateway], str]) -> None:
    key = make(gateway)
    assert gateway("check", "--key", key)[0] == 0
    gateway.configure("narrow")

    status, out, err = gateway("check", "--key", key)
    assert (status, err) == (1, "")
    assert "refused       403: The policy 'narrow' of this" in out
    status, told = gateway.json("check", "--key", key)
    assert (status, told["rights"], told["refused"]["status"]) == (1, None, 403)

    status, told, stage = gateway.explain("--key", key)
    assert (status, told["refused"]["status"], told["policy"], told["places"]) == (1, 403, None, [])
    assert stage["state"] == "refused"
    assert "'narrow'" in stage["note"]
    status, out, _ = gateway("check", "--explain", "request.json", "--key", key)
    assert status == 1
    assert "The gateway would refuse it with status 403" in out
    assert "Deadline" not in out


# ----------------------------------------------------------------------------------------------------- keys that have ended


def revoked(gateway: Gateway) -> str:
    key = gateway.make()["id"]
    gateway("keys", "revoke", key)
    return key


def expired(gateway: Gateway) -> str:
    return "old"


@pytest.mark.parametrize(
    ("make", "says"), [(revoked, "revoked at 2"), (expired, "expired since 2020-01-01T")]
)
def test_a_key_that_has_ended_is_refused(gateway: Gateway, make: Callable[[Gateway], str], says: str) -> None:
    key = make(gateway)
    status, out, _ = gateway("check", "--key", key)
    assert status == 1
    assert f"state         {says}" in out
    assert "refused       401: The API key is not valid" in out
    status, told, stage = gateway.explain("--key", key)
    assert (status, told["refused"]["status"], told["refused"]["code"]) == (1, 401, "invalid_api_key")
    assert stage["state"] == "refused"
    assert says in stage["note"]
    assert {one["state"] for one in told["stages"] if one["name"] in ("http", "limit")} == {"not reached"}


@pytest.mark.parametrize(
    ("key", "says"), [("ann", "valid"), ("later", "valid, expires 2100-01-01T00:00:00+00:00")]
)
def test_a_key_that_is_valid_has_that_state(gateway: Gateway, key: str, says: str) -> None:
    status, out, _ = gateway("check", "--key", key)
    assert status == 0
    assert f"state         {says}" in out.splitlines()
    assert gateway.json("check", "--key", key)[1]["state"] == "valid"
    assert gateway.explain("--key", key)[2]["state"] == "passed"


def test_a_key_that_may_not_ask_for_answers_is_refused(gateway: Gateway) -> None:
    assert gateway("check", "--key", "ops")[0] == 0
    status, told, stage = gateway.explain("--key", "ops")
    assert (status, told["refused"]["status"], stage["state"]) == (1, 403, "refused")
    assert "'inference'" in stage["note"]


# ------------------------------------------------------------------------------------------------------------ without a key


def test_a_call_without_a_key_is_told_that_it_would_be_refused(gateway: Gateway) -> None:
    status, told, stage = gateway.explain()
    assert (status, told["policy"], stage["state"]) == (0, "default", "passed")
    assert "no key was given, so the gateway would answer 401" in stage["note"]
    [limit] = [one for one in told["stages"] if one["name"] == "limit"]
    assert "key of the caller: requests_per_minute 60" in limit["note"]


def test_a_gateway_that_needs_no_keys_has_nothing_to_say(gateway: Gateway) -> None:
    gateway.configure(stores={}, keys={})
    assert gateway.explain()[2]["note"] == ""
    gateway.configure(stores={}, keys={}, admin={"token": f"{SECRET}-admin"})
    status, told, stage = gateway.explain("--key", "admin.token")
    assert (status, told["refused"]) == (0, None)
    assert "without a key" in stage["note"]
    [limit] = [one for one in told["stages"] if one["name"] == "limit"]
    assert "policy default: requests_per_minute 60" in limit["note"]


# ----------------------------------------------------------------------------------------------- a secret instead of a name


def test_a_whole_key_is_taken_for_its_id_and_never_shown(gateway: Gateway) -> None:
    made = gateway.make()
    text, public = made["key"], made["id"]
    for given in (text, text[:-1], f"{text}x", text[:30]):
        for more in ((), ("--explain", "request.json")):
            status, out, err = gateway("check", "--key", given, *more)
            assert status == 0
            assert f"{public} is used" in err
            assert text[14:20] not in out + err
    assert gateway("check", "--key", f"tg_{public}")[::2] == (0, "")


def test_an_unknown_secret_is_never_shown(gateway: Gateway) -> None:
    text = gateway.make()["key"]
    unknown = f"tg_0000000000_{text[14:]}"
    for given in (unknown, unknown[3:], f"Bearer {text}", text.upper(), f"{SECRET}-mistyped"):
        status, out, err = gateway("check", "--key", given)
        assert status == 2
        assert "there is no such key" in err
        assert given not in out + err
        assert given[-10:] not in out + err


def test_the_secret_of_a_configured_key_is_taken_for_its_name(gateway: Gateway) -> None:
    status, out, err = gateway("check", "--key", SECRET)
    assert status == 0
    assert "ann is used" in err
    assert "canary" not in out + err


def test_a_configured_key_that_has_expired_is_warned_of(gateway: Gateway) -> None:
    status, _, err = gateway("check")
    assert status == 0
    assert "warning: keys.old.expires_at: the key has expired at 2020-01-01T00:00:00+00:00" in err
    assert "keys.later" not in err


def test_the_log_warns_of_it_at_the_start(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway.configure(server={"port": taken.getsockname()[1]}, stores={})
        assert gateway("serve")[0] != 0  # the port is taken
    assert [one.args[0] for one in caplog.records if one.args and one.levelname == "WARNING"] == [
        "keys.old.expires_at"
    ]
