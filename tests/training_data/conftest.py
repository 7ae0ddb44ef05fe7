"""The public sets, which are read once for all modules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from training.rows import Row
from training.sources import VARIABLE, folder, read

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def train() -> Path:
    """The folder of the public sets."""
    try:
        return folder(os.environ.get(VARIABLE, ROOT.parent / "shared" / "data"))
    except FileNotFoundError:
        pytest.skip(f"the public sets are not here: set {VARIABLE} to their folder")


@pytest.fixture(scope="session")
def public_rows(train: Path) -> list[Row]:
    """The rows of all public sets."""
    return read(train)
