"""Finding the configuration, and ending with clear words when it cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from tidegate import config as configuration
from tidegate.config import Config
from tidegate.errors import ConfigError


def load(path: Path | None, model: Path | None = None) -> tuple[Config, Path | None]:
    """The configuration and the file it came from: the one named, else `tidegate.yaml` if it is there, else the default."""
    if path is None and model is None and configuration.DEFAULT_PATH.is_file():
        path = configuration.DEFAULT_PATH
    try:
        return configuration.load(path, model_path=model), path
    except ConfigError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Say what is wrong on standard error and end with status 2."""
    print(message, file=sys.stderr)
    sys.exit(2)
