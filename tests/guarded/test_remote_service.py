"""What holds for every rail that asks a service: retries, the breaker, the memory, what is told of failures, and proofs."""

from __future__ import annotations

import asyncio
import calendar
import json
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from canned import Heard, whole
from joserfc import jwt
from joserfc.jwk import RSAKey

from guarded.remote_examples import KEY, armor, moderation
from guarded.server import Says, answers, guard, in_turn
from guarded.world import guarded
from tidegate.config import parse_text
from tidegate.errors import ConfigError
from tidegate.rails.remote.pointer import NotThere, Pointer
from tidegate.rails.remote.proof.sigv4 import Credentials, Signable, signed

SAFE = answers(moderation(False, violence=0.1))


def status(code: int, *headers: bytes) -> Says:
    return lambda _: [whole(b'{"error": "hello"}', *headers, status=b"%d X" % code)]


def checks(says: Says, *texts: str, **rail: Any) -> tuple[list[dict[str, Any]], list[Heard]]:
    async def run() -> tuple[list[dict[str, Any]], list[Heard]]:
        with guard(says) as server:
            settings = {
                "kind": "openai_moderation",
                "url": server.base_url,
                "api_key": KEY,
                "cache_s": 0,
                **rail,
            }
            async with guarded(settings, server) as world:
                return [await world.checked({"input": text}) for text in texts], server.heard

    return asyncio.run(run())


def errors(made: list[dict[str, Any]]) -> list[str]:
    return [verdict.get("error", "") for one in made for verdict in one["verdicts"]]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_failure_that_may_pass_is_tried_once_more(code: int) -> None:
    made, heard = checks(in_turn(status(code), SAFE), "a")
    assert (made[0]["status"], len(heard)) == ("passed", 2)


@pytest.mark.parametrize("code", [301, 400, 401, 403, 404])
def test_a_refusal_is_not_tried_again(code: int) -> None:
    made, heard = checks(in_turn(status(code), SAFE), "a")
    assert (made[0]["status"], len(heard)) == ("blocked", 1)
    assert str(code) in errors(made)[0]


def test_a_service_that_wants_to_be_left_alone_is() -> None:
    _, heard = checks(in_turn(status(429, b"retry-after: 30"), SAFE), "a")
    assert len(heard) == 1


def test_retries_can_be_switched_off() -> None:
    _, heard = checks(in_turn(status(503), SAFE), "a", retries=0)
    assert len(heard) == 1


def test_a_dead_service_is_not_asked_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made, heard = checks(status(503), *"abcdefghij")
    assert len(heard) == 5
    assert "503" in errors(made)[0]
    assert "has failed too often" in errors(made)[-1]
    assert [one.message for one in caplog.records if "does not ask its service" in one.message]


def test_retries_have_a_budget() -> None:
    says = in_turn(*[status(503), SAFE] * 20)
    made, heard = checks(says, *"abcdefgh")
    assert len(heard) <= 8 + 4
    assert [one["status"] for one in made][:3] == ["passed"] * 3


def test_verdicts_are_remembered() -> None:
    _, heard = checks(SAFE, "a", "a", "b", cache_s=60)
    assert len(heard) == 2


def test_failures_are_not_remembered() -> None:
    made, heard = checks(in_turn(status(400), SAFE), "a", "a", cache_s=60)
    assert ([one["status"] for one in made], len(heard)) == (["blocked", "passed"], 2)


def test_a_large_answer_is_no_verdict() -> None:
    made, _ = checks(SAFE, "a", max_response_bytes=20)
    assert "max_response_bytes" in errors(made)[0]


def test_what_is_told_has_neither_the_key_nor_the_text(caplog: pytest.LogCaptureFixture) -> None:
    says = lambda _: [whole(f"{KEY} secret text".encode(), status=b"401 X")]  # noqa: E731
    with caplog.at_level(logging.DEBUG):
        made, _ = checks(says, "secret text")
    told = json.dumps(made) + caplog.text
    assert "api_key" in told
    assert KEY not in told
    assert "secret text" not in told


def test_a_service_that_is_not_there_is_told_with_its_setting() -> None:
    made, _ = checks(SAFE, "a", url="http://127.0.0.1:9")
    assert "url" in errors(made)[0]


def test_a_service_is_asked_through_the_proxy() -> None:
    async def run() -> tuple[str, Heard]:
        with guard(SAFE) as server:
            proxy = server.root.replace("http://", "http://ann:secret@")
            rail = {"kind": "openai_moderation", "url": "http://service.test/v1", "proxy": proxy}
            async with guarded(rail, server) as world:
                return (await world.checked({"input": "a"}))["status"], server.heard[0]

    found, heard = asyncio.run(run())
    assert found == "passed"
    assert heard.line == b"POST http://service.test/v1/moderations HTTP/1.1"
    assert heard.headers[b"proxy-authorization"].startswith(b"Basic ")


def test_a_certificate_of_nobody_known_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    rail = {"kind": "lakera", "ca_path": str(tmp_path / "ca.pem")}
    with pytest.raises(ConfigError) as raised:
        parse_text(json.dumps({"rails": {"profiles": {"p": {"rails": [rail]}}}}), source="the test")
    assert "ca_path" in str(raised.value)


# --------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("rail", "says"),
    [
        ({"kind": "bedrock", "region": "r", "guardrail_id": "g"}, "api_key, or access_key_id"),
        ({"kind": "model_armor", "template": "t", "api_key": "k"}, "template"),
        ({"kind": "model_armor", "template": "projects/p/locations/l/templates/t"}, "service_account_path"),
        (
            {"kind": "azure_content_safety", "url": "https://x.test", "shields": False, "analyze": False},
            "shields",
        ),
        ({"kind": "azure_content_safety", "url": "https://x.test", "severities": {"weapons": 2}}, "weapons"),
        ({"kind": "http", "url": "https://x.test", "request": "{text}"}, "verdict"),
        ({"kind": "http", "url": "https://x.test", "request": "{test}"}, "{test}"),
        ({"kind": "http", "url": "https://x.test", "request": {"a": "b"}}, "{text}"),
        (
            {
                "kind": "http",
                "url": "https://x.test",
                "request": "{text}",
                "score": {"at": "s", "threshold": 1},
            },
            "JSON pointer",
        ),
        (
            {
                "kind": "http",
                "url": "https://x.test",
                "request": "{text}",
                "verdict": {"at": "/v", "safe": 1, "unsafe": [0, 1.0]},
            },
            "both safe and unsafe",
        ),
        ({"kind": "openai_moderation", "thresholds": {"violance": 0.5}}, "did you mean 'violence'"),
        ({"kind": "openai_moderation", "thresholds": {"weapons": 0.5}}, "which the service does not tell"),
    ],
)
def test_settings_are_checked_at_the_start(rail: dict[str, Any], says: str) -> None:
    tree = {"rails": {"profiles": {"p": {"rails": [rail]}}}}
    with pytest.raises(ConfigError) as raised:
        parse_text(json.dumps(tree), source="the test")
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("", {"a/b": [{"~": 1}], "": 2}),
        ("/a~1b/0/~0", 1),
        ("/", 2),
        ("/a~1b/1", None),
        ("/a~1b/-", None),
        ("/x", None),
    ],
)
def test_pointers_are_those_of_rfc_6901(source: str, found: Any) -> None:
    document = {"a/b": [{"~": 1}], "": 2}
    if found is None:
        with pytest.raises(NotThere):
            Pointer(source).of(document)
    else:
        assert Pointer(source).of(document) == found


# ----------------------------------------------------------------------------------------------------------- proofs

HOST = {"host": "example.amazonaws.com"}
FORM = {**HOST, "content-type": "application/x-www-form-urlencoded"}
VECTORS = {
    "get-vanilla": (
        Signable("GET", "/", HOST, b""),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "post-vanilla": (
        Signable("POST", "/", HOST, b""),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "post-x-www-form-urlencoded": (
        Signable("POST", "/", FORM, b"Param1=value1"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "get-utf8": (
        Signable("GET", "/\u1234", HOST, b""),
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
}
"""Of the test suite that AWS publishes for Signature Version 4."""


@pytest.mark.parametrize("name", VECTORS)
def test_signatures_are_those_of_the_published_vectors(name: str) -> None:
    request, signature = VECTORS[name]
    keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    headers = signed(request, keys, region="us-east-1", service="service", at=1440938160)
    assert headers["x-amz-date"] == "20150830T123600Z"
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request" in headers["authorization"]


def test_requests_to_bedrock_are_signed_with_the_token_of_the_session() -> None:
    keys = {"access_key_id": "AKID", "secret_access_key": "s3cret", "session_token": "session"}
    rail = {"kind": "bedrock", "region": "eu-west-1", "guardrail_id": "arn:a/b", "api_key": None, **keys}
    made, heard = checks(answers({"action": "NONE"}), "a", **rail)
    [one] = heard
    assert made[0]["status"] == "passed"
    assert one.line.startswith(b"POST /v1/guardrail/arn%3Aa%2Fb/version/DRAFT/apply ")
    assert one.headers[b"x-amz-security-token"] == b"session"
    path = "/v1/guardrail/arn%3Aa%2Fb/version/DRAFT/apply"
    host = one.headers[b"host"].decode()
    told = one.headers[b"authorization"].decode()
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in told
    at = calendar.timegm(time.strptime(one.headers[b"x-amz-date"].decode(), "%Y%m%dT%H%M%SZ"))
    again = signed(
        Signable("POST", path, {"host": host}, one.body),
        Credentials("AKID", "s3cret", "session"),
        region="eu-west-1",
        service="bedrock",
        at=at,
    )
    assert again["authorization"] == told


@pytest.fixture(scope="module")
def key() -> RSAKey:
    return RSAKey.generate_key(2048, private=True)


def account(folder: Path, key: RSAKey, token_uri: str) -> Path:
    path = folder / "account.json"
    told = {
        "type": "service_account",
        "client_email": "tidegate@p.iam.gserviceaccount.com",
        "private_key": key.as_pem(private=True).decode(),
        "private_key_id": "k1",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(told))
    return path


@pytest.mark.parametrize(("expires_in", "fetched"), [(3600, 1), (200, 3)])
def test_access_tokens_are_fetched_and_renewed(
    tmp_path: Path, key: RSAKey, expires_in: int, fetched: int
) -> None:
    def says(heard: Heard) -> Any:
        if heard.line.startswith(b"POST /token "):
            return answers({"access_token": "ya29.x", "expires_in": expires_in, "token_type": "Bearer"})(
                heard
            )
        return answers(armor())(heard)

    async def run() -> list[Heard]:
        with guard(says) as server:
            path = account(tmp_path, key, f"{server.root}/token")
            rail = {
                "kind": "model_armor",
                "url": server.root,
                "template": "projects/p/locations/l/templates/t",
                "service_account_path": str(path),
            }
            async with guarded(rail, server) as world:
                for text in "abc":
                    assert (await world.checked({"input": text}))["status"] == "passed"
            return server.heard

    heard = asyncio.run(run())
    asked = [one for one in heard if one.line.startswith(b"POST /token ")]
    assert len(asked) == fetched
    assert asked[0].headers[b"content-type"] == b"application/x-www-form-urlencoded"
    form = parse_qs(asked[0].body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    token = jwt.decode(form["assertion"][0], key, algorithms=["RS256"])
    assert token.header["kid"] == "k1"
    claims = token.claims
    assert claims["iss"] == "tidegate@p.iam.gserviceaccount.com"
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] - claims["iat"] == 3600
    others = [one for one in heard if one not in asked]
    assert {one.headers[b"authorization"] for one in others} == {b"Bearer ya29.x"}


def test_no_access_token_is_no_verdict(tmp_path: Path, key: RSAKey) -> None:
    async def run() -> list[str]:
        with guard(status(400)) as server:
            rail = {
                "kind": "model_armor",
                "url": server.root,
                "template": "projects/p/locations/l/templates/t",
                "service_account_path": str(account(tmp_path, key, f"{server.root}/token")),
            }
            async with guarded(rail, server) as world:
                return errors([await world.checked({"input": "a"})])

    [error] = asyncio.run(run())
    assert "service_account_path" in error
    assert "400" in error
