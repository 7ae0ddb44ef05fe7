"""Bars, times and numbers, as tables for people have them."""

from __future__ import annotations

ALMOST = 0.8
"""What is used by more than this share is coloured."""
BAR = 10
"""The length of a bar, in characters."""


def bar(share: float, *, ascii_only: bool = False) -> str:
    """Return a bar of ten characters. It is full only if nothing is left, and empty only if nothing is used."""
    filled = min(round(BAR * share), BAR)
    if 0 < share < 1:
        filled = min(max(filled, 1), BAR - 1)
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    return full * filled + empty * (BAR - filled)


def duration(seconds: float) -> str:
    """Return a time in its two largest units, such as `11h 2m`. It is rounded up to seconds."""
    left = int(-(-seconds // 1))
    parts: list[str] = []
    for size, name in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{name}")
    return " ".join(one for one in parts[:2] if not one.startswith("0")) or "0s"


def number(amount: float) -> str:
    """Return a number in at most six characters: whole below 10,000, else with three digits and a letter."""
    if abs(amount) < 9_999.5:
        return f"{amount:,.0f}"
    for size, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if abs(amount) < 999.5 * size:
            return f"{amount / size:.3g}{letter}"
    return f"{amount:.2e}"
