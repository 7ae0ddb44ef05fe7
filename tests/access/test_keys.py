"""The form of keys: typing errors are found without a look-up, any text can be parsed, and secrets are told to nobody."""

from __future__ import annotations

import hmac
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.access import keys
from tidegate.access.keys import DIGITS, KeyText, Peppers, holds, renewed
from tidegate.types import Caller, Key, Secret

PEPPERS = Peppers([b"the pepper of this server"])


@st.composite
def texts(draw):
    """The texts of keys, made as the code makes them."""
    return keys.new_text(draw(st.text(DIGITS, min_size=10, max_size=10))).text


@given(texts())
def test_a_new_key_parses_to_itself(text):
    found = keys.parse(text)
    assert found is not None
    assert found.text == text
    assert found.id == keys.id_of(text)
    assert len(text) == 65


@given(texts(), st.data())
def test_every_change_of_one_character_is_found(text, data):
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters() | st.sampled_from(DIGITS + "_T"))
    changed = text[:place] + other + text[place + 1 :]
    assert (keys.parse(changed) is None) == (changed != text)


def test_every_digit_at_every_place_is_found():
    text = keys.new_text("0123456789").text
    for place in range(len(text)):
        for other in DIGITS + "_":
            changed = text[:place] + other + text[place + 1 :]
            assert (keys.parse(changed) is None) == (changed != text)


@given(texts(), st.data())
def test_a_character_too_many_or_too_few_is_found(text, data):
    place = data.draw(st.integers(0, len(text) - 1))
    assert keys.parse(text[:place] + text[place + 1 :]) is None
    assert keys.parse(text[:place] + data.draw(st.characters()) + text[place:]) is None


def test_almost_every_exchange_of_neighbours_is_found():
    missed = tried = 0
    for _ in range(50):
        text = keys.new_text(keys.new_id()).text
        for place in range(14, 63):
            if text[place] != text[place + 1]:
                swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
                tried += 1
                missed += keys.parse(swapped) is not None
    assert missed / tried < 0.01


@given(
    st.text() | st.text(DIGITS + "_tg", max_size=80) | st.from_regex(r"tg_[\w]{10}_[\w]{51}", fullmatch=True)
)
def test_any_text_can_be_parsed(text):
    found = keys.parse(text)
    assert found is None or found.text == text
    assert isinstance(keys.id_of(text), str)
    assert not holds((), PEPPERS.digests(text), now=0.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tg__",
        "tg_",
        "Bearer x",
        "tg_" + "é" * 62,
        "tg_" + "٣" * 10 + "_" + "٣" * 51,
        "\ud800",
        "tg_\n",
        "a\0b",
    ],
)
def test_texts_that_are_no_keys(text):
    assert keys.parse(text) is None
    assert PEPPERS.digests(text)


def test_a_line_feed_after_a_key_is_not_part_of_it():
    assert keys.parse(keys.new_text("0123456789").text + "\n") is None


def test_secrets_have_256_bits_and_differ():
    made = {keys.new_text("0123456789").text for _ in range(200)}
    assert len(made) == 200
    assert len({keys.new_id() for _ in range(200)}) == 200
    assert 36**keys.SECRET_CHARACTERS > 2**256
    # Each place of the secret takes many values, so that no part of it is fixed; the first place has fewer than 36.
    for place in range(15, 64):
        assert len({text[place] for text in made}) > 20


def test_a_digest_needs_the_pepper():
    text = keys.new_text("0123456789").text
    assert PEPPERS.digest(text) != Peppers([b"the pepper of another one"]).digest(text)
    assert len(PEPPERS.digest(text)) == 32


def test_a_replaced_pepper_is_accepted_while_it_is_listed():
    old, new = b"the pepper of last year", b"the pepper of this year"
    text = keys.new_text("0123456789").text
    secrets = (Secret(Peppers([old]).digest(text)),)
    assert holds(secrets, Peppers([new, old]).digests(text), now=0.0)
    assert not holds(secrets, Peppers([new]).digests(text), now=0.0)
    assert Peppers([new, old]).digest(text) == Peppers([new]).digest(text)


def test_a_mark_tells_a_pepper_and_is_no_digest_of_a_key():
    old, new = b"the pepper of last year", b"the pepper of this year"
    assert Peppers([new, old]).marks() == (*Peppers([new]).marks(), *Peppers([old]).marks())
    assert len(set(Peppers([new, old]).marks())) == 2
    assert keys.parse(keys._MARKED) is None


@pytest.mark.parametrize("peppers", [[], [b""], [b"short"], [b"long enough for all", b"short"]])
def test_a_pepper_has_to_be_long(peppers):
    with pytest.raises(ValueError, match="pepper"):
        Peppers(peppers)


def a_key(digest: bytes) -> Key:
    return Key(id="0123456789", secrets=(Secret(digest),), caller=Caller(key="0123456789"))


def test_two_secrets_are_valid_while_one_is_replaced():
    first, second, third = (keys.new_text("0123456789").text for _ in range(3))
    key = renewed(a_key(PEPPERS.digest(first)), PEPPERS.digest(second), old_until=100.0)

    def valid(text: str, now: float) -> bool:
        return holds(key.secrets, PEPPERS.digests(text), now=now)

    assert key.version == 2
    assert valid(first, 99.9)
    assert valid(second, 99.9)
    assert not valid(first, 100.0)
    assert valid(second, 1e12)
    key = renewed(key, PEPPERS.digest(third), old_until=50.0)
    assert len(key.secrets) == 2
    assert not valid(first, 0.0)
    assert valid(second, 49.0)
    assert not valid(second, 50.0)
    assert valid(third, 50.0)


def test_a_rotation_never_lengthens_the_life_of_a_secret():
    key = Key(id="0123456789", secrets=(Secret(b"a" * 32, 10.0),), caller=Caller())
    assert renewed(key, b"b" * 32, old_until=100.0).secrets[1].expires_at == 10.0


def test_an_unknown_key_costs_as_many_comparisons_as_a_known_one(monkeypatch):
    counted: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        counted.append(one)
        return one == other

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    digests = Peppers([b"the pepper of this year", b"the pepper of last year"]).digests("tg_")
    works = []
    for secrets in ((), (Secret(b"a" * 32),), (Secret(digests[0]), Secret(b"b" * 32))):
        counted.clear()
        holds(secrets, digests, now=0.0)
        works.append(len(counted))
    assert works == [4, 4, 4]


def test_the_digest_that_stands_for_no_secret_opens_nothing():
    assert not holds((), (bytes(32),), now=0.0)


def test_no_secret_stands_in_a_representation():
    made = keys.new_text("0123456789")
    secret = made.text[14:]
    peppers = Peppers([secret.encode()])
    key = a_key(peppers.digest(made.text))
    told = f"{made!r} {made} {peppers!r} {key!r} {key.secrets} {[made]}"
    assert secret not in told
    assert repr(peppers.digest(made.text)) not in told
    assert made.id in told
    assert not re.search(r"[0-9a-z]{50}", told)
    assert KeyText("a", "b") == msgspec.convert({"id": "a", "text": "b"}, KeyText)


@given(st.binary(min_size=16, max_size=200), st.text(max_size=200))
def test_a_digest_is_the_hmac_of_the_standard_library(pepper: bytes, text: str) -> None:
    assert Peppers([pepper]).digest(text) == hmac.digest(pepper, text.encode(), "sha256")
