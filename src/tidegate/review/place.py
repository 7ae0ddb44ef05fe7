"""Where the cases of a configuration are kept."""

from __future__ import annotations

import os
from pathlib import Path

from tidegate.config import Config, LocalStoreConfig
from tidegate.config.review import MEMORY
from tidegate.errors import Problem

FILE = "tidegate-review.db"


def place_of(config: Config) -> Path:
    """Return the file of the cases: the one that is named, or the usual one if it can be written, else `MEMORY`."""
    if config.review.path is not None:
        return config.review.path
    stores = [one.path.parent for one in config.stores.values() if isinstance(one, LocalStoreConfig)]
    path = (stores[0] if stores else Path()) / FILE
    return path if os.access(path if path.exists() else path.parent, os.W_OK) else MEMORY


def asks_people(config: Config) -> bool:
    """Return whether people may be asked about a text, or their cases of before can be seen."""
    return config.review.path is not None or any(one.asks_people for one in config.rails.profiles.values())


def no_folder(path: Path) -> list[Problem]:
    """Return a problem if the folder of a file of cases does not exist."""
    try:
        path.parent.stat()
    except FileNotFoundError:
        told = f"the folder {path.parent} does not exist: make it, or name another file"
        return [Problem("review.path", told)]
    except OSError:
        pass  # the file itself tells what is wrong when it is opened
    return []


def warnings(config: Config) -> list[Problem]:
    """Return a warning if cases are kept in memory."""
    if not asks_people(config) or place_of(config) != MEMORY:
        return []
    why = (
        "is :memory:"
        if config.review.path == MEMORY
        else "is not set, and the usual folder cannot be written"
    )
    told = f"{why}: cases that wait for a person are lost when the gateway ends; name a file"
    return [Problem("review.path", told)]
