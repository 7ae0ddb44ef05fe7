"""Tokens by themselves: what is remembered of them and for how long, and readers of foreign bytes that raise one error."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from access.forgeries import forgeries
from hypothesis import given
from hypothesis import strategies as st
from issuers import AUDIENCE, Idp, b64, sign
from joserfc.jws import JWSRegistry

from tidegate.access.jwt.claims import key_of
from tidegate.access.jwt.form import Refused, is_token, read
from tidegate.access.jwt.issuer import Issuer
from tidegate.access.jwt.signers import Poisoned, signers_of
from tidegate.access.jwt.tokens import TELL_EVERY_S, Tokens
from tidegate.config import JwtConfig
from tidegate.errors import Unauthenticated

EXP = 1_800_000_000


class Time:
    """Both clocks: seconds since the epoch, and monotonic ones."""

    def __init__(self) -> None:
        self.now = EXP - 600.0

    def __call__(self) -> float:
        return self.now


def never(work: Coroutine[Any, Any, Any], *, name: str) -> NoReturn:
    raise AssertionError(f"{name}: no key has to be fetched")


@pytest.fixture(scope="module")
def idp() -> Any:
    with Idp() as idp:  # its keys; no thread answers
        yield idp


@pytest.fixture
def time() -> Time:
    return Time()


def tokens_of(idp: Idp, time: Time, *, most: int = 100, **settings: Any) -> tuple[Tokens, Issuer]:
    config = JwtConfig(issuer=idp.url, audience=AUDIENCE, **settings)
    keys = Issuer(config, clock=time, spawn=never)
    keys.signers, keys.good_until = signers_of(idp.key_set()), math.inf
    return Tokens(config, keys, clock=time, wall=time, most=most), keys


def token(idp: Idp, **claims: Any) -> str:
    return idp.token(**{"iat": EXP - 600, "exp": EXP, **claims})


def identify(tokens: Tokens, text: str) -> Any:
    return asyncio.run(tokens.identify(text))


def test_a_token_is_remembered_until_it_ends(idp: Idp, time: Time) -> None:
    tokens, _ = tokens_of(idp, time)
    text = token(idp)
    assert tokens.recall(text) is None
    key = identify(tokens, text)
    assert tokens.recall(text) is key
    assert identify(tokens, text) is key
    time.now = EXP + 30 - 0.5
    assert tokens.recall(text) is key
    assert identify(tokens, text) is key
    time.now = EXP + 30
    assert tokens.recall(text) is None
    with pytest.raises(Unauthenticated):
        identify(tokens, text)


@pytest.mark.parametrize("leeway", [0, 1, 300])
def test_leeway_counts_at_both_ends(idp: Idp, time: Time, leeway: int) -> None:
    tokens, _ = tokens_of(idp, time, leeway_s=leeway)
    start = EXP - 600
    for name, claims in {"nbf": {"nbf": start}, "iat": {"iat": start}}.items():
        time.now = start - leeway - 1
        with pytest.raises(Unauthenticated):
            identify(tokens, token(idp, sub=name, **claims))
        time.now = start - leeway
        assert identify(tokens, token(idp, sub=name, **claims)).caller.user == name
    time.now = EXP + leeway - 1
    assert identify(tokens, token(idp, sub="end"))
    time.now = EXP + leeway
    with pytest.raises(Unauthenticated):
        identify(tokens, token(idp, sub="late"))


def test_the_life_of_a_token_is_bounded(idp: Idp, time: Time) -> None:
    tokens, _ = tokens_of(idp, time, max_token_age_s=600)
    assert identify(tokens, token(idp))
    assert identify(tokens, token(idp, sub="b", iat=None))
    for claims in ({"exp": EXP + 1}, {"iat": EXP - 601}, {"iat": None, "exp": EXP + 1}):
        with pytest.raises(Unauthenticated):
            identify(tokens, token(idp, sub="c", **claims))


def test_all_tokens_of_a_caller_have_the_same_key(idp: Idp, time: Time) -> None:
    tokens, _ = tokens_of(idp, time)
    first, second = token(idp), token(idp, exp=EXP + 5)
    assert identify(tokens, first) is identify(tokens, second) is tokens.recall(first)
    assert identify(tokens, token(idp, sub="bob")).id != identify(tokens, first).id


def test_ids_are_stable_bounded_and_different(idp: Idp, time: Time) -> None:
    tokens, _ = tokens_of(idp, time)
    long = "a" * 200
    subjects = [
        "ann",
        "Ann",
        "ann ",
        "#ann",
        "ännchen",
        long,
        long + "b",
        "auth0|1",
        "a/b",
        "x" * 128,
        "x" * 129,
    ]
    ids = {identify(tokens, token(idp, sub=sub)).id for sub in subjects}
    hashed = {one.rpartition(":")[2] for one in ids if "#" in one}
    ids |= {identify(tokens, token(idp, sub=one)).id for one in hashed}
    assert len(ids) == len(subjects) + len(hashed)
    assert max(map(len, ids)) <= 4 + 12 + 1 + 128
    again, _ = tokens_of(idp, time)
    assert {identify(again, token(idp, sub=sub)).id for sub in subjects} < ids


def test_few_tokens_are_remembered(idp: Idp, time: Time) -> None:
    tokens, _ = tokens_of(idp, time, most=3)
    texts = [token(idp, sub=f"user-{number}") for number in range(5)]
    for text in texts:
        identify(tokens, text)
    assert [tokens.recall(text) is not None for text in texts] == [False, False, True, True, True]
    for forged in forgeries(idp).values():
        with pytest.raises(Unauthenticated):
            identify(tokens, forged)
    assert all(tokens.recall(text) for text in texts[2:])


def test_remembered_tokens_end_with_the_keys_of_their_issuer(idp: Idp, time: Time) -> None:
    tokens, keys = tokens_of(idp, time)
    text = token(idp)
    identify(tokens, text)
    keys.good_until = time.now
    assert tokens.recall(text) is None
    keys.good_until = math.inf
    assert tokens.recall(text) is not None
    keys.signers = signers_of(idp.key_set())
    assert tokens.recall(text) is None
    assert identify(tokens, text) is tokens.recall(text)


@pytest.mark.parametrize("part", ["header", "claims"])
def test_nesting_of_any_depth_is_read_or_refused(idp: Idp, time: Time, part: str) -> None:
    """Two readers of the same header stand at different depths of the stack, so every depth is tried."""
    tokens, _ = tokens_of(idp, time)
    for depth in range(900, 1010):
        nested = f', "x": {"[" * depth}{"]" * depth}}}'
        texts = {
            "header": '{"alg": "RS256", "kid": "one"}',
            "claims": json.dumps(idp.claims(iat=EXP - 600, exp=EXP)),
        }
        texts[part] = texts[part][:-1] + nested
        signed = f"{b64(texts['header'])}.{b64(texts['claims'])}"
        signature = JWSRegistry.algorithms["RS256"].sign(signed.encode(), idp.keys["one"])
        with suppress(Unauthenticated):
            assert identify(tokens, f"{signed}.{b64(signature)}").caller.user == "ann"


def test_the_log_has_each_reason_once_a_minute(
    idp: Idp, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    tokens, _ = tokens_of(idp, time)
    forged = [token(idp, aud="other"), token(idp, exp=EXP - 3600), token(idp, iss="https://x.example")]

    whys = [
        "its claim aud is not what it has to be",
        "it has expired",
        "its claim iss is not what it has to be",
    ]

    def tried(times: int) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            for text in forged * times:
                with pytest.raises(Unauthenticated):
                    asyncio.run(tokens.identify(text, peer="192.0.2.7"))
        return caplog.messages

    assert tried(5) == [f"a token from 192.0.2.7 was refused: {why}" for why in whys]
    assert tried(5) == []
    time.now += TELL_EVERY_S
    more = ", and 9 more since the last such line"
    assert tried(1) == [f"a token from 192.0.2.7 was refused: {why}{more}" for why in whys]


# --------------------------------------------------------------------------------------------------- foreign bytes

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)


def within(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return inner | st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)


JSON = within(within(LEAVES))
NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "iss", "aud", "sub", "exp", "roles", "a", "a.b", "org"])
OBJECTS = st.dictionaries(NAMES, JSON, max_size=6)


@given(
    st.text(alphabet=st.characters(codec="latin-1"), max_size=200)
    | st.text(alphabet="eyJ.-_A0=", max_size=40)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    is_token(text)
    with pytest.raises(Refused):
        read(text)


@given(OBJECTS | JSON, OBJECTS | JSON, st.binary(max_size=8))
def test_any_json_is_read_or_refused(header: Any, claims: Any, signature: bytes) -> None:
    text = ".".join([b64(json.dumps(header)), b64(json.dumps(claims)), b64(signature)])
    assert is_token(text)
    try:
        found, read_claims = read(text)
    except Refused:
        return
    assert found.alg == header["alg"]
    assert read_claims == claims


MAPPED = JwtConfig(
    issuer="https://x.example",
    audience="a",
    require={"a": "x"},
    claims={
        "organisation": "org",
        "team": "a.b",
        "user": "sub",
        "policy": "kid",
        "scopes": "roles",
        "scopes_by_value": {"x": ["metrics"]},
        "models": "aud",
    },
)


@given(OBJECTS.map(lambda claims: {**claims, "a": claims.get("a") or "x"}), JSON)
def test_any_claims_become_a_caller_or_are_refused(claims: dict[str, Any], more: Any) -> None:
    try:
        key = key_of({**claims, "a.b": more}, MAPPED)
    except Refused:
        return
    caller = key.caller
    assert all((caller.user, caller.team, caller.organisation, key.policy))
    assert caller.scopes <= {"metrics"}


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_key_set_is_read_or_refused(answer: bytes) -> None:
    with pytest.raises(Poisoned):
        signers_of(answer)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct", "x"])},
            optional={
                **dict.fromkeys(("n", "e", "x", "y", "d", "k", "kid", "alg"), st.text(max_size=8) | JSON),
                "crv": st.sampled_from(["P-256", "P-521", "Ed25519", "Ed448", "secp256k1", ""]),
                "use": st.sampled_from(["sig", "enc", None, 1]),
            },
        ),
        max_size=3,
    )
)
def test_any_keys_are_read_or_refused(keys: list[dict[str, Any]]) -> None:
    with pytest.raises(Poisoned):
        signers_of(json.dumps({"keys": keys}).encode())


def test_a_claim_is_found_by_its_whole_name_before_its_path() -> None:
    def user(claims: dict[str, Any], path: str) -> str:
        config = JwtConfig(issuer="https://x.example", audience="a", claims={"user": path})
        return key_of({"sub": "s", **claims}, config).caller.user

    assert user({"a": {"b": "nested"}}, "a.b") == "nested"
    assert user({"a": {"b": "nested"}, "a.b": "whole"}, "a.b") == "whole"
    assert user({"https://x.example/a": {"b": {"c": "deep"}}}, "https://x.example/a.b.c") == "deep"
    assert user({"a.b": {"c": "dotted"}}, "a.b.c") == "dotted"
    assert user({"n": 7}, "n") == "7"
    assert user({"n": ["one"]}, "n") == "one"
    for missing in ("a", "a.b", "sub.b", ".sub", "sub.", "a..b"):
        with pytest.raises(Refused):
            user({}, missing)


def test_a_token_of_another_issuer_with_the_same_keys_is_refused(idp: Idp, time: Time) -> None:
    tokens, _ = tokens_of(idp, time)
    claims = {"aud": AUDIENCE, "sub": "ann", "exp": EXP, "iss": "https://elsewhere.example"}
    with pytest.raises(Unauthenticated):
        identify(tokens, sign({"alg": "RS256", "kid": "one"}, claims, idp.keys["one"]))
