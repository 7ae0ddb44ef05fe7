"""The rails of the tests, installed as those of another package are: by a distribution with entry points."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

KINDS = {"rule": "MadeRule", "scans": "MadeScans", "check": "MadeCheck"}


@pytest.fixture(scope="session", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("site")
    about = folder / "rails_of_tests-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rails-of-tests\nVersion: 1\n")
    points = [f"{kind} = railed.made:{name}" for kind, name in KINDS.items()]
    (about / "entry_points.txt").write_text("\n".join(["[tidegate.rails]", *points, ""]))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield
