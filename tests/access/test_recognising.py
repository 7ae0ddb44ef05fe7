"""How a request shows its key, who recognises it, and what is told to whom."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.access.configured import configured_keys, peppers_of
from tidegate.access.directory import TELL_EVERY_S, Directory
from tidegate.access.keys import Peppers
from tidegate.access.presented import presented
from tidegate.access.proxies import Proxies
from tidegate.config import parse_text
from tidegate.errors import Unauthenticated
from tidegate.types import Caller, Key, Secret

PEPPERS = Peppers([b"a pepper of the test"])
SECRET = b"a-secret-of-twenty-characters"

# ------------------------------------------------------------------------------------------------------- in the headers


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer KEY"},
        {b"authorization": b"bearer KEY"},
        {b"authorization": b"BEARER  KEY "},
        {b"x-api-key": b"KEY"},
        {b"api-key": b" KEY "},
        {b"authorization": b"Bearer KEY", b"x-api-key": b"KEY"},
        {b"authorization": b"Bearer KEY", b"x-api-key": b"KEY", b"api-key": b"KEY"},
        {b"authorization": b"Bearer KEY", b"x-api-key": b""},
        {b"authorization": b"Bearer ", b"api-key": b"KEY"},
        {b"authorization": b"Bearer", b"api-key": b"KEY"},
    ],
)
def test_a_key_is_found_in_each_of_three_headers(headers: dict[bytes, bytes]) -> None:
    assert presented(headers) == "KEY"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "An API key is needed"),
        ({b"authorization": b"Bearer "}, "An API key is needed"),
        ({b"x-api-key": b"", b"api-key": b" "}, "An API key is needed"),
        (
            {b"cookie": b"key=KEY", b"x-key": b"KEY", b"proxy-authorization": b"Bearer KEY"},
            "An API key is needed",
        ),
        ({b"authorization": b"KEY"}, "must read 'Bearer '"),
        ({b"authorization": b"Basic S0VZ"}, "must read 'Bearer '"),
        ({b"authorization": b"Basic S0VZ", b"x-api-key": b"KEY"}, "must read 'Bearer '"),
        ({b"authorization": b"BearerKEY"}, "must read 'Bearer '"),
        ({b"authorization": b"Bearer KEY", b"x-api-key": b"OTHER"}, "two different API keys"),
        ({b"x-api-key": b"KEY", b"api-key": b"OTHER"}, "two different API keys"),
        ({b"authorization": b"Bearer KEY", b"api-key": b"key"}, "two different API keys"),
        ({b"authorization": b"Bearer KEY", b"x-api-key": b"KEY", b"api-key": b"K"}, "two different API keys"),
    ],
)
def test_what_is_no_key_or_more_than_one_is_refused(headers: dict[bytes, bytes], words: str) -> None:
    with pytest.raises(Unauthenticated, match=words) as raised:
        presented(headers)
    assert "KEY" not in raised.value.message.replace("Bearer KEY", "")


@given(
    st.dictionaries(
        st.sampled_from([b"authorization", b"x-api-key", b"api-key"]),
        st.sampled_from([b"", b" ", b"one", b"two", b"\xff"]),
    )
)
def test_one_key_in_any_number_of_headers_is_that_key_and_anything_else_is_refused(
    values: dict[bytes, bytes],
) -> None:
    headers = {name: b"Bearer " + key if name == b"authorization" else key for name, key in values.items()}
    keys = {key.strip() for key in values.values()} - {b""}
    if len(keys) == 1:
        assert presented(headers).encode("latin-1") in keys
    else:
        with pytest.raises(Unauthenticated):
            presented(headers)


# ------------------------------------------------------------------------------------------------------------ recognising


def key(secret: bytes = SECRET, **more: object) -> Key:
    digest = PEPPERS.digest(secret.decode())
    whole = Key(id=digest.hex(), name="ci", secrets=(Secret(digest),), caller=Caller(key="ci"))
    return msgspec.structs.replace(whole, **more)


def recognise(found: Directory, secret: bytes) -> Key:
    """As the stage `authenticate` does it."""
    text = secret.decode("latin-1")
    return found.recall(text) or asyncio.run(found.identify(text))


def directory(*keys: Key, now: float = 1000.0) -> Directory:
    found = Directory(lambda: now, lambda: now)
    found.configure(keys, PEPPERS)
    return found


def test_a_key_is_recognised_by_its_secret() -> None:
    assert recognise(directory(key()), SECRET).name == "ci"


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        SECRET[:-1],
        SECRET + b"x",
        SECRET.upper(),
        b"\xff\x00",
        PEPPERS.digest(SECRET.decode()).hex().encode(),
    ],
)
def test_nothing_else_is(wrong: bytes) -> None:
    with pytest.raises(Unauthenticated) as raised:
        recognise(directory(key()), wrong)
    assert raised.value.message == "The API key is not valid"


REFUSED = {
    "it has expired": {"expires_at": 1000.0},
    "it is revoked": {"revoked_at": 1000.0},
    "this secret of it is wrong, or not valid any more": {
        "secrets": (Secret(PEPPERS.digest(SECRET.decode()), expires_at=1000.0),)
    },
}


@pytest.mark.parametrize("why", REFUSED)
def test_only_the_log_says_why_a_known_key_is_refused(why: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(Unauthenticated) as raised:
        recognise(directory(key(**REFUSED[why])), SECRET)
    assert raised.value.message == "The API key is not valid"
    assert caplog.messages == [f"the key 'ci' was refused: {why}"]
    if (
        why != "it is revoked"
    ):  # a moment earlier the others were valid; a revoked key is out whatever the clock says
        assert recognise(directory(key(**REFUSED[why]), now=999.9), SECRET)


def test_a_key_that_is_refused_again_and_again_is_told_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [1000.0]
    found = Directory(lambda: now[0], lambda: now[0])
    found.configure([key(expires_at=0.0)], PEPPERS)
    for _ in range(100):
        with pytest.raises(Unauthenticated):
            recognise(found, SECRET)
    assert len(caplog.messages) == 1
    now[0] += TELL_EVERY_S
    with pytest.raises(Unauthenticated):
        recognise(found, SECRET)
    assert len(caplog.messages) == 2


def test_two_secrets_are_valid_while_one_is_replaced() -> None:
    old, new = (Secret(PEPPERS.digest(secret.decode())) for secret in (b"old" * 9, b"new" * 9))
    found = directory(key(secrets=(new, old)))
    assert recognise(found, b"old" * 9) is recognise(found, b"new" * 9)


def test_a_configured_key_is_found_by_its_secret_or_its_digest() -> None:
    pepper = "the pepper of the file"
    digest = Peppers([pepper.encode()]).digest("tg_given_as_a_digest").hex()
    config = parse_text(
        f"auth: {{pepper: {pepper}}}\nadmin: {{token: the-admin-token}}\n"
        f"keys: {{a: {{secret: the-secret-of-key-a}}, b: {{digest: {digest}, scopes: [metrics]}}}}",
        source="x",
    )
    found = Directory(lambda: 0.0, lambda: 0.0)
    peppers = peppers_of(config)
    found.configure(configured_keys(config, peppers).values(), peppers)
    assert recognise(found, b"the-secret-of-key-a").caller == Caller(key="a", scopes=frozenset({"inference"}))
    assert recognise(found, b"tg_given_as_a_digest").caller.scopes == {"metrics"}
    assert recognise(found, b"the-admin-token").caller.scopes == {
        "admin:read",
        "admin:write",
        "review",
        "metrics",
    }


def test_without_a_pepper_no_two_starts_have_the_same_digests() -> None:
    config = parse_text("keys: {a: {secret: the-secret-of-key-a}}", source="x")
    assert peppers_of(config).digest("a key") != peppers_of(config).digest("a key")


# ---------------------------------------------------------------------------------------------------------------- proxies


@pytest.mark.parametrize(
    ("peer", "named", "client"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, <script>", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("::1", "203.0.113.9", "203.0.113.9"),
        ("203.0.113.1", "198.51.100.7", "203.0.113.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_a_trusted_proxy_names_the_client(peer: str, named: str, client: str) -> None:
    proxies = Proxies(["10.0.0.0/8", "::1"])
    assert proxies.client(peer, {b"x-forwarded-for": named.encode()}) == client
