"""The issuer's keys at a running gateway: how often they are fetched, rotated keys, and an issuer that fails or lies.

Time is the test's: a gateway whose clock stands still until a test moves it.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
from issuers import Idp, b64, issuer, rsa, sign
from joserfc.jwk import ECKey, OKPKey, RSAKey
from serving import PATIENCE_S, Answer, Running, ask, eventually, run_gateway

from tidegate.access.jwt.issuer import AGAIN_S, FRESH_S, MOST_BYTES
from tidegate.config import parse_text
from tidegate.runtime import Runtime

STALE_S = 600
TLS = Path(__file__).resolve().parents[1] / "egress" / "tls"


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def text(auth: dict[str, Any], **more: Any) -> str:
    return json.dumps(
        {
            "server": {"port": 0},
            "auth": auth,
            "engines": {"script": {"kind": "scripted"}},
            "models": {"*": {"deployments": [{"engine": "script"}]}},
            **more,
        }
    )


@pytest.fixture
def idp() -> Iterator[Idp]:
    with issuer() as idp:
        yield idp


@pytest.fixture
def time() -> Time:
    return Time()


@contextmanager
def gateway_of(idp: Idp, time: Time, **settings: Any) -> Iterator[Running]:
    """A gateway that has asked the issuer once."""
    settings = {"jwks_url": f"{idp.url}/keys", "max_stale_s": STALE_S, **settings}
    with run_gateway(text(idp.settings(**settings)), Runtime(clock=time)) as gateway:
        eventually(lambda: bool(idp.asked), "the first fetch")
        yield gateway


def models(gateway: Running, token: str) -> Answer:
    return ask(f"{gateway.base_url}/models", headers={"authorization": f"Bearer {token}"}, method="GET")


def stranger(idp: Idp, kid: str) -> str:
    """A token that is good but for its key."""
    return sign({"alg": "RS256", "kid": kid}, idp.claims(), STRANGER)


STRANGER = rsa("stranger")


# ------------------------------------------------------------------------------------------------------- how often


def test_a_flood_of_unknown_keys_has_them_fetched_once_in_30_s(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time) as gateway:
        assert models(gateway, idp.token()).status == 200
        assert idp.fetches == 1
        for round_ in range(1, 4):
            time.now += AGAIN_S
            with ThreadPoolExecutor(16) as crowd:
                tokens = [stranger(idp, f"kid-{number}") for number in range(64)]
                answers = list(crowd.map(lambda token: models(gateway, token), tokens))
            assert {answer.status for answer in answers} == {401}
            assert idp.fetches == 1 + round_
            time.now += AGAIN_S - 0.001
            assert models(gateway, stranger(idp, "one more")).status == 401
            assert idp.fetches == 1 + round_
        assert models(gateway, idp.token()).status == 200


def test_callers_that_wait_share_one_fetch(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time) as gateway:
        assert models(gateway, idp.token()).status == 200
        time.now += AGAIN_S
        arrived, go_on = Event(), Event()

        def slowly(request: BaseHTTPRequestHandler) -> None:
            arrived.set()
            go_on.wait(PATIENCE_S)
            cast("Any", request).send(idp.key_set())

        idp.answer = slowly
        idp.keys["two"] = rsa("two")
        with ThreadPoolExecutor(8) as crowd:
            waiting = [crowd.submit(models, gateway, idp.token(kid="two", sub=f"u{n}")) for n in range(8)]
            assert arrived.wait(PATIENCE_S)
            assert models(gateway, idp.token(sub="of the known key")).status == 200
            go_on.set()
            assert {one.result(PATIENCE_S).status for one in waiting} == {200}
        assert idp.fetches == 2


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://attacker.example"},
        {"aud": "other"},
        {"exp": 1},
        {"sub": 7},
        {"iat": 2**33},
    ],
)
def test_only_a_token_that_could_be_good_makes_the_gateway_ask(
    idp: Idp, time: Time, change: dict[str, Any]
) -> None:
    with gateway_of(idp, time) as gateway:
        assert models(gateway, idp.token()).status == 200
        time.now += AGAIN_S
        forged = sign({"alg": "RS256", "kid": "new"}, idp.claims(**change), STRANGER)
        assert models(gateway, forged).status == 401
        assert idp.fetches == 1


def test_a_known_token_is_recognised_without_the_issuer_and_a_new_one_too(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time) as gateway:
        token = idp.token()
        assert models(gateway, token).status == 200
        idp.shutdown()
        assert models(gateway, token).status == 200
        assert models(gateway, idp.token(sub="bob")).status == 200


# -------------------------------------------------------------------------------------------------------- rotation


def test_a_new_key_is_found_within_30_s_and_a_withdrawn_one_ends_its_tokens(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time) as gateway:
        old = idp.token()
        assert models(gateway, old).status == 200
        idp.keys["two"] = rsa("two")
        new = idp.token(kid="two")
        assert models(gateway, new).status == 401  # the issuer was asked less than 30 s ago
        time.now += AGAIN_S
        assert models(gateway, new).status == 200
        assert models(gateway, old).status == 200
        del idp.keys["one"]
        idp.keys["three"] = rsa("three")
        time.now += AGAIN_S
        assert models(gateway, idp.token(kid="three")).status == 200
        assert models(gateway, new).status == 200
        assert models(gateway, old).status == 401


def test_a_key_of_the_same_name_replaces_the_old_one(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time) as gateway:
        old = idp.token()
        assert models(gateway, old).status == 200
        idp.keys["one"] = rsa("one")
        time.now += AGAIN_S
        assert models(gateway, stranger(idp, "any")).status == 401  # has the keys fetched
        assert models(gateway, old).status == 401
        assert models(gateway, idp.token()).status == 200


@pytest.mark.parametrize(
    ("alg", "make", "size"),
    [
        ("RS256", RSAKey.generate_key, 3072),
        ("PS256", RSAKey.generate_key, 2048),
        ("ES256", ECKey.generate_key, "P-256"),
        ("EdDSA", OKPKey.generate_key, "Ed25519"),
        ("Ed25519", OKPKey.generate_key, "Ed25519"),
    ],
)
def test_each_usual_algorithm_is_accepted_with_its_own_kind_of_key_alone(
    idp: Idp, time: Time, alg: str, make: Callable[[Any], RSAKey | ECKey | OKPKey], size: int | str
) -> None:
    key = make(size)
    others = {"RS256": "r", "ES256": "e", "EdDSA": "o"}
    idp.keys |= {"r": rsa("r"), "e": ECKey.generate_key("P-256"), "o": OKPKey.generate_key("Ed25519")}
    idp.keys["own"] = key
    with gateway_of(idp, time) as gateway:
        assert models(gateway, idp.token(kid="own", alg=alg)).status == 200
        for other, kid in others.items():
            good = idp.token(kid=kid, alg=other)
            assert models(gateway, good).status == 200
            if idp.keys[kid].key_type != key.key_type:
                head = b64(json.dumps({"alg": other, "kid": "own"}))
                assert models(gateway, f"{head}.{good.partition('.')[2]}").status == 401
                crossed = sign({"alg": other, "kid": "own"}, idp.claims(), idp.keys[kid])
                assert models(gateway, crossed).status == 401


def test_a_token_need_not_name_the_only_key(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time) as gateway:
        unnamed = sign({"alg": "RS256"}, idp.claims(), idp.keys["one"])
        assert models(gateway, unnamed).status == 200
        assert models(gateway, sign({"alg": "RS256"}, idp.claims(), STRANGER)).status == 401
        idp.keys["two"] = rsa("two")
        time.now += AGAIN_S
        assert models(gateway, idp.token(kid="two")).status == 200
        assert models(gateway, unnamed).status == 401


# ------------------------------------------------------------------------------------- an issuer that fails or lies


def redirected(request: BaseHTTPRequestHandler) -> None:
    cast("Any", request).send(b"", 302, location="/other")


def slow(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    request.connection.shutdown(socket.SHUT_WR)  # the rest never comes


def endless(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
    for _ in range(200):
        request.wfile.write(b" " * 65536)


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def public(key: RSAKey | ECKey | OKPKey, **more: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": "one", **more}


WEAK = {"kty": "RSA", "kid": "one", "e": "AQAB", "n": b64((2**1023 + 1).to_bytes(128, "big"))}
LARGE = {"kty": "RSA", "kid": "one", "e": "AQAB", "n": b64((2**20000 + 1).to_bytes(2501, "big"))}
BAD: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {
    "status 500": lambda request: cast("Any", request).send(b"{}", 500),
    "a redirect": redirected,
    "a body that breaks off": slow,
    "an endless body": endless,
    "a large body": b" " * MOST_BYTES + key_set(public(STRANGER)),
    "no JSON": b"<html>",
    "nothing": b"",
    "a list": b"[]",
    "deep JSON": b"[" * 100_000,
    "deep keys": b'{"keys":' + b"[" * 100_000,
    "no keys": b"{}",
    "an empty list": key_set(),
    "a symmetric key": key_set(public(STRANGER), {"kty": "oct", "kid": "x", "k": b64("secret" * 8)}),
    "a symmetric key of the same name": key_set({"kty": "oct", "kid": "one", "k": b64("secret" * 8)}),
    "a private key": key_set({**STRANGER.as_dict(private=True), "kid": "one"}),
    "two keys of one name": key_set(public(STRANGER), public(rsa("one"))),
    "two kinds of one name": key_set(public(STRANGER), public(ECKey.generate_key("P-256"))),
    "a weak key": key_set(WEAK),
    "a key that is too large": key_set(LARGE),
    "a huge exponent": key_set(public(STRANGER, e=b64(b"\xff" * 200))),
    "a key off its curve": key_set(public(ECKey.generate_key("P-256"), x=b64(b"\x01" * 32))),
    "a key without numbers": key_set({"kty": "RSA", "kid": "one"}),
    "numbers that are no base64": key_set(public(STRANGER, n="***")),
    "numbers that are numbers": key_set(public(STRANGER, n=17)),
    "a name that is no text": key_set(public(STRANGER, kid=["one"])),
    "only keys for encryption": key_set(public(STRANGER, use="enc")),
    "only keys for other things": key_set(public(STRANGER, key_ops=["encrypt"])),
    "an unknown kind": key_set({"kty": "AKP", "kid": "one", "pub": "abc"}),
    "an unknown curve": key_set(public(ECKey.generate_key("secp256k1"))),
    "too many keys": key_set(*[public(STRANGER, kid=str(number)) for number in range(101)]),
}


@pytest.mark.parametrize("how", BAD)
def test_an_answer_that_is_not_good_changes_nothing_and_is_logged(
    idp: Idp, time: Time, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway_of(idp, time) as gateway:
        assert models(gateway, idp.token()).status == 200
        idp.answer = BAD[how]
        time.now += AGAIN_S
        with caplog.at_level(logging.WARNING):
            forged = stranger(idp, "new")
            answer = models(gateway, forged)
        assert answer.status == 503  # whether the issuer has this key cannot be known
        assert int(answer.headers["retry-after"]) <= AGAIN_S
        assert "its issuer's keys cannot be fetched" in answer.error["message"]
        assert idp.fetches == 2
        assert models(gateway, sign({"alg": "RS256", "kid": "one"}, idp.claims(), STRANGER)).status == 401
        assert models(gateway, idp.token(sub="bob")).status == 200
        lines = [line for line in caplog.messages if "cannot be fetched: " in line and "issuer http" in line]
        assert len(lines) == 1, caplog.text
        assert "known keys stay in use for" in lines[0]
        assert forged not in caplog.text
        idp.answer = None
        time.now += AGAIN_S
        assert models(gateway, stranger(idp, "new")).status == 401
        assert "/other" not in idp.asked


def test_keys_for_other_purposes_and_of_unknown_kinds_are_left_out(idp: Idp, time: Time) -> None:
    own = json.loads(idp.key_set())["keys"][0]
    odd = [
        public(STRANGER, kid="enc", use="enc"),
        {"kty": "AKP", "kid": "pq", "pub": "abc"},
        {**WEAK, "kid": "weak"},
    ]
    idp.answer = json.dumps({"keys": [*odd, {**own, "x5c": ["abc"], "more": {"a": 1}}], "more": 1}).encode()
    with gateway_of(idp, time) as gateway:
        assert models(gateway, idp.token()).status == 200
        for kid in ("enc", "weak", "pq"):
            assert models(gateway, stranger(idp, kid)).status == 401


def test_known_keys_stay_in_use_for_a_bounded_time(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time) as gateway:
        token = idp.token()
        assert models(gateway, token).status == 200
        idp.answer = b"gone"
        time.now += FRESH_S + STALE_S - 0.001
        assert models(gateway, token).status == 200
        assert models(gateway, idp.token(sub="bob")).status == 200
        time.now += 0.001
        for late in (token, idp.token(sub="eve")):
            answer = models(gateway, late)
            assert (answer.status, answer.error["code"]) == (503, "overloaded")
        idp.answer = None
        time.now += AGAIN_S
        assert models(gateway, token).status == 200


def test_an_issuer_that_is_away_from_the_start_gives_503_and_keys_go_on(idp: Idp, time: Time) -> None:
    idp.answer = b"not yet"
    sections = text(
        idp.settings(jwks_url=f"{idp.url}/keys"), keys={"static": {"secret": "a-static-secret-of-the-test"}}
    )
    with run_gateway(sections, Runtime(clock=time)) as gateway:
        eventually(lambda: bool(idp.asked), "the first fetch")
        for token in (idp.token(), stranger(idp, "one"), stranger(idp, "x")):
            assert models(gateway, token).status == 503
        assert models(gateway, idp.token(aud="other")).status == 401
        assert models(gateway, "a-static-secret-of-the-test").status == 200
        assert ask(f"{gateway.url}/health", method="GET").status == 200
        idp.answer = None
        time.now += AGAIN_S
        assert models(gateway, idp.token()).status == 200


def test_an_issuer_that_does_not_answer_in_time_gives_503(idp: Idp, time: Time) -> None:
    go_on = Event()
    idp.answer = lambda request: cast("None", go_on.wait(PATIENCE_S))
    try:
        with gateway_of(idp, time) as gateway:
            assert models(gateway, idp.token()).status == 503
            assert models(gateway, idp.token()).status == 503
            assert idp.fetches == 1
    finally:
        go_on.set()


def test_an_issuer_with_a_certificate_of_a_house_authority(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    with issuer(TLS / "server.pem") as idp:
        sections = text(idp.settings(ca_path=str(TLS / "ca.pem")))
        with run_gateway(sections, Runtime(clock=time)) as gateway:
            assert models(gateway, idp.token()).status == 200
        asked = len(idp.asked)
        with run_gateway(text(idp.settings()), Runtime(clock=time)) as gateway:
            assert models(gateway, idp.token()).status == 503
        assert len(idp.asked) == asked
        assert "TLS: the certificate comes from an unknown authority" in caplog.text


# ------------------------------------------------------------------------------------------------------- discovery


def test_the_keys_are_where_the_issuer_says(idp: Idp, time: Time) -> None:
    with gateway_of(idp, time, jwks_url=None) as gateway:
        assert models(gateway, idp.token()).status == 200
        assert idp.asked == ["/.well-known/openid-configuration", "/keys"]
        time.now += AGAIN_S
        assert models(gateway, stranger(idp, "x")).status == 401
        assert idp.asked == ["/.well-known/openid-configuration", "/keys", "/keys"]


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://other.example", "jwks_uri": "KEYS"},
        {"issuer": "ISSUER/", "jwks_uri": "KEYS"},
        {"jwks_uri": "KEYS"},
        {"issuer": "ISSUER"},
        {"issuer": "ISSUER", "jwks_uri": "http://192.0.2.1/keys"},
        {"issuer": "ISSUER", "jwks_uri": "file:/etc/passwd"},
        {"issuer": "ISSUER", "jwks_uri": "KEYS\r\nx: y"},
        {"issuer": "ISSUER", "jwks_uri": "http://user:pass@127.0.0.1/keys"},
        {"issuer": "ISSUER", "jwks_uri": ["KEYS"]},
    ],
)
def test_a_description_that_is_not_good_is_not_followed(idp: Idp, time: Time, described: Any) -> None:
    filled = json.dumps(described).replace("ISSUER", idp.url).replace("KEYS", f"{idp.url}/keys")
    idp.discovery = json.loads(filled)
    with gateway_of(idp, time, jwks_url=None) as gateway:
        assert models(gateway, idp.token()).status == 503
        assert idp.asked == ["/.well-known/openid-configuration"]


# ---------------------------------------------------------------------------------------------------------- reloads


def test_a_reload_keeps_the_keys_of_an_issuer_whose_settings_did_not_change(idp: Idp, time: Time) -> None:
    async def change(gateway: Running, auth: dict[str, Any]) -> None:
        config = parse_text(text(auth), source="the test")
        gateway.gateway.put_in_force(await gateway.gateway.prepare(config))

    same = {"jwks_url": f"{idp.url}/keys", "max_stale_s": STALE_S}
    with gateway_of(idp, time) as gateway:
        token = idp.token()
        assert models(gateway, token).status == 200
        gateway.run(change(gateway, idp.settings(**same, audience="other")))
        assert models(gateway, token).status == 401
        assert models(gateway, idp.token(aud="other")).status == 200
        assert idp.fetches == 1
        gateway.run(change(gateway, idp.settings(jwks_url=f"{idp.url}/keys?v=2")))
        assert models(gateway, token).status == 200
        assert idp.asked == ["/keys", "/keys?v=2"]
