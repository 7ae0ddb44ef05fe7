"""Installs rails as those of other packages are: by a distribution with entry points."""

from __future__ import annotations

from pathlib import Path

import pytest


def install(folder: Path, patch: pytest.MonkeyPatch, **kinds: str) -> None:
    """Make a distribution in a folder that offers rails, each kind with the path of its class."""
    about = folder / "rails_of_tests-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rails-of-tests\nVersion: 1\n")
    points = [f"{kind} = {path}" for kind, path in kinds.items()]
    (about / "entry_points.txt").write_text("\n".join(["[tidegate.rails]", *points, ""]))
    patch.syspath_prepend(str(folder))  # pyright: ignore[reportUnknownMemberType]
