"""Runs commands of the command line in this process, for tests of what they print."""

from __future__ import annotations

import pytest

from tidegate import cli


def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Run `tidegate` with these arguments. Return its status, and what it wrote to standard output and standard error.

    Fails if a secret is among it: those of the tests contain the word canary.
    """
    status = 0
    monkeypatch.setattr("sys.argv", ["tidegate", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        status = int(end.code or 0)
    told = capsys.readouterr()
    assert "canary" not in told.out + told.err
    return status, told.out, told.err
