"""The files of the models that run in this process: checked before they are used, and opened with onnxruntime."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from tidegate.errors import UpstreamError


class Session(Protocol):
    """The only method of `onnxruntime.InferenceSession` that models of our own need."""

    def run(self, output_names: list[str], input_feed: dict[str, Any]) -> list[Any]: ...


def checked(folder: Path, name: str, what: str) -> Path:
    """Return the path of a model file after checking it against SHA256SUMS. Raises UpstreamError if it is not that file.

    `what` is what the message calls the model, such as `embedding model`.
    """
    try:
        sums = (folder / "SHA256SUMS").read_text().splitlines()
        with (folder / name).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UpstreamError(f"The {what} is incomplete: {name} cannot be read") from error
    if f"{sha256}  {name}" not in sums:
        raise UpstreamError(f"The {what} is damaged: {name} does not have the sha256 in SHA256SUMS")
    return folder / name


def open_session(model: Path, threads: int) -> Session:
    """Open a session that computes with `threads` threads and does not spin between runs.

    A sum and its layer normalization stay apart, since the operator for both takes five times as long as the two.

    The session reads the file itself. Passed as bytes, the model would be in memory twice (62 MiB instead of 40).
    """
    # Imported on first use, which saves memory in a gateway without models. The package has no types, hence Any.
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        str(model), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
    )


def fed(rows: list[list[int]]) -> dict[str, Any]:
    """Return the input of one run. Shorter rows of token ids are padded to the longest one."""
    import numpy as np  # noqa: PLC0415 - on first use: saves memory in a gateway without models

    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
