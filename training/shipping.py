"""The folders of the package that trained models are put into, and their checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

MODELS: Final = Path(__file__).parent.parent / "src" / "tidegate" / "models"
"""The package's folder of models."""
DETECTOR: Final = "detector"
STATISTICS: Final = "statistics"
"""The folders of the two models in it."""
_SIGNED: Final = frozenset({".json", ".npz", ".onnx"})


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sign(folder: Path) -> None:
    """Write the checksums of the files that the gateway reads."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix in _SIGNED)
    (folder / "SHA256SUMS").write_text("".join(f"{digest(folder / name)}  {name}\n" for name in names))
