"""What clients are told of the way of their calls: the reason and the tries, and the engines only where that is allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from serving import Running, ask, eventually, run_gateway
from talking import chat, post, stream

FIRST, SECOND = "gpu-in-the-cellar", "gpu-in-the-attic"
BEFORE = ("error_status", "close@0", "reset@0")
"""Faults before the first byte of an answer."""
AFTER = ("close@2", "reset@2")


@contextmanager
def gateway(fault: str, *, exposed: bool, alone: bool = False) -> Iterator[Running]:
    """A gateway whose first engine fails. The second one answers, unless the first one is `alone`."""
    deployments = [{"engine": FIRST}, {"engine": SECOND, "tier": 3}]
    config = {
        "server": {"port": 0, "expose_engines": exposed},
        "engines": {FIRST: {"kind": "scripted", "fault": fault}, SECOND: {"kind": "scripted"}},
        "models": {"m": {"deployments": deployments[:1] if alone else deployments}},
    }
    if alone:
        del config["engines"][SECOND]
    with run_gateway(json.dumps(config)) as running:
        eventually(lambda: ask(f"{running.url}/readyz", method="GET").status == 200, "readiness")
        yield running


@pytest.mark.parametrize("fault", BEFORE)
@pytest.mark.parametrize("body", [chat(), stream()], ids=["whole", "streamed"])
def test_after_a_retry_the_header_says_so_and_where_the_answer_comes_from(fault: str, body: bytes) -> None:
    with gateway(fault, exposed=True) as running:
        answer = post(running, body)
    assert answer.status == 200
    assert answer.headers["x-tidegate-route"] == f"model=m;engine={SECOND};why=retry;tier=3;tries=2"


@pytest.mark.parametrize("fault", [*BEFORE, *AFTER])
@pytest.mark.parametrize("alone", [False, True], ids=["two engines", "one engine"])
def test_no_answer_names_an_engine_unless_that_is_allowed(fault: str, alone: bool) -> None:
    with gateway(fault, exposed=False, alone=alone) as running:
        answers = [post(running, body) for body in (chat(), stream(), chat(unknown=1), b"{")]
    routes = [answer.headers.get("x-tidegate-route", "") for answer in answers]
    assert all(route.startswith("model=m;why=") for route in routes[:2])
    for answer in answers:
        told = repr(answer.headers) + answer.body.decode()
        assert FIRST not in told
        assert SECOND not in told


def test_policies_choose_by_tags_and_a_model_without_such_a_deployment_does_not_exist() -> None:
    secret = "the-key-of-the-european-one"
    config = {
        "server": {"port": 0, "expose_engines": True},
        "engines": {FIRST: {"kind": "scripted"}, SECOND: {"kind": "scripted"}},
        "models": {
            "m": {"deployments": [{"engine": FIRST}, {"engine": SECOND, "tags": ["eu", "own"], "tier": 1}]},
            "elsewhere": {"deployments": [{"engine": FIRST, "tags": ["own"]}]},
        },
        "policies": {"european": {"tags": ["own", "eu"]}},
        "keys": {"k": {"secret": secret, "policy": "european"}},
    }
    with run_gateway(json.dumps(config)) as running:
        allowed = {"authorization": f"Bearer {secret}"}
        answer = post(running, chat(), **allowed)
        listed = ask(f"{running.base_url}/models", headers=allowed, method="GET").json
        refused = post(running, chat(model="elsewhere"), **allowed)
    assert answer.headers["x-tidegate-route"] == f"model=m;engine={SECOND};why=only;tier=1;tries=1"
    assert [one["id"] for one in listed["data"]] == ["m"]
    assert (refused.status, refused.error["code"]) == (404, "model_not_found")
    assert refused.error["message"] == "There is no model 'elsewhere'; there are: m"
