"""Every input that began a search, that one found, or that ought to be slow is read without a bug. `make fuzz` searches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
sys.path.append(str(FUZZ))

from harnesses import Harness, Watch, in_parts, open_harnesses  # noqa: E402 - a folder of scripts, no package
from slow_inputs import slow_inputs  # noqa: E402

SAVED = sorted(path for kind in ("seeds", "found") for path in (FUZZ / kind).glob("*/*.bin"))
INPUTS = [pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in SAVED]
SLOW = [pytest.param(harness, data, id=f"{harness}-{name}") for harness, name, data in slow_inputs()]


@pytest.fixture(scope="module")
def harnesses() -> Iterator[dict[str, Harness]]:
    with open_harnesses() as opened:
        yield opened


def test_every_harness_has_seeds(harnesses: dict[str, Harness]):
    assert {path.parent.name for path in SAVED} == set(harnesses)


@pytest.mark.parametrize("path", INPUTS)
def test_what_was_saved_is_read(harnesses: dict[str, Harness], path: Path):
    harnesses[path.parent.name](path.read_bytes(), Watch())


@pytest.mark.parametrize(("harness", "data"), SLOW)
def test_what_ought_to_be_slow_is_read(harnesses: dict[str, Harness], harness: str, data: bytes):
    assert len(data) > 1000
    harnesses[harness](data, Watch())


@pytest.mark.parametrize("size", [0, 1, 7, 255])
def test_input_in_parts_is_all_of_it(size: int):
    data = bytes([size]) + bytes(range(256)) * 10
    assert b"".join(in_parts(data)) == data[1:]
    assert len(in_parts(data)) <= 64
