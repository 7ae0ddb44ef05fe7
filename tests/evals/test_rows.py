"""Labelled texts: which lines are some, which side they are on, and which are drawn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.ops.evals.rows import BadRows, Form, Row, read, sampled


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_a_side_for_each_label(tmp_path: Path) -> None:
    file = written(
        tmp_path / "some.jsonl",
        {"text": "a", "label": "benign"},
        {"text": "b", "label": "attack", "lang": "de", "cat": ["x", "y"]},
        {"text": "c", "label": 1},
        {"text": "d", "label": False},
    )
    rows, left_out, *_ = read([file], Form(by=("lang", "cat")))
    assert [row.positive for row in rows] == [False, True, True, False]
    assert left_out == 0
    assert (rows[1].at, rows[1].source) == (f"{file}:2", "some")
    assert rows[1].groups == {"lang": ["de"], "cat": ["x", "y"]}
    assert rows[0].groups == {"lang": ["-"], "cat": ["-"]}


def test_labels_of_neither_side_are_left_out_and_counted(tmp_path: Path) -> None:
    file = written(
        tmp_path / "some.jsonl",
        *({"text": label, "label": label} for label in ("benign", "attack", "harmful")),
    )
    found = read([file], Form(positive=frozenset({"attack"})))
    assert [row.text for row in found.rows] == ["benign", "attack"]
    assert found.left_out == 1


def test_repeated_texts_are_counted(tmp_path: Path) -> None:
    one, other = {"text": "a", "label": "benign"}, {"text": "a", "label": "attack"}
    found = read([written(tmp_path / "some.jsonl", one, one, other)], Form())
    assert (len(found.rows), found.repeated, found.contradicted) == (3, 2, 1)


def test_a_file_is_read_once_and_namesakes_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    row = {"text": "a", "label": "benign", "from": "web"}
    files = [written(tmp_path / part / "same.jsonl", row) for part in "ab"]
    sources = [one.source for one in read([*files, files[0]], Form()).rows]
    assert sources == [str(tmp_path / "a" / "same"), str(tmp_path / "b" / "same")]
    assert {one.source for one in read(files, Form(source="from")).rows} == {"web"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"label": "benign"}', "has no text in the field 'text': name the right one of label with --text"),
        ('{"text": 5, "label": "benign"}', "has no text"),
        (
            '{"text": "a", "kind": 1}',
            "has no label in the field 'label': name the right one of kind, text with --label",
        ),
        ('{"text": "a", "label": null}', "has no label"),
        (
            '{"text": "a", "label": "x", "question": 5}',
            "has a `question`, `context` or `system` that is no text",
        ),
        ('{"text": "a", "label": "x", "context": {"a": 1}}', "that is no text"),
        ('{"text": "a", "label": "x", "context": ["a", 1]}', "that is no text"),
    ],
)
def test_a_line_that_is_no_labelled_text_is_named(tmp_path: Path, line: str, told: str) -> None:
    file = written(tmp_path / "some.jsonl", {"text": "a", "label": "benign"}, "", line)
    with pytest.raises(BadRows) as refused:
        read([file], Form())
    assert str(refused.value).startswith(f"{file}:3: ")
    assert told in str(refused.value)


def test_many_bad_lines_are_not_all_told(tmp_path: Path) -> None:
    with pytest.raises(BadRows) as refused:
        read([written(tmp_path / "some.jsonl", *["no"] * 25), tmp_path / "missing.jsonl"], Form())
    assert str(refused.value).splitlines()[-1] == "and 16 more"
    assert len(str(refused.value).splitlines()) == 11
    with pytest.raises(BadRows, match=r"missing\.jsonl: cannot be read: No such file"):
        read([tmp_path / "missing.jsonl"], Form())


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(b'{"text": "\xff", "label": "benign"}\n')
    with pytest.raises(BadRows, match=r"some\.jsonl:1: is not"):
        read([file], Form())


def test_without_labels_a_line_is_a_text_without_fault(tmp_path: Path) -> None:
    file = written(tmp_path / "traffic.txt", "a line", "5", {"text": "b"}, {"text": "c", "label": "attack"})
    rows = read([file], Form(labelled=False)).rows
    assert [(row.text, row.positive) for row in rows] == [
        ("a line", False),
        ("5", False),
        ("b", False),
        ("c", True),
    ]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40),
    st.one_of(st.none(), st.integers(1, 9)),
    st.integers(),
)
def test_a_sample_has_some_of_each_side_of_each_source(sides, most, seed):
    rows = [Row(f"f:{at}", source, str(at), "", positive, {}) for at, (source, positive) in enumerate(sides)]
    found = sampled(rows, most, seed)
    assert found == sampled(rows, most, seed)
    assert len({row.at for row in found}) == len(found)
    every, drawn = (Counter((row.source, row.positive) for row in some) for some in (rows, found))
    assert drawn == {part: count if most is None else min(count, most) for part, count in every.items()}
