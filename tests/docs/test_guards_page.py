"""The page on guards is complete, and its figures are those of the code and of the other pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import run_command

from tidegate import registry
from tidegate.cli.rails.listing import kind_of

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "guards.md").read_text("utf-8")
RAILS = registry.built_in("tidegate.rails")
ASK_NOBODY = tuple(f"tidegate.rails.{one}." for one in ("rules", "marking", "detectors"))
GUARDS = sorted(kind for kind, path in RAILS.items() if not path.startswith(ASK_NOBODY))
KIND = re.compile(r"^\[`(\w+)`\]\(rails/\1\.md\)$")
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
TABLE = {found[1]: row[1:] for row in ROWS if (found := KIND.match(row[0]))}
PLACES = {
    "tidegate.rails.guards.": {"your engine", "in process"},
    "tidegate.rails.judges.": {"your engine"},
}
SHARED = """
engines: {local: {kind: vllm, url: "http://127.0.0.1:1/v1", max_in_flight: 8}}
models: {default: {deployments: [{engine: local}]}}
rails: {profiles: {judged: {rails: [{kind: self_check, model: default}]}}}
policies: {default: {rails: judged}}
"""


def table_of(text: str, head: str) -> list[list[str]]:
    """The rows of the table of a page that begins with some words."""
    _, _, rest = text.partition(f"\n{head}")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_guard_is_in_the_table_with_its_page() -> None:
    assert sorted(TABLE) == GUARDS


@pytest.mark.parametrize("kind", GUARDS)
def test_a_row_has_all_cells_and_the_declared_time(kind: str) -> None:
    cells = TABLE[kind]
    assert len(cells) == 5
    assert all(cell.strip() for cell in cells)
    assert cells[2] == f"{kind_of(kind).usual_ms:,.0f} ms"
    [places] = [one for path, one in PLACES.items() if RAILS[kind].startswith(path)] or [set[str]()]
    assert not places or cells[1] in places


def test_what_was_run_for_real_is_only_what_the_live_tests_run() -> None:
    live = (ROOT / "tests" / "live" / "test_judging.py").read_text("utf-8")
    ran = {kind for kind, cells in TABLE.items() if not cells[4].startswith("no")}
    assert ran == set(re.findall(r"kind: ((?:self_check|judge)\w*)", live))


def test_the_figures_of_streams_are_those_of_the_benchmark() -> None:
    results = table_of((ROOT / "benchmarks" / "RESULTS.md").read_text("utf-8"), "| judged | verdict |")
    known = {(row[0].removesuffix(" tokens"), row[1]): row for row in results}
    rows = table_of(TEXT, "| judged | verdict takes |")
    assert len(rows) == 9
    for judged, verdict, ttft, p50, p99, total, shown in rows:
        name = judged.replace("window of ", "window ").removesuffix(" tokens")
        row = known[name, verdict.removesuffix(" ms")]
        told = [cell.removesuffix(" ms") for cell in (ttft, p50, p99, total, shown or "0")]
        assert told == [row[3], row[4], row[5], row[7], row[8]]


def test_the_figures_of_layers_are_those_of_the_story() -> None:
    story = (ROOT / "docs" / "stories.md").read_text("utf-8")
    line = re.compile(r"^\w+ .*?([\d.]+) ms +([\d.]+) ms +([\d.]+) ms", re.MULTILINE)
    measured = [[median, mean, p95] for mean, median, p95 in line.findall(story)]
    large, small = measured[:4], measured[4:]
    rows = table_of(TEXT, "| guard model | checks |")
    assert [re.findall(r"([\d.]+) ms", " ".join(row[2:])) for row in rows] == [*small, *large[1:]]


def test_the_message_about_seats_is_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tidegate.yaml").write_text(SHARED)
    _, out, error = run_command(monkeypatch, capsys, "check")
    [shown] = re.findall(r"^```\n(engines\..*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert " ".join(shown.split()) in " ".join((out + error).split())
