"""Tokens at a running gateway, with an issuer on the loopback interface: who gets in, and that no forged token does."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import talking
from access.forgeries import ATTACKERS_URL, CANARY, NOW, forgeries
from issuers import AUDIENCE, Idp, issuer
from serving import Answer, Running, ask, eventually, run_gateway
from talking import SCRIPT, post

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.types import Caller


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


def chat(gateway: Running, token: str, **more: Any) -> Answer:
    return post(gateway, talking.chat(**more), authorization=f"Bearer {token}")


def test_a_good_token_opens_the_gateway(gateway: Running, idp: Idp) -> None:
    assert models(gateway, idp.token()).status == 200


def test_no_forged_token_is_answered_and_all_get_the_same_words(
    gateway: Running, engine: ScriptedServer, idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    assert models(gateway, idp.token()).status == 200
    before, fetches = engine.record.figures().requests, idp.fetches
    forged = forgeries(idp)
    assert len(forged) > 200
    told: dict[str, list[str]] = {}
    with caplog.at_level(logging.DEBUG):
        for name, token in forged.items():
            for answer in (models(gateway, token), chat(gateway, token)):
                if name == "larger than a head" and answer.status == 431:
                    continue
                assert answer.status == 401, name
                assert answer.error["code"] == "invalid_api_key"
                told.setdefault(answer.error["message"], []).append(name)
                assert CANARY.encode() not in answer.body
                assert token.encode() not in answer.body
    assert list(told) == ["The token is not valid: get a new one from its issuer"]
    assert engine.record.figures().requests == before
    assert idp.fetches <= fetches + 1
    assert not any(path.startswith(ATTACKERS_URL) for path in idp.asked)
    assert CANARY not in caplog.text
    assert not any(
        part in caplog.text for token in forged.values() for part in token.split(".") if len(part) > 20
    )
    assert len([line for line in caplog.messages if "token" in line]) < 40
    assert models(gateway, idp.token()).status == 200


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {"aud": [AUDIENCE, "other"]}),
        ({}, {"aud": ["other", AUDIENCE]}),
        ({}, {"iat": None}),
        ({}, {"nbf": NOW - 10}),
        ({}, {"nbf": NOW + 20, "iat": NOW + 20}),
        ({}, {"exp": NOW + 600.5}),
        ({}, {"exp": NOW + 86_400}),
        ({}, {"sub": "auth0|507f1f77bcf86cd799439011"}),
        ({}, {"sub": "#7"}),
        ({}, {"sub": "Ännchen"}),
        ({}, {"groups": ["a", {"deep": [1, None]}], "name": None}),
        ({"typ": "JWT"}, {}),
        ({"typ": "at+jwt"}, {}),
        ({"typ": "application/at+jwt"}, {}),
        ({"x5t": "abc", "x5c": ["abc"], "jku": "https://attacker.example/keys", "unknown": 1}, {}),
    ],
)
def test_what_issuers_send_is_accepted(
    gateway: Running, idp: Idp, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    assert models(gateway, idp.token(header=header, **claims)).status == 200


def test_a_token_is_shown_like_a_key(gateway: Running, idp: Idp) -> None:
    for header in ("x-api-key", "api-key"):
        answer = ask(f"{gateway.base_url}/models", headers={header: idp.token()}, method="GET")
        assert answer.status == 200
    for headers in ({}, {"authorization": f"Basic {idp.token()}"}, {"authorization": idp.token()}):
        assert ask(f"{gateway.base_url}/models", headers=headers, method="GET").status == 401
    both = {"authorization": f"Bearer {idp.token()}", "x-api-key": idp.token(sub="bob")}
    assert ask(f"{gateway.base_url}/models", headers=both, method="GET").status == 401


def test_without_a_mapping_a_token_permits_calls_and_nothing_else(gateway: Running, idp: Idp) -> None:
    token = idp.token(scope="admin:read admin:write metrics", scopes=["admin:write"], policy="x", models=[])
    headers = {"authorization": f"Bearer {token}"}
    assert chat(gateway, token).status == 200
    assert ask(f"{gateway.url}/metrics", headers=headers, method="GET").status == 403
    assert ask(f"{gateway.url}/admin/reload", b"", headers).status == 403
    assert ask(f"{gateway.url}/readyz", headers=headers, method="GET").json == {"status": "ready"}


@pytest.fixture(scope="module")
def mapped(engine: ScriptedServer, idp: Idp) -> Iterator[Running]:
    claims = {
        "organisation": "https://acme.example/org",
        "team": "groups",
        "user": "email",
        "policy": "tidegate_policy",
        "scopes": "realm_access.roles",
        "scopes_by_value": {"user": ["inference"], "operator": ["metrics", "admin:read"]},
        "models": "models",
    }
    text = tree(
        engine,
        idp.settings(claims=claims, require={"email_verified": "true", "hd": ["acme.example", "b.example"]}),
        policies={"narrow": {"models": ["small", "large"]}},
        keys={"static": {"secret": "a.static.secret-with-two-dots"}},
        models={name: {"deployments": [{"engine": "upstream"}]} for name in ("small", "large", "huge")},
    )
    with run_gateway(text) as gateway:
        yield gateway


GOOD: dict[str, Any] = {
    "https://acme.example/org": "acme",
    "groups": ["blue"],
    "email": "ann@acme.example",
    "email_verified": True,
    "hd": "acme.example",
    "tidegate_policy": "narrow",
    "realm_access": {"roles": ["user", "other"]},
    "models": ["small", "huge"],
}


def test_claims_say_what_a_caller_may_do(mapped: Running, idp: Idp) -> None:
    def listed(**claims: Any) -> list[str]:
        return [one["id"] for one in models(mapped, idp.token(**GOOD | claims)).json["data"]]

    assert listed() == ["small"]
    assert listed(models="small large") == ["large", "small"]
    assert listed(models=["*"]) == ["large", "small"]
    assert listed(models=[]) == []
    assert listed(models=None) == []
    caller = mapped.run(recognised(mapped, idp.token(**GOOD, sub="ann")))
    assert caller == Caller(
        key=caller.key,
        user="ann@acme.example",
        team="blue",
        organisation="acme",
        scopes=frozenset({"inference"}),
    )
    assert caller.key.startswith("jwt:")
    assert caller.key.endswith(":ann")


async def recognised(gateway: Running, token: str) -> Caller:
    admitted = await gateway.gateway.snapshot.authenticate.admit({b"api-key": token.encode()}, "inference")
    return admitted.caller


def test_scopes_are_those_of_the_mapped_values(mapped: Running, idp: Idp) -> None:
    def metrics(*roles: Any) -> int:
        token = idp.token(**GOOD | {"realm_access": {"roles": list(roles)}})
        headers = {"authorization": f"Bearer {token}"}
        assert chat(mapped, token, model="small").status == (200 if "user" in roles else 403)
        return ask(f"{mapped.url}/metrics", headers=headers, method="GET").status

    assert metrics("user") == 403
    assert metrics("operator") == 200
    assert metrics("operator", "user") == 200
    assert metrics("metrics", "admin:read", "admin:write", "inference") == 403
    assert metrics() == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"https://acme.example/org": None},
        {"groups": None},
        {"groups": []},
        {"groups": ["blue", "red"]},
        {"groups": {"name": "blue"}},
        {"groups": ""},
        {"email": None},
        {"email": "a" * 257},
        {"email": "ann\u202e"},
        {"tidegate_policy": None},
        {"tidegate_policy": ["narrow", "default"]},
        {"email_verified": False},
        {"email_verified": None},
        {"hd": "acme.example.attacker.example"},
        {"hd": "acme.example other"},
        {"hd": ["other"]},
        {"realm_access": {"roles": [{"name": "user"}]}},
        {"models": ["a*b"]},
        {"models": ["m"] * 1001},
    ],
)
def test_a_token_whose_claims_do_not_say_who_calls_is_refused(
    mapped: Running, idp: Idp, claims: dict[str, Any]
) -> None:
    answer = models(mapped, idp.token(**GOOD | claims))
    assert answer.status == 401
    assert answer.error["message"] == "The token is not valid: get a new one from its issuer"


def test_a_policy_that_does_not_exist_is_told(mapped: Running, idp: Idp) -> None:
    answer = chat(mapped, idp.token(**GOOD | {"tidegate_policy": "broad"}), model="small")
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")
    assert "The policy 'broad'" in answer.error["message"]


def test_keys_go_on_beside_tokens(mapped: Running) -> None:
    assert models(mapped, "a.static.secret-with-two-dots").status == 200
    for other in ("a.static.secret-with-two-dot", "another-secret"):
        assert models(mapped, other).status == 401
