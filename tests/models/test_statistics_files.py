"""What becomes of a detector whose statistics are not the file that was made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models.tiny import tiny, write_detector

from tidegate.errors import UpstreamError
from tidegate.models.detecting import logits_of, suspicion_of
from tidegate.models.statistics import model

pytestmark = pytest.mark.anyio
NAME = "weights.npz"


def turned(data: bytes) -> bytes:
    """Return a file with one bit turned in its middle."""
    half = len(data) // 2
    return data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def emptied(_: bytes) -> bytes:
    return b""


DAMAGES = (turned, cut, emptied)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The weights of a copy, which are read instead of those of the package."""
    folder = tmp_path / "statistics"
    shutil.copytree(model.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(model, "FOLDER", folder)
    model.statistics.cache_clear()
    yield folder / NAME
    model.statistics.cache_clear()


def test_a_copy_is_as_good_as_the_original(weights: Path) -> None:
    assert weights.exists()
    assert logits_of("hello").keys() == set(model.HEADS)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_refused_by_name(weights: Path, damage: Callable[[bytes], bytes]) -> None:
    weights.write_bytes(damage(weights.read_bytes()))
    for ask in (lambda: logits_of("hello"), lambda: suspicion_of(["hello"])):
        with pytest.raises(UpstreamError, match=rf"damaged: {NAME} does not have the sha256"):
            ask()


def test_missing_weights_are_refused_by_name(weights: Path) -> None:
    weights.unlink()
    with pytest.raises(UpstreamError, match=rf"incomplete: {NAME} cannot be read"):
        logits_of("hello")


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_detector_with_damaged_weights_is_not_loaded(
    tmp_path: Path, weights: Path, damage: Callable[[bytes], bytes]
) -> None:
    weights.write_bytes(damage(weights.read_bytes()))
    folder = write_detector(tmp_path / "detector")
    detector = tiny(folder, statistics=logits_of, suspicion=suspicion_of)
    try:
        with pytest.raises(UpstreamError, match=NAME):
            await detector.load()
    finally:
        await detector.close()
