"""The rail `blocklist`: words from the settings or a file, as a reader would see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evasions import TRANSFORMS
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.found import SCENE, kinds, streamed, whole

from tidegate.kernel.text import Views
from tidegate.rails.rules.blocklist import Blocklist, BlocklistConfig


def rail(*words: str, **settings: Any) -> Blocklist:
    return Blocklist(BlocklistConfig(words=words, **settings))


def passes(blocklist: Blocklist, text: str) -> bool:
    return blocklist.check(Views(text), SCENE).passed


def test_words_and_phrases_are_found_where_they_stand():
    assert kinds(rail("acme", "project x"), "ACME's Project X is secret") == [
        ("ACME", "BLOCKED_WORD"),
        ("Project X", "BLOCKED_WORD"),
    ]


def test_whole_words_are_not_part_of_longer_ones():
    assert passes(rail("cat"), "concatenate")
    assert not passes(rail("cat", whole_words=False), "concatenate")


def test_case_counts_if_it_should():
    assert passes(rail("acme", ignore_case=False), "ACME")
    assert not passes(rail("ACME", ignore_case=False), "ACME")


@pytest.mark.parametrize("word", ["Пароль", "пароль", "ПАРОЛЬ", "Γραφή", "straße", "Ölpreis"])
def test_words_of_other_scripts_are_found_in_all_cases(word: str):
    blocked = rail(word)
    assert not passes(blocked, f"a {word} b")
    assert not passes(blocked, f"a {word.lower()} b")


@pytest.mark.parametrize(
    "name", ["plain", "zero width spaces", "cyrillic", "fullwidth", "base64", "hex", "url", "tags"]
)
def test_disguised_words_are_found(name: str):
    assert not passes(rail("forbidden thing"), TRANSFORMS[name]("the forbidden thing is here"))


def test_letters_alone_are_searched_on_demand():
    text = "the f-o r*bid den word"
    assert passes(rail("forbidden"), text)
    assert kinds(rail("forbidden", skeleton=True), text) == [("f-o r*bid den", "BLOCKED_WORD")]


def test_short_words_are_not_searched_among_letters_alone():
    assert passes(rail("cat", skeleton=True), "a c-a-t".replace("-", "*  "))


def test_letters_alone_need_the_whole_answer():
    assert rail("forbidden", skeleton=True).about.hold.kind == "whole"
    assert rail("forbidden").about.hold.kind == "span"


def test_words_may_come_from_a_file(tmp_path: Path):
    path = tmp_path / "words.txt"
    path.write_text("acme\n\nproject x\n", "utf-8")
    assert len(whole(rail(words_path=path), "Acme and Project X")) == 2


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path):
    empty, binary = tmp_path / "empty.txt", tmp_path / "binary.txt"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"empty\.txt has no words: write one a line"):
        rail(words_path=empty)
    with pytest.raises(ValueError, match=r"binary\.txt cannot be read"):
        rail(words_path=binary)
    with pytest.raises(ValidationError, match="there is no file"):
        rail(words_path=tmp_path / "none.txt")


def test_settings_without_words_are_refused():
    with pytest.raises(ValidationError, match="set `words` or `words_path`"):
        rail()
    with pytest.raises(ValidationError, match="no visible character"):
        rail("\u200b")


@given(st.lists(st.sampled_from(["acme", "ac", "me", " ", "ACME", "é", "\u200b", "acmes"]), max_size=12))
def test_streams_and_whole_texts_are_judged_alike(events: list[str]):
    blocked = rail("acme", "acme acme")
    assert streamed(blocked, events)[0] == whole(blocked, "".join(events))
