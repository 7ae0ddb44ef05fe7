"""Something made of files, and made anew when they change: certificates are renewed while the gateway runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Stamp(NamedTuple):
    """The state of a file: what changes when the file is written or replaced."""

    mtime_ns: int
    size: int
    inode: int


def stamp(path: Path) -> Stamp | None:
    """The state of a file; None while there is none. Taken before the file is read, it belongs to what is read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)


class FromFiles(Generic[T]):
    """A value and the files it is made of. Files that cannot be used leave the value as it is.

    `make` reads the files and raises OSError (ssl.SSLError is one) where they are of no use. A certificate and its key are
    two files, and between two writes they do not fit together for a moment: that is logged, and the next change is read.
    """

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        """Raises what `make` raises."""
        self._paths = paths
        self._make = make
        self._stamps = self._look()
        self.value = make()

    def changed(self) -> bool:
        """Whether a file is another one than when `value` was made. It costs one system call for each file."""
        return self._look() != self._stamps

    def current(self) -> T:
        """The value, made anew if a file has changed."""
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            names = ", ".join(map(str, self._paths))
            try:
                self.value = self._make()
            except OSError as error:
                log.warning("%s changed and cannot be used, the former state is kept: %s", names, error)
            else:
                log.info("%s changed and was read again", names)
        return self.value

    def _look(self) -> list[Stamp | None]:
        return [stamp(path) for path in self._paths]
