"""Finds spans in several views of one text, with the way back to the characters of the original."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidegate.kernel.text.mapping import origin
from tidegate.rails.finders import Find
from tidegate.types.verdict import Span, View


def spans_in(views: Iterable[View], find: Find) -> Sequence[Span]:
    """Return the spans that `find` finds in any of the views, in characters of the original. They may overlap."""
    found: list[Span] = []
    for view in views:
        for span in find(view.text, 0):
            start, end = origin(view, span.start, span.end)
            found.append(span._replace(start=start, end=end))
    return found
