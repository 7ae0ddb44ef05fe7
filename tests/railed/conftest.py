"""The rails of the tests, installed as those of another package are: by a distribution with entry points."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from railed.installed import install

KINDS = {"rule": "railed.made:MadeRule", "scans": "railed.made:MadeScans", "check": "railed.made:MadeCheck"}


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # For these modules only: other tests list the kinds that there are.
    with pytest.MonkeyPatch.context() as patch:
        install(tmp_path_factory.mktemp("site"), patch, **KINDS)
        yield
