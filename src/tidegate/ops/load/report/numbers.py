"""Formats numbers for people: few digits, separated thousands, units, and a dash for a missing measurement."""

from __future__ import annotations

import math

NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def number(value: float | None) -> str:
    """Format a number with about three significant digits: 4.97, 52.3, 1,234. None and NaN become a dash."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    digits = 0 if size >= 99.95 or value == int(value) else 1 if size >= 9.995 else 2 if size >= 0.0995 else 4
    return f"{value:,.{digits}f}".replace("-", _MINUS)


def with_unit(value: float | None, unit: str) -> str:
    """Format a number with its unit. Shares of 1 are shown in %, and milliseconds from 10,000 on in seconds."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if unit in {"ratio", "fraction", "share"}:
        value, unit = value * 100, "%"
    if unit == "ms" and abs(value) >= 10_000:
        value, unit = value / 1000, "s"
    short = {"requests/sec": "req/s", "tokens/sec": "tok/s", "tokens/sec/user": "tok/s"}.get(unit, unit)
    return f"{number(value)} {short}".rstrip()


def rounded(value: float) -> str:
    """Format a round number for an axis, without trailing zeros: 7.5, 20,000."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text if value >= 1e-6 else f"{value:g}"


def signed(value: float, unit: str) -> str:
    """Format a difference with its sign: +12.3 %, ±0 %. The minus sign is the typographic one."""
    value = round(value, 1)
    sign = "±" if value == 0 else "+" if value > 0 else _MINUS
    shown = f"{abs(value):,.0f}" if value == int(value) or abs(value) >= 10 else f"{abs(value):,.1f}"
    return f"{sign}{shown} {unit}"


def moment(text: str) -> str:
    """Format a time of day: `2026-11-21 22:05:09 UTC`. Text in another format is returned unchanged."""
    return text.replace("+00:00", " UTC").replace("T", " ", 1) if text[:4].isdigit() else text


def duration(seconds: float) -> str:
    """Format a duration: 45 s, 12 min 5 s, 2 h 3 min."""
    if seconds < 60:
        return f"{number(round(seconds, 1))} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(names: list[str]) -> str:
    """Join names for a sentence: `a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
