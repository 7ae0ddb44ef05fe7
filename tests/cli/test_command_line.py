"""What is wrong on the command line ends with status 2 and a line that says so; nothing is started."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tidegate import cli


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("serve --port 99999", "--port"),
        ("serve --port -1", "--port"),
        ("serve --log-level loud", "--log-level"),
        ("serve --workers 0", "--workers"),
        ("serve --nothing", "--nothing"),
        ("serve --port x", '"x" is not a whole number'),
        ("check other.yaml", "Unexpected argument: other.yaml"),
        ("serve other.yaml more", "Unexpected argument: other.yaml more"),
        ("check --confg x", "--config"),
        ("chekc", '"check"'),
        ("scripted --port 99999", "--port"),
        ("scripted --port -1", "--port"),
        ("scripted --slots 0", "--slots"),
        ("scripted --set tokens=many", "--set"),
    ],
)
def test_what_cannot_be_is_refused(
    line: str, named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tidegate", *line.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert named in said.out + said.err
    if "--set" not in line:
        assert not re.search(r"\bint\b|float|Unused|tuple|\[", said.out + said.err)


@pytest.mark.parametrize("host", ["", " "])
def test_an_empty_host_is_not_every_network(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tidegate", "serve", "--host", host])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "must not be empty" in capsys.readouterr().err


def test_a_list_of_options_cannot_be_emptied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tidegate", "scripted", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "--set" in (page := capsys.readouterr().out)
    assert "--empty" not in page


def test_a_reader_that_ends_early_gets_no_traceback() -> None:
    """As in `tidegate check --json | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tidegate", "check", "--json"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
