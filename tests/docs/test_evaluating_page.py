"""The page on evaluating rails is true: its commands print what it shows, and it names every member of the JSON."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from command_line import run_command

from tidegate.ops.evals.result import Result
from tidegate.ops.evals.texts import TextLine

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "evaluating-rails.md").read_text("utf-8")
SESSION = re.compile(r"^```console\n\$ (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w.]+)`:\n\n```(?:json|text|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSIDE = {"Estimate", "Difference", "Curve", "Histogram"}
"""These are explained in words."""


def without_times(shown: str) -> list[str]:
    """The lines that are the same each time: without frames, without times, and without the width of times."""
    kept: list[str] = []
    timed = False
    for line in shown.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃]", line)]
        if len(cells) > 1:
            timed = "p99 ms" in cells or (timed and "┃" not in line)
            kept.append("|".join(cells[:-3] if timed else cells))
        elif not line.startswith(("┏", "┡", "└", "Times")):
            kept.append(line)
    return kept


@pytest.mark.parametrize(("command", "shown"), SESSION.findall(TEXT), ids=["eval", "calibrate"])
def test_a_command_prints_what_the_page_shows(
    command: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILE.findall(TEXT):
        Path(name).write_text(text)
    status, out, error = run_command(monkeypatch, capsys, *shlex.split(command)[1:])
    assert (status, error) == (0, "")
    assert without_times(out.strip()) == without_times(shown.strip())


def members(of: Any) -> set[str]:
    """The names of the members of a struct, and of the structs in it."""
    if isinstance(of, type) and issubclass(of, msgspec.Struct):
        if of.__name__ in INSIDE:
            return set()
        fields = msgspec.structs.fields(of)
        return {field.name for field in fields} | {name for field in fields for name in members(field.type)}
    return {name for one in get_args(of) for name in members(one)}


def test_every_member_of_the_json_is_on_the_page() -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", TEXT))))
    wanted = members(Result) | {field.name for field in msgspec.structs.fields(TextLine)}
    assert wanted - words == set()
    assert len(wanted) > 50
