"""HTML and SVG that cannot be broken by what is put into it: text is escaped unless it is already markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

_WITHOUT_END = frozenset({"meta", "br", "hr", "link", "img", "input"})


class Html(str):
    """Text that is markup already. Everything else is escaped when it becomes part of a page."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """A value as markup: itself when it is markup, else its text with every special character escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def joined(parts: Iterable[object]) -> Html:
    """Several pieces, one after another."""
    return Html("".join(escaped(part) for part in parts))


def tag(element: str, *children: object, **attributes: object) -> Html:
    """One element. An attribute's `_` becomes `-` (a last one is dropped: `class_`); with None it is left out.

    A child that is None is left out too.
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if element in _WITHOUT_END:
        return Html(f"<{element}{said}>")
    return Html(f"<{element}{said}>{joined(c for c in children if c is not None)}</{element}>")
