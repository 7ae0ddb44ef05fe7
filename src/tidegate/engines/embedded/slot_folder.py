"""Makes the folder in which a llama.cpp server saves its slots. Each gateway process has one, named after its process id.

Saved slots contain prompts, so they have to be removed. A gateway that is killed together with its server cannot remove
its folder, so the next gateway that starts removes that folder.
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
    """Make a new folder that only this user can read. Folders of processes that have ended are removed first."""
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
        except FileNotFoundError:  # another starting gateway has removed it
            continue
        if ours:
            log.info("removing %s, which a killed process left behind", entry.path)
            shutil.rmtree(entry.path, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process runs as another user
        return True
    return True
