"""Long texts in slices, so that no check of one takes the event loop for long."""

from __future__ import annotations

from collections.abc import Iterator

SLICE_CHARS = 4_096
"""The usual length of a slice, in characters: usual ones take less than a millisecond, the worst take several."""

OVERLAP_CHARS = 512
"""How much of a slice the next one repeats, in characters: a match up to this length is whole in one of the two."""


def slices(text: str, size: int = SLICE_CHARS, *, overlap: int = OVERLAP_CHARS) -> Iterator[tuple[int, str]]:
    """Yield the slices of a text as (offset, part). Each has at most `size` characters, and they overlap by `overlap`.

    A slice ends after white space if there is any within its last eighth, so that words stay whole, and begins exactly
    `overlap` characters before the end of the one before. A text that is not longer than `size` is one slice. Raises
    ValueError if `overlap` is negative, or more than half of `size`.
    """
    if not 0 <= overlap <= size // 2 or size < 1:
        raise ValueError(f"overlap must be between 0 and half of size ({size // 2}), and is {overlap}")
    start = 0
    while len(text) - start > size:
        end = _cut(text, start + size - size // 8, start + size)
        yield start, text[start:end]
        start = end - overlap
    yield start, text[start:]


def _cut(text: str, first: int, last: int) -> int:
    """Return the place after the last space or line end from `first` up to `last`, and `last` if there is none."""
    space = max(text.rfind(" ", first, last), text.rfind("\n", first, last))
    return last if space < 0 else space + 1
