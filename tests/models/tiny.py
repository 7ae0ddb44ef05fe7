"""A tiny detector: each head has a logit for windows with the word `evil`, and one for those without it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guarded.onnx_files import write_model, write_tokenizer

from tidegate.models.detecting import Detector

HEADS: Mapping[str, tuple[float, float]] = {
    "injection": (-5.0, 5.0),
    "toxicity": (-4.0, 3.0),
    "harm": (-3.0, 1.0),
    "weapons": (-6.0, 4.0),
    "hate": (-2.0, -1.0),
}
CHANNELS = ("user", "document", "tool_output", "model_output")


def write_detector(
    folder: Path,
    *,
    heads: Mapping[str, tuple[float, float]] = HEADS,
    fusion: Sequence[float] = (1.0, 1.0, 0.0),
    tokens: int = 8,
    overlap: int = 2,
    **more: Any,
) -> Path:
    """Write the files of a detector, its tokenizer included, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "detector.int8.onnx", logits=list(heads.values()))
    write_tokenizer(folder / "tokenizer.json")
    described: dict[str, Any] = {
        "version": "tiny",
        "heads": list(heads),
        "tokens": tokens,
        "overlap": overlap,
        "fusion": {head: list(fusion) for head in heads},
        **more,
    }
    (folder / "detector.json").write_text(json.dumps(described))
    levels = {channel: {"flag": 0.5, "block": 0.99} for channel in CHANNELS}
    (folder / "thresholds.json").write_text(json.dumps(dict.fromkeys(heads, levels)))
    sign(folder)
    return folder


def sign(folder: Path) -> None:
    """Make SHA256SUMS say that the files are right."""
    files = [one for one in sorted(folder.iterdir()) if one.name != "SHA256SUMS"]
    sums = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}" for one in files]
    (folder / "SHA256SUMS").write_text("\n".join(sums))


def tiny(folder: Path, **more: Any) -> Detector:
    """Return a detector with the files of a folder, and without statistics unless they are given."""
    return Detector(folder=folder, tokenizer=folder, **{"statistics": None, "suspicion": None, **more})
