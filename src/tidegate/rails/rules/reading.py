"""Finds spans in several views of one text, with the way back to the characters of the original."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidegate.kernel.text.mapping import origin
from tidegate.rails.finders import Find
from tidegate.types.verdict import Span, View


def spans_in(views: Iterable[View], find: Find) -> Sequence[Span]:
    """Return the spans that `find` finds in any of the views, in characters of the original. They may overlap."""
    found: list[Span] = []
    known: dict[str, Sequence[Span]] = {}
    for view in views:
        # Several encodings may hide the same text.
        spans = known[view.text] if view.text in known else find(view.text, 0)
        known[view.text] = spans
        found += spans if view.starts is None else [_in_original(view, one) for one in spans]
    return found


def _in_original(view: View, span: Span) -> Span:
    start, end = origin(view, span.start, span.end)
    return Span(start, end, span.kind, span.score, span.goes_on)
