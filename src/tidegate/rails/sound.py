"""Checks of what rails return. A rail may come from anyone, so nothing that it returns is used before it was checked."""

from __future__ import annotations

from typing import Any, cast

from tidegate.types import Scan, Span, Verdict

# The types that rails declare say nothing about what they return, so each value is looked at as one of any type.


def wrong_with(verdict: Any, length: int) -> str:
    """Return what keeps a verdict on a text of so many characters from being used, or nothing."""
    if not isinstance(verdict, Verdict):
        return f"returned {type(verdict).__name__} instead of a verdict"
    given: Any = verdict
    words = (given.category, given.reason, given.error)
    if type(given.passed) is not bool or not (_are_texts(words) and _are_texts(given.categories)):
        return "returned a verdict of wrong types"
    if not _is_score(given.score) or not _are_scores(given.scores):
        return "returned a score that is not from 0 to 1"
    if given.text is not None and not _is_text(given.text):
        return "returned a corrected text that is no text"
    if not _are_spans(given.spans, 0, length):
        return "returned a span that is not in the text"
    return ""


def is_sound(scan: Any, clear: int, given: int, *, last: bool) -> bool:
    """Return whether a scan can be used of a stream with so many characters, of which the first `clear` may have left.

    What has left cannot be taken back, so no span may begin there. At the end of a stream nothing may wait for more text.
    """
    if type(scan) is not Scan or type(scan.clear) is not int or type(scan.too_long) is not bool:
        return False
    if not clear <= scan.clear <= given:
        return False
    if last and scan.clear < given and not scan.too_long:
        return False
    return _are_spans(scan.found, clear, scan.clear)


def _are_spans(spans: Any, start: int, end: int) -> bool:
    if type(spans) is not tuple:
        return False
    return all(_is_span(one, start, end) for one in cast("tuple[Any, ...]", spans))


def _is_span(span: Any, start: int, end: int) -> bool:
    if type(span) is not Span or type(span.start) is not int or type(span.end) is not int:
        return False
    return start <= span.start < span.end <= end and _is_text(span.kind) and _is_score(span.score)


def _are_texts(texts: Any) -> bool:
    return type(texts) is tuple and all(map(_is_text, cast("tuple[Any, ...]", texts)))


def _is_score(score: Any) -> bool:
    return type(score) in (float, int) and 0 <= score <= 1


def _are_scores(scores: Any) -> bool:
    return type(scores) is tuple and all(map(_is_scored, cast("tuple[Any, ...]", scores)))


def _is_scored(one: Any) -> bool:
    return (
        type(one) is tuple
        and len(cast("tuple[Any, ...]", one)) == 2
        and _is_text(one[0])
        and _is_score(one[1])
    )


def _is_text(text: Any) -> bool:
    """Whether it is a text that can be sent: half of a character of UTF-16 cannot."""
    if type(text) is not str:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
