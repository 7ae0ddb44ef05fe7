"""The folder of the package that a trained model is put into, and its checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

TARGET: Final = Path(__file__).parent.parent / "src" / "tidegate" / "models" / "detector"
"""The folder of the detector."""
_SIGNED: Final = frozenset({".json", ".npz", ".onnx"})


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sign(folder: Path) -> None:
    """Write the checksums of the files that the gateway reads."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix in _SIGNED)
    (folder / "SHA256SUMS").write_text("".join(f"{digest(folder / name)}  {name}\n" for name in names))
