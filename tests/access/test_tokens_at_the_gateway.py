"""Tokens at a running gateway, with an issuer on the loopback interface: who gets in, and that no forged token does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from issuers import Idp, issuer
from serving import Answer, Running, ask, eventually, run_gateway
from talking import SCRIPT

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@pytest.fixture(scope="module")
def idp() -> Iterator[Idp]:
    with issuer() as idp:
        yield idp


def tree(engine: ScriptedServer, auth: dict[str, Any], **more: Any) -> str:
    return json.dumps(
        {
            "server": {"port": 0},
            "auth": auth,
            "engines": {"upstream": {"kind": "openai", "url": engine.base_url}},
            "models": {"*": {"deployments": [{"engine": "upstream"}]}},
            **more,
        }
    )


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer, idp: Idp) -> Iterator[Running]:
    with run_gateway(tree(engine, idp.settings())) as gateway:
        eventually(lambda: ask(f"{gateway.url}/readyz", method="GET").status == 200, "the first probe")
        yield gateway


def models(gateway: Running, token: str) -> Answer:
    return ask(f"{gateway.base_url}/models", headers={"authorization": f"Bearer {token}"}, method="GET")


def test_a_good_token_opens_the_gateway(gateway: Running, idp: Idp) -> None:
    assert models(gateway, idp.token()).status == 200
