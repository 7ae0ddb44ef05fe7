"""The rail `copied`: passages of protected documents, whole and in streams."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from evasions import TRANSFORMS
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.found import joined, kinds, streamed, whole

from tidegate.rails.rules.leaking import corpus
from tidegate.rails.rules.leaking.copied import Copied, CopiedConfig
from tidegate.rails.rules.leaking.running import RunScanner, most_held
from tidegate.types import Span

TALE = (
    "The keeper of the old light climbed the stairs each night with a can of oil and a short wick, and nobody in the"
    " village ever asked him what he saw when the fog came in."
)
LAW = (
    "Whoever takes salt from the king's pans without leave shall pay twelve pence for the first offence and lose his"
    " cart for the second."
)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "tale.txt").write_text(TALE, "utf-8")
    (tmp_path / "law.txt").write_text(LAW, "utf-8")
    return tmp_path


def rail(folder: Path) -> Copied:
    documents = {"TALE": folder / "tale.txt", "LAW": folder / "law.txt"}
    return Copied(CopiedConfig(documents=documents, least_words=12))


def test_a_passage_is_found_with_the_name_of_its_document(folder: Path):
    copied = rail(folder)
    assert kinds(copied, f"He wrote: {TALE[:68]} and so on") == [(TALE[:68], "TALE")]
    assert kinds(copied, f"It says: {LAW}") == [(LAW.rstrip("."), "LAW")]


def test_other_punctuation_and_case_do_not_hide_it(folder: Path):
    text = "THE KEEPER, of the *old light*\nclimbed the stairs;\n> each night with a can of oil"
    assert kinds(rail(folder), text) == [(text, "TALE")]


@pytest.mark.parametrize("name", ["zero width spaces", "cyrillic", "fullwidth", "base64", "url", "tags"])
def test_disguises_do_not_hide_it(folder: Path, name: str):
    assert {kind for _, kind in kinds(rail(folder), TRANSFORMS[name](TALE[:90]))} == {"TALE"}


@pytest.mark.parametrize(
    "text",
    [
        "The keeper of the old light climbed the stairs each night.",  # eleven words
        "The old keeper climbed up to the light every night with oil and a wick, and none of the villagers asked him.",
        "Whoever takes the ferry without leave shall pay twelve pence for the first crossing.",
        "each night with a can of oil. " + LAW[60:100],
        "",
    ],
)
def test_few_words_and_paraphrases_are_nothing(folder: Path, text: str):
    assert whole(rail(folder), text) == []


def test_letters_count_where_a_character_is_a_word(tmp_path: Path):
    text = "守塔人每晚都带着一罐油和一根短灯芯爬上楼梯 村里没有人问过他雾来的时候看见了什么"
    (tmp_path / "tale.txt").write_text(text, "utf-8")
    copied = Copied(CopiedConfig(documents={"TALE": tmp_path / "tale.txt"}, least_words=10))
    assert whole(copied, f"他说 {text[:12]}") == []
    assert len(whole(copied, f"他说 {text[:22]}")) == 1


def test_files_that_cannot_be_used_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "short.txt").write_text("Only four words here.")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "long.txt").write_text(TALE * 3)

    def made(name: str) -> Copied:
        return Copied(CopiedConfig(documents={"IT": tmp_path / name}))

    with pytest.raises(ValueError, match=r"documents\.IT: .*short\.txt has 4 words, and only 30 in a row"):
        made("short.txt")
    with pytest.raises(ValueError, match=r"documents\.IT: .*binary\.txt cannot be read"):
        made("binary.txt")
    with pytest.raises(ValidationError, match=r"IT: there is no file"):
        made("none.txt")
    monkeypatch.setattr(corpus, "MOST_WORDS", 50)
    with pytest.raises(ValueError, match="more than 50 words: protect fewer documents"):
        made("long.txt")


# -------------------------------------------------------------------------------------------------------------- streams


def test_a_stream_waits_for_a_few_words_only(folder: Path):
    scanner = rail(folder).scanner()
    text = "It was a calm evening at sea and the boats lay still."
    assert scanner.feed(text).clear >= len(text) - len("the boats lay still.")
    assert scanner.feed(" We went home.", last=True).clear == len(text) + len(" We went home.")


def test_nothing_of_a_passage_is_clear_before_it_is_told(folder: Path):
    scanner = rail(folder).scanner()
    before, clear = "He wrote: ", 0
    found: list[Span] = []
    for at in range(0, len(before + TALE), 3):
        scan = scanner.feed((before + TALE)[at : at + 3])
        clear = scan.clear
        found += scan.found
        if not found:
            assert clear <= len(before)
    found += scanner.feed("", last=True).found
    assert joined(found) == whole(rail(folder), before + TALE)
    assert [span.goes_on for span in found] == [False] + [True] * (len(found) - 1)


WORDS = ("ab", "cd", "ef", "gh", "ij")
PARTS = st.sampled_from((*(f"{one} " for one in WORDS), " ".join(WORDS * 2), " ".join(WORDS) + " ", "xy ", "a", "b ",
                         "\u200b", ", ", "\n", " " * 40, "e\u0301f ", "\u4e2d", "g", "h ", "z" * 40))  # fmt: skip


@pytest.fixture(name="ten", scope="module")
def _ten(tmp_path_factory: pytest.TempPathFactory) -> Copied:
    path = tmp_path_factory.mktemp("documents") / "it.txt"
    path.write_text(" ".join(WORDS * 4))
    return Copied(CopiedConfig(documents={"IT": path}, least_words=10))


@settings(max_examples=250)
@given(st.lists(PARTS, max_size=14), st.data())
def test_streams_and_whole_texts_are_judged_alike(ten: Copied, parts: list[str], data: st.DataObject):
    text = "".join(parts)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    events = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    spans, clear = streamed(ten, events)
    assert spans == whole(ten, text)
    assert clear == sorted(clear)
    assert clear[-1] == len(text)


def test_what_is_held_is_bounded():
    scanner = RunScanner(lambda gram: 0, 10, lambda number: "A")
    assert scanner.feed("ab cd" + "\u200b" * (most_held(10) + 5000)).too_long
    assert not RunScanner(lambda gram: -1, 10, lambda number: "A").feed("x" * 100_000).too_long
