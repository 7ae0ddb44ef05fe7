"""Where a llama.cpp server saves its slots: a folder of the gateway's process, named after it.

What is saved are prompts. A gateway that was killed together with its server could not remove them, so the next one does.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

_PREFIX = "tidegate-slots-"
_NAME = re.compile(rf"{_PREFIX}(\d{{1,9}})-.+")

log = logging.getLogger(__name__)


def make_slot_folder() -> Path:
    """A new folder that only this user can read; first those are removed whose process is no more."""
    remove_stale(Path(tempfile.gettempdir()))
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))


def remove_stale(parent: Path) -> None:
    """Remove the folders in `parent` that belong to this user and to a process that has ended."""
    for entry in os.scandir(parent):
        found = _NAME.fullmatch(entry.name)
        if found is None or not entry.is_dir(follow_symlinks=False) or _runs(int(found[1])):
            continue
        try:
            ours = entry.stat(follow_symlinks=False).st_uid == os.getuid()
        except FileNotFoundError:  # another one that starts was faster
            continue
        if ours:
            log.info("removing %s, left behind by a process that was killed", entry.path)
            shutil.rmtree(entry.path, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs as somebody else
        return True
    return True
