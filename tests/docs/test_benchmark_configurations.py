"""The configurations of the benchmarks start: a check that came later must not leave a benchmark behind."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tidegate.config import Config, parse_text
from tidegate.policy import plans_of
from tidegate.rails.asked.seating import crowded, unknown_models

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "benchmarks", ROOT / "benchmarks" / "iorails")
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))]


def problems(config: Config) -> list[Any]:
    """Return what a gateway with this configuration says instead of starting."""
    plans = plans_of(config)
    return [*unknown_models(config, plans), *crowded(config, plans, lambda _: None)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_has_no_problem(path: Path) -> None:
    assert problems(parse_text(path.read_text("utf-8"), source=path.name)) == []


def test_the_windows_have_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    windows = importlib.import_module("windows")
    assert problems(Config.model_validate(windows.configuration(8080, 8081))) == []
