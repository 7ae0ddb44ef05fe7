"""What every check of a form offers."""

from __future__ import annotations

from typing import Protocol


class Prefix(Protocol):
    """The beginning of one answer, as far as it has arrived."""

    def feed(self, text: str) -> bool:
        """Take the next part of the answer. False if no continuation can give it the form; then it stays False."""
        ...


class Checker(Protocol):
    """The check of one form.

    `streams` says that a beginning can be checked. `unsupported` says which rules only the end is checked for. If it is
    empty, a beginning is refused exactly where no valid answer can follow. Otherwise it may be refused later.
    """

    streams: bool
    unsupported: str

    def begin(self) -> Prefix:
        """Begin with a new answer."""
        ...

    def errors(self, text: str) -> str:
        """Return what is wrong with a whole answer, and where; empty if it is valid. Values are not quoted."""
        ...
