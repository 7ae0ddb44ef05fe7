"""The page on rails is true: each command on it prints what the page shows, under the configuration above it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from command_line import run_command

from tidegate import registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rails.md"
TEXT = PAGE.read_text("utf-8")
BLOCK = re.compile(r"^```(yaml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str, str]]:
    """Each command of the page, the configuration above it, and what the page shows as its output."""
    found: list[tuple[str, str, str]] = []
    config = ""
    for language, code in BLOCK.findall(TEXT):
        if language == "yaml":
            config = code
            continue
        for session in re.split(r"^(?=\$ )", code, flags=re.MULTILINE)[1:]:
            command, _, shown = session.partition("\n")
            found.append((command.removeprefix("$ "), config, shown))
    return found


@pytest.mark.parametrize(("command", "config", "shown"), sessions(), ids=[one[0] for one in sessions()])
def test_a_command_prints_what_the_page_shows(
    command: str,
    config: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if config:
        engines = "engines: {e: {kind: scripted}}\nmodels: {m: {deployments: [{engine: e}]}}\n"
        (tmp_path / "tidegate.yaml").write_text(config + engines)
    _, out, error = run_command(monkeypatch, capsys, *shlex.split(command)[1:])
    assert (out.strip(), error) == (shown.strip(), "")


def test_every_kind_is_in_the_table_with_its_page() -> None:
    listed = re.findall(r"^\| \[`(\w+)`\]\(rails/\1\.md\) \|", TEXT, re.MULTILINE)
    assert listed == sorted(registry.built_in("tidegate.rails"))


def test_the_page_says_what_no_rail_can_do() -> None:
    assert "No rule stops an attacker who adapts." in TEXT
