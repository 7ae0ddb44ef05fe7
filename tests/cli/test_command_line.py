"""What is wrong on the command line ends with status 2 and a line that says so; nothing is started."""

from __future__ import annotations

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


def test_a_list_of_options_cannot_be_emptied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tidegate", "scripted", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "--set" in (page := capsys.readouterr().out)
    assert "--empty" not in page
