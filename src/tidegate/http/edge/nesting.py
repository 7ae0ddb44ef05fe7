"""Limits the depth of a JSON body and the number of its lists and objects, before any object is built from it.

A parser spends stack on depth, and far more memory on an empty list (56 bytes and a pointer) than the two bytes that it
takes to write one. Python looks at no byte here: searching, deleting and replacing run in C. What is no JSON passes as it
may; the parser comes next.
"""

from __future__ import annotations

from tidegate.errors import BadRequest

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS_AND_QUOTES = bytes(set(range(256)) - set(b'[]{}"'))

# Up to here counting every bracket is cheaper than stopping at the first one too many.
_SHORT_BYTES = 4096


def check_nesting(body: bytes, *, max_depth: int, max_containers: int) -> None:
    """Raises BadRequest that names the limit. A microsecond for a short chat, 5 ns a byte for one with many parts."""
    # Where so few brackets open, whatever is in strings, none can be too deep.
    if len(body) < _SHORT_BYTES and body.count(b"[") + body.count(b"{") <= min(max_depth, max_containers):
        return
    left = _less_openings(body, b"[", _less_openings(body, b"{", min(max_depth, max_containers)))
    if left >= 0:
        return
    levels = _brackets(body, 4 * max_containers)
    if levels.count(b"[") > max_containers:
        raise too_many(max_containers)
    for _ in range(max_depth):
        inner = levels.replace(b"[]", b"")  # every innermost pair
        if len(inner) == len(levels):
            break
        levels = inner
    if levels.count(b"[") > max_depth or b"[]" in levels:
        raise too_deep(max_depth)


def too_many(max_containers: int) -> BadRequest:
    """The refusal of a body with more lists and objects than that."""
    return BadRequest(f"The body holds more than {max_containers} lists and objects")


def too_deep(max_depth: int) -> BadRequest:
    """The refusal of a body that is nested deeper than that."""
    return BadRequest(f"The body is nested deeper than {max_depth} levels")


def _less_openings(body: bytes, bracket: bytes, count: int) -> int:
    """`count` less the occurrences of `bracket`, negative as soon as there are more. `bytes.count` takes twice as long."""
    at = body.find(bracket)
    while at >= 0 <= count:
        count -= 1
        at = body.find(bracket, at + 1)
    return count


def _brackets(body: bytes, most_strings: int) -> bytes:
    """The brackets outside of strings, `[` for each that opens and `]` for each that closes. Raises BadRequest."""
    if b"\\" in body:
        # In this order: a quote after an escaped backslash is a real one.
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = body.translate(_BRACKETS, _ALL_BUT_BRACKETS_AND_QUOTES)
    # Two quotes side by side say nothing about the brackets before and behind them.
    marks = marks.replace(b'""', b"")
    if marks.count(b'"') > 2 * most_strings:
        raise BadRequest(f"The body holds more than {most_strings} strings with brackets in them")
    return b"".join(marks.split(b'"')[::2])
