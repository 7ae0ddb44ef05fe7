"""Whether an answer has the form that a request demands: while it arrives, and at its end."""

from __future__ import annotations

from typing import Protocol

from tidegate.structure.asked import Shape


class Prefix(Protocol):
    """The beginning of one answer, as far as it has arrived."""

    def feed(self, text: str) -> bool:
        """Take the next part of the answer. False if no continuation can give it the form; then it stays False."""
        ...


class _Anything:
    def feed(self, text: str) -> bool:
        return True


class Checker:
    """The check of one form.

    `streams` says that a beginning can be checked. `unsupported` says which demands only the end is checked for, and is
    empty if a beginning is refused exactly where no valid answer can follow.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.streams = False
        self.unsupported = ""

    def begin(self) -> Prefix:
        """Begin with a new answer."""
        return _Anything()

    def errors(self, text: str) -> str:
        """Return what is wrong with a whole answer, and where; empty if it is valid. At most a few words are quoted."""
        return ""


def checker_of(shape: Shape) -> Checker:
    """Return the check of a form. Raises BadRequest, which names the field, if the form cannot be checked."""
    return Checker(shape)
