"""The windows of a text, and those that are read of a long one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tidegate.models.embedding import FOLDER
from tidegate.models.windows import LONGEST_WORD, Window, chosen, cut_long_words, windows_of

TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
CUTTING = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
CUTTING.enable_truncation(16, stride=4)
WORDS = st.sampled_from(["tide", "harbour", "unbelievably", "é", "漢字", "don't", "\n", "42", "...", "😀"])


@given(st.lists(WORDS, max_size=60))
def test_windows_are_those_of_the_tokenizers_own_truncation(words: list[str]) -> None:
    """So the model reads the windows that it was trained on."""
    text = " ".join(words)
    found = CUTTING.encode(text)
    assert [one.ids for one in windows_of(TOKENIZER, text, 16, 4)] == [
        found.ids,
        *(one.ids for one in found.overflowing),
    ]


@pytest.mark.parametrize("blank", [" ", "\n"])
def test_slices_of_a_long_text_make_the_same_windows(blank: str) -> None:
    text = blank.join(f"ship number {n} carries salt" for n in range(2000))
    found = CUTTING.encode(text)
    assert [one.ids for one in windows_of(TOKENIZER, text, 16, 4)] == [
        found.ids,
        *(one.ids for one in found.overflowing),
    ]


def test_a_long_text_without_blanks_is_read_to_its_end() -> None:
    windows = windows_of(TOKENIZER, "," * 9_000 + "!", 16, 4)
    assert windows[-1].text.endswith("!")


def test_all_of_a_long_word_is_read() -> None:
    """The tokenizer alone has one unknown token for a word of more than 100 letters."""
    cutting = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    cut_long_words(cutting)
    word = "harbourmaster" * LONGEST_WORD
    for text in (word, f"the {word}, and more", "漢" * 300, word[:LONGEST_WORD]):
        tokens = [token for one in windows_of(cutting, text, 4_000, 4) for token in one.ids]
        assert cutting.token_to_id("[UNK]") not in tokens
    assert TOKENIZER.encode("an unbelievable harbour").ids == cutting.encode("an unbelievable harbour").ids


@given(st.lists(st.sampled_from(["tide", "harbour", "gate", "."]), max_size=90))
def test_a_window_has_the_words_of_its_tokens(words: list[str]) -> None:
    text = " ".join(words)
    for one in windows_of(TOKENIZER, text, 16, 4):
        assert one.text in text
        assert TOKENIZER.encode(one.text).ids == one.ids


WINDOWS = [Window([at], str(at)) for at in range(10)]


def numbers(found: Sequence[Window]) -> list[int]:
    return [int(one.text) for one in found]


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [
        (1, 3, [0]),
        (3, 3, [0, 1, 2]),
        (10, 1, [0]),
        (10, 2, [0, 9]),
        (10, 3, [0, 5, 9]),
        (10, 4, [0, 3, 6, 9]),
        (4, 3, [0, 2, 3]),
    ],
)
def test_windows_at_equal_distances(count: int, most: int, places: list[int]) -> None:
    assert numbers(chosen(WINDOWS[:count], most, None)) == places


def test_the_most_suspicious_windows_are_between_the_first_and_the_last_one() -> None:
    asked: list[str] = []

    def suspicion(texts: Sequence[str]) -> Sequence[float]:
        asked.extend(texts)
        return [{"7": 2.0, "2": 1.0}.get(text, 0.0) for text in texts]

    assert numbers(chosen(WINDOWS, 3, suspicion)) == [0, 7, 9]
    assert asked == [str(at) for at in range(1, 9)]
    assert numbers(chosen(WINDOWS, 4, suspicion)) == [0, 2, 7, 9]
    assert numbers(chosen(WINDOWS[:3], 3, suspicion)) == [0, 1, 2]
