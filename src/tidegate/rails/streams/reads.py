"""What the output rails need of a form: the texts in the pieces of an answer, and other texts in their places."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from tidegate.types import Piece, Text, Where


class Reads(Protocol):
    """Reads and changes the texts in the pieces of an answer, as a form does."""

    def texts_out(self, piece: Piece) -> list[Text]:
        """Return the texts of a piece."""
        ...

    def known_text(self, piece: Piece) -> Text | None:
        """Return the only text of a piece if that is known faster than by `texts_out`, or None."""
        ...

    def put_out(self, piece: Piece, changed: Mapping[Where, str]) -> Piece:
        """Return the piece with other texts at some places."""
        ...

    def without_echoes(self, piece: Piece, choices: Collection[int]) -> Piece:
        """Return the piece without what says the texts of these choices once more."""
        ...

    def ended(self, piece: Piece, choice: int) -> Piece:
        """Return the piece with the finish reason `stop` for a choice."""
        ...
