"""Builds HTML and SVG. Text is always escaped, unless it is already markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

_WITHOUT_END = frozenset({"meta", "br", "hr", "link", "img", "input"})


class Html(str):
    """Text that is already markup. Any other text is escaped when it becomes part of a page."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """Return a value as markup: unchanged if it is markup, else its text with special characters escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def joined(parts: Iterable[object]) -> Html:
    """Join several values as markup."""
    return Html("".join(escaped(part) for part in parts))


def tag(element: str, *children: object, **attributes: object) -> Html:
    """Return an element. An `_` in an attribute's name becomes `-`, and a last `_` is dropped, as in `class_`.

    Attributes and children that are None are left out.
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if element in _WITHOUT_END:
        return Html(f"<{element}{said}>")
    return Html(f"<{element}{said}>{joined(c for c in children if c is not None)}</{element}>")
