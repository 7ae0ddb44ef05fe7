"""The way from a view back to the original text: views of views, and views with some parts replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, overload

from tidegate.types.verdict import View


class Edit(NamedTuple):
    """A replacement of the characters from `start` up to, but not including, `end`."""

    start: int
    end: int
    text: str


class Offsets(Sequence[int]):
    """Offsets that are computed on first use: most views match nothing, so nobody asks for them."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Sequence[int]]) -> None:
        self._make = make
        self._made: Sequence[int] | None = None

    def _all(self) -> Sequence[int]:
        if self._made is None:
            self._made = self._make()
        return self._made

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())


def origin(view: View, start: int, end: int) -> tuple[int, int]:
    """Return the characters of the original for the characters of a view, as (start, end); at least one is expected.

    This also holds for views that run backwards.
    """
    if view.starts is None or view.ends is None:
        return start, end
    last = end - 1
    return min(view.starts[start], view.starts[last]), max(view.ends[start], view.ends[last])


def starts_of(view: View) -> Sequence[int]:
    return range(len(view.text)) if view.starts is None else view.starts


def ends_of(view: View) -> Sequence[int]:
    return range(1, len(view.text) + 1) if view.ends is None else view.ends


def edited(view: View, edits: Iterable[Edit], *, name: str, keeps: bool = False) -> View:
    """Return a view with parts of another replaced: each new character stands for the whole part. Edits are in order.

    Without edits, the result is the view that was given.
    """
    edits = list(edits)
    if not edits:
        return view
    texts: list[str] = []
    at = 0
    for start, end, text in edits:
        texts += (view.text[at:start], text)
        at = end
    texts.append(view.text[at:])
    starts = Offsets(lambda: _spread(starts_of(view), edits, first=True))
    ends = Offsets(lambda: _spread(ends_of(view), edits, first=False))
    return View(name, "".join(texts), starts, ends, keeps)


def _spread(offsets: Sequence[int], edits: list[Edit], *, first: bool) -> list[int]:
    """Return the offsets after the edits: those of a replacement are the first or the last one of the replaced part."""
    spread: list[int] = []
    at = 0
    for start, end, text in edits:
        spread += offsets[at:start]
        spread += [offsets[start if first else end - 1]] * len(text)
        at = end
    spread += offsets[at:]
    return spread


def beneath(inner: View, outer: View) -> View:
    """Return a view of the original, given a view (`inner`) of the text of a view of the original (`outer`)."""
    starts, ends = starts_of(inner), ends_of(inner)
    if outer.starts is None or outer.ends is None:
        return View(inner.name, inner.text, starts, ends, inner.keeps)
    up_starts, up_ends = outer.starts, outer.ends
    return View(
        inner.name,
        inner.text,
        Offsets(lambda: [up_starts[i] for i in starts]),
        Offsets(lambda: [up_ends[i - 1] for i in ends]),
        inner.keeps and outer.keeps,
    )
