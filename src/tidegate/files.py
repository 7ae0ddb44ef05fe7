"""A value that is made from files, and made again when the files change, such as a renewed certificate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Stamp(NamedTuple):
    """The state of a file. It changes when the file is written or replaced."""

    mtime_ns: int
    size: int
    inode: int


def stamp(path: Path) -> Stamp | None:
    """Return the state of a file, or None if there is no such file.

    Call this before you read the file, so that a change while you read it is noticed later.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)


class FromFiles(Generic[T]):
    """A value and the files from which it is made. If the new files cannot be used, the value stays as it is.

    `make` reads the files and raises OSError (ssl.SSLError is a subclass) if they cannot be used. This happens while only
    one of two files is new, as a certificate without its new key. The failure is logged, and the files are read again after
    the next change.
    """

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        """Make the value. Raises the exceptions of `make`."""
        self._paths = paths
        self._make = make
        self._stamps = self._look()
        self.value = make()

    def changed(self) -> bool:
        """Return whether a file has changed since `value` was made. This takes one system call per file."""
        return self._look() != self._stamps

    def current(self) -> T:
        """Return the value, made again if a file has changed."""
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            names = ", ".join(map(str, self._paths))
            try:
                self.value = self._make()
            except OSError as error:
                log.warning(
                    "%s changed and cannot be used; the previous state stays in force: %s", names, error
                )
            else:
                log.info("%s changed and was read again", names)
        return self.value

    def _look(self) -> list[Stamp | None]:
        return [stamp(path) for path in self._paths]
