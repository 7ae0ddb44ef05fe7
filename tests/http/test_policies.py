"""What a policy changes for a client: the models it sees, its sizes and lengths; and what engines never get to see."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from canned import Canned, canned, whole
from serving import Answer, Running, ask, run_gateway

KEYS = {name: f"the-secret-of-{name}-0123456789" for name in ("wide", "narrow", "own", "ann", "prefix")}
ANSWER = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"hi"}}]}'
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Canned]:
    with canned(whole(ANSWER)) as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine: Canned) -> Iterator[Running]:
    to = {"deployments": [{"engine": "upstream"}]}
    tree: dict[str, Any] = {
        "server": {"port": 0},
        "engines": {"upstream": {"kind": "openai", "url": engine.base_url}},
        "models": {"small": to, "large": to, "gpt-*": to},
        "policies": {
            "narrow": {"models": ["small"], "defaults": {"max_tokens": 7, "max_body_bytes": 300}},
            "family": {"models": ["gpt-4*", "large"]},
        },
        "organisations": {
            "acme": {"policy": "narrow", "teams": {"blue": {"users": {"ann": {"policy": "family"}}}}}
        },
        "keys": {
            "wide": {"secret": KEYS["wide"]},
            "narrow": {"secret": KEYS["narrow"], "organisation": "acme"},
            "ann": {"secret": KEYS["ann"], "organisation": "acme", "team": "blue", "user": "ann"},
            "own": {
                "secret": KEYS["own"],
                "organisation": "acme",
                "policy": "family",
                "models": ["large", "small"],
            },
            "prefix": {"secret": KEYS["prefix"], "policy": "family"},
        },
    }
    with run_gateway(json.dumps(tree)) as gateway:
        yield gateway


def get(gateway: Running, path: str, key: str) -> Answer:
    return ask(f"{gateway.url}{path}", headers={"authorization": f"Bearer {KEYS[key]}"}, method="GET")


def chat(gateway: Running, key: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], **fields}
    named = {"authorization": f"Bearer {KEYS[key]}", **(headers or {})}
    return ask(f"{gateway.base_url}/chat/completions", json.dumps(body).encode(), named)


@pytest.mark.parametrize(
    ("key", "listed", "found", "hidden"),
    [
        ("wide", ["large", "small"], ["large", "small", "gpt-3"], ["gpt"]),
        ("narrow", ["small"], ["small"], ["large", "gpt-4o", "gpt-3", "smal"]),
        ("ann", ["large"], ["large", "gpt-4o"], ["small", "gpt-3"]),
        ("own", ["large"], ["large"], ["small", "gpt-4o"]),
        ("prefix", ["large"], ["large", "gpt-4o"], ["small", "gpt-5"]),
    ],
)
def test_a_caller_finds_what_its_policy_allows_and_nothing_else(
    gateway: Running, key: str, listed: list[str], found: list[str], hidden: list[str]
) -> None:
    assert [one["id"] for one in get(gateway, "/v1/models", key).json["data"]] == listed
    for model in found:
        assert get(gateway, f"/v1/models/{model}", key).json["id"] == model
        assert chat(gateway, key, model=model).status == 200
    for model in hidden:
        for answer in (get(gateway, f"/v1/models/{model}", key), chat(gateway, key, model=model)):
            assert answer.status == 404
            assert answer.error["code"] == "model_not_found"
            told = answer.error["message"].replace(f"'{model}'", "")
            assert not any(
                name in told for name in ("small", "large", "gpt-") if not any(name in seen for seen in found)
            )


def test_the_nearest_name_is_looked_for_among_the_visible_ones(gateway: Running) -> None:
    assert "did you mean 'small'?" in chat(gateway, "narrow", model="smal").error["message"]
    assert "did you mean" not in chat(gateway, "narrow", model="larg").error["message"]
    assert "did you mean 'large'?" in chat(gateway, "ann", model="larg").error["message"]


def test_a_policy_limits_the_size_of_a_body(gateway: Running) -> None:
    assert chat(gateway, "narrow", user="x" * 300).status == 413
    assert chat(gateway, "wide", user="x" * 300).status == 200


@pytest.mark.parametrize(
    ("key", "fields", "sent"),
    [
        ("narrow", {}, {"max_tokens": 7}),
        ("narrow", {"max_tokens": None}, {"max_tokens": 7}),
        ("narrow", {"max_tokens": 3}, {"max_tokens": 3}),
        ("narrow", {"max_completion_tokens": 3}, {"max_completion_tokens": 3}),
        ("narrow", {"max_completion_tokens": None}, {"max_tokens": 7}),
        ("wide", {}, {}),
    ],
)
def test_a_policy_limits_the_length_of_an_answer_where_the_request_does_not(
    gateway: Running, engine: Canned, key: str, fields: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert chat(gateway, key, **fields).status == 200
    body = json.loads(engine.heard[-1].body)
    assert {name: value for name, value in body.items() if name.startswith("max_")} == sent


def test_no_engine_sees_a_key_of_a_client(gateway: Running, engine: Canned) -> None:
    for header in ("authorization", "x-api-key", "api-key"):
        value = f"Bearer {KEYS['wide']}" if header == "authorization" else KEYS["wide"]
        own = {"traceparent": "00-1-2-00", "cookie": "a=b", header: value}
        assert chat(gateway, "wide", own).status == 200
        heard = engine.heard[-1]
        assert KEYS["wide"] not in str(heard)
        assert not {b"authorization", b"x-api-key", b"api-key", b"cookie"} & heard.headers.keys()
        assert heard.headers[b"traceparent"] == b"00-1-2-00"
