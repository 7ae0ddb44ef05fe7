"""Where cases are kept, what `check` says of it, and what several workers need."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command

from tidegate.config import Config, parse_text
from tidegate.errors import ConfigError
from tidegate.review.file import CaseFile
from tidegate.review.place import FILE, asks_people, place_of, warnings
from tidegate.workers.shares import refuse_unshareable

RAIL = {"kind": "regex", "patterns": {"X": "x"}, "surfaces": ["output"], "hold": "whole"}


def config(*, on_fail: str = "review", profile: dict[str, Any] | None = None, **sections: Any) -> Config:
    rails = {"profiles": {"p": {"rails": [{**RAIL, "on_fail": on_fail}], **(profile or {})}}}
    return parse_text(json.dumps({"rails": rails, **sections}), source="the test")


def test_cases_are_beside_the_store_or_where_the_gateway_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(config()) == Path(FILE)
    stores = {"keys": {"kind": "local", "path": str(tmp_path / "tidegate.db")}}
    pepper = {"pepper": "0123456789abcdef"}
    assert place_of(config(stores=stores, auth=pepper)) == tmp_path / FILE
    assert place_of(config(review={"path": "/x/y.db"})) == Path("/x/y.db")
    assert warnings(config()) == []


def test_check_warns_of_cases_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [told] = warnings(config(review={"path": ":memory:"}))
    assert told.path == "review.path"
    assert "are lost" in told.message
    assert "name a file" in told.message
    gone = {"keys": {"kind": "local", "path": str(tmp_path / "nosuch" / "tidegate.db")}}
    [told] = warnings(config(stores=gone, auth={"pepper": "0123456789abcdef"}))
    assert "cannot be written" in told.message
    assert warnings(config(on_fail="block")) == []


def test_a_folder_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    gone = tmp_path / "nosuch"
    says = f"review.path: the folder {gone} does not exist: make it, or name another file"
    with pytest.raises(ConfigError) as told:
        asyncio.run(CaseFile(gone / "cases.db").open())
    assert says in str(told.value)
    Path("tidegate.yaml").write_text(json.dumps({"review": {"path": str(gone / "cases.db")}}))
    status, _, error = run_command(monkeypatch, capsys, "check")
    assert (status, says in error) == (2, True)
    gone.mkdir()
    assert run_command(monkeypatch, capsys, "check")[0] == 0


def test_several_workers_need_a_file(tmp_path: Path) -> None:
    refuse_unshareable(config(review={"path": str(tmp_path / "cases.db")}), 2)
    with pytest.raises(ConfigError, match=r"review\.path: has to name a file"):
        refuse_unshareable(config(review={"path": ":memory:"}), 2)


def test_people_are_asked_where_a_rail_or_a_profile_says_so() -> None:
    assert asks_people(config())
    assert asks_people(config(on_fail="regenerate", profile={"after_rounds": "review"}))
    assert asks_people(config(on_fail="block", review={"path": "x.db"}))
    assert not asks_people(config(on_fail="block"))
