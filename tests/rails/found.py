"""What a rail that finds spans says of a text, whole and in a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tidegate.kernel.text import Views
from tidegate.types import Caller, Scene, Span, Surface, Where

SCENE = Scene(Where(0, "content"), Surface.OUTPUT, Caller(), deadline=0.0)


def whole(rail: Any, text: str) -> list[Span]:
    return list(rail.check(Views(text), SCENE).spans)


def streamed(rail: Any, events: Iterable[str]) -> tuple[list[Span], list[int]]:
    """Return the spans of a stream, with the parts of one that goes on as one, and how much was clear after each event."""
    scanner = rail.scanner()
    scans = [scanner.feed(event) for event in events]
    scans.append(scanner.feed("", last=True))
    spans = joined(span for scan in scans for span in scan.found)
    return spans, [scan.clear for scan in scans]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans with the parts of one that goes on as one."""
    parts: list[Span] = []
    for span in spans:
        if span.goes_on and parts:
            parts[-1] = parts[-1]._replace(end=span.end)
        else:
            parts.append(span)
    return parts


def kinds(rail: Any, text: str) -> list[tuple[str, str]]:
    """Return each entity that is found, with its kind."""
    return [(text[span.start : span.end], span.kind) for span in joined(whole(rail, text))]
