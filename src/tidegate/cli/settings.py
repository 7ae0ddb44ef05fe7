"""Finds and loads the configuration for a command, and ends the command if the configuration cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter, validators

from tidegate import config as configuration
from tidegate.config import Config
from tidegate.errors import ConfigError

Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]


def load(path: Path | None, model: Path | None = None, *, demo: bool = False) -> tuple[Config, Path | None]:
    """Return the configuration and its file.

    This is the file at `path`, else `tidegate.yaml` if it exists, else the built-in configuration, for which the file is
    None.
    """
    if model is not None or demo:
        if path is not None:
            fail(
                "--model and --demo need the built-in configuration; leave --config out, or set the model in the file"
            )
    elif path is None and configuration.DEFAULT_PATH.is_file():
        path = configuration.DEFAULT_PATH
    try:
        return (
            configuration.load(path) if path else configuration.built_in(model_path=model, demo=demo)
        ), path
    except ConfigError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Print a message on standard error and end the process with status 2."""
    print(message, file=sys.stderr)
    sys.exit(2)
