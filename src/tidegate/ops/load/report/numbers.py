"""Numbers as a person reads them: few digits, thousands apart, a unit beside each, a dash where nothing was measured."""

from __future__ import annotations

import math

NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def number(value: float | None) -> str:
    """About three digits that matter: 4.97, 52.3, 1,234. A dash for None and for what is no number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    digits = 0 if size >= 99.95 or value == int(value) else 1 if size >= 9.995 else 2 if size >= 0.0995 else 4
    return f"{value:,.{digits}f}".replace("-", _MINUS)


def with_unit(value: float | None, unit: str) -> str:
    """A number and its unit as one text; a share of 1 is told in %, milliseconds from 10,000 on in seconds."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if unit in {"ratio", "fraction", "share"}:
        value, unit = value * 100, "%"
    if unit == "ms" and abs(value) >= 10_000:
        value, unit = value / 1000, "s"
    short = {"requests/sec": "req/s", "tokens/sec": "tok/s", "tokens/sec/user": "tok/s"}.get(unit, unit)
    return f"{number(value)} {short}".rstrip()


def rounded(value: float) -> str:
    """A round number as an axis has it, without zeros that say nothing: 7.5, 20,000."""
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text if value >= 1e-6 else f"{value:g}"


def signed(value: float, unit: str) -> str:
    """A difference with its sign, also when it is none: +12.3 %, ±0 %; the minus is the typographic one."""
    value = round(value, 1)
    sign = "±" if value == 0 else "+" if value > 0 else _MINUS
    shown = f"{abs(value):,.0f}" if value == int(value) or abs(value) >= 10 else f"{abs(value):,.1f}"
    return f"{sign}{shown} {unit}"


def moment(text: str) -> str:
    """A time of day as people write it: `2026-11-21 22:05:09 UTC`; text of another form as it is."""
    return text.replace("+00:00", " UTC").replace("T", " ", 1) if text[:4].isdigit() else text


def duration(seconds: float) -> str:
    """How long something took: 45 s, 12 min 5 s, 2 h 3 min."""
    if seconds < 60:
        return f"{number(round(seconds, 1))} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(names: list[str]) -> str:
    """Names as a sentence has them: `a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
