"""The way from a view back to the original text: views of views, and views with some parts replaced."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, overload

from tidegate.types.verdict import View


class Edit(NamedTuple):
    """A replacement of the characters from `start` up to, but not including, `end`."""

    start: int
    end: int
    text: str


class Offsets(Sequence[int]):
    """Offsets that are looked up one at a time: a view has few matches or none, so hardly any are asked for.

    The offset at `i` is the one of the outer view at `index(i)`.
    """

    __slots__ = ("_index", "_length", "_outer")

    def __init__(self, outer: Sequence[int], index: Callable[[int], int], length: int) -> None:
        self._outer = outer
        self._index = index
        self._length = length

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError(f"the view has {self._length} characters")
        return self._outer[self._index(index)]

    def __len__(self) -> int:
        return self._length


class Made:
    """A list that is made on first use."""

    __slots__ = ("_list", "_make")

    def __init__(self, make: Callable[[], Iterable[int]]) -> None:
        self._make = make
        self._list: list[int] | None = None

    def list(self) -> list[int]:
        if self._list is None:
            self._list = [*self._make()]
        return self._list


def origin(view: View, start: int, end: int) -> tuple[int, int]:
    """Return the characters of the original for the characters of a view, as (start, end); at least one is expected.

    This also holds for views that run backwards.
    """
    if view.starts is None or view.ends is None:
        return start, end
    first, behind = view.starts[start], view.ends[end - 1]
    if first < behind:
        return first, behind
    return view.starts[end - 1], view.ends[start]


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
    way = _Way(edits)
    return within(view, name, "".join(texts), way.first, way.last, keeps=keeps)


def within(
    view: View,
    name: str,
    text: str,
    first: Callable[[int], int],
    last: Callable[[int], int],
    *,
    keeps: bool,
) -> View:
    """Return a view of which character `i` stands for the characters of another from `first(i)` to `last(i)`."""
    length = len(text)
    starts = Offsets(starts_of(view), first, length)
    return View(name, text, starts, Offsets(ends_of(view), last, length), keeps)


class _Way:
    """The way back over some edits. Stretches that stay are between them: each second part of the new text is an edit."""

    __slots__ = ("_edits", "_ends")

    def __init__(self, edits: list[Edit]) -> None:
        self._edits = edits
        self._ends = Made(lambda: accumulate(self._sizes()))

    def first(self, index: int) -> int:
        part = bisect_right(self._ends.list(), index)
        return self._edits[part // 2].start if part % 2 else self._kept(part, index)

    def last(self, index: int) -> int:
        part = bisect_right(self._ends.list(), index)
        return self._edits[part // 2].end - 1 if part % 2 else self._kept(part, index)

    def _kept(self, part: int, index: int) -> int:
        return self._edits[part // 2 - 1].end + index - self._ends.list()[part - 1] if part else index

    def _sizes(self) -> Iterator[int]:
        """Yield the lengths of the parts of the new text but the last one."""
        at = 0
        for start, end, text in self._edits:
            yield start - at
            yield len(text)
            at = end


def beneath(inner: View, outer: View) -> View:
    """Return a view of the original, given a view (`inner`) of the text of a view of the original (`outer`)."""
    starts, ends = starts_of(inner), ends_of(inner)
    if outer.starts is None or outer.ends is None:
        return View(inner.name, inner.text, starts, ends, inner.keeps)
    return within(
        outer,
        inner.name,
        inner.text,
        starts.__getitem__,
        lambda index: ends[index] - 1,
        keeps=inner.keeps and outer.keeps,
    )
