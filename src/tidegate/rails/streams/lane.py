"""One text of one stream under its rails: how much of it may leave, and what it says then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from tidegate.ports import Scanner
from tidegate.rails.redact import Edit, edited, mask, united
from tidegate.rails.streams.joint import Joint, JointSearch
from tidegate.rails.streams.passages import USUAL, Cut, Passage, Passages
from tidegate.rails.streams.spans import SpanScanner
from tidegate.rails.streams.stops import Stops
from tidegate.types import Scan, Span, Where

_LOG_CHARS = 1024

Put = Callable[[Span, str], str]


class SpanRail(msgspec.Struct, frozen=True):
    """A rail that finds spans in streams. `scanner` makes a scanner for one text.

    `on_fail` is `block`, `redact`, `log`, or `restore` for a rail whose spans are expected. `put` returns what replaces a
    span of a text with `redact` and `restore`: by default a mask. A rail that only logs holds nothing back.
    """

    name: str
    on_fail: str
    scanner: Callable[[], Scanner]
    put: Put = mask

    @property
    def edits(self) -> bool:
        return self.on_fail in ("redact", "restore")


class Found(NamedTuple):
    """What the rail with this name has found in a stream. `span` is in characters of the text.

    `text` is what stands there. `too_long` says that the match went on for longer than may be held back; then the text is
    its beginning.
    """

    rail: str
    where: Where
    span: Span
    text: str = ""
    too_long: bool = False


class Lane:
    """A text of a stream, as it arrives. All offsets are in characters from its beginning.

    `arrived` is how much has been fed, and `clear` how much may leave. A text that is `judged` also waits for rulings: on
    its `passages` as they are complete, or on the `whole` of it at its end; with `early`, one passage at a time leaves
    before its ruling. At a stop string the text ends: `stopped`.
    """

    def __init__(  # noqa: PLR0913
        self,
        where: Where,
        rails: Sequence[SpanRail],
        *,
        judged: str = "",
        cut: Cut = USUAL,
        is_json: bool = False,
        stops: Stops | None = None,
        search: JointSearch | None = None,
    ) -> None:
        self.where = where
        self.arrived = 0
        self.clear = 0
        self.closed = False
        self.stopped = False
        self.blocked: Found | None = None
        self.found: list[Found] = []
        watches = [(rail, rail.scanner()) for rail in rails]
        self._watches = [watch for watch in watches if watch[0].on_fail != "log"]
        self._loggers = [watch for watch in watches if watch[0].on_fail == "log"]
        self._unlogged = ""  # the loggers have not seen it yet
        self._logged = 0  # how much is clear for them
        self._logging = ""  # from `_logged` on, what they have seen
        self._joint = search.joint([scanner for _, scanner in self._watches]) if search and rails else None
        self._alone = (
            self._watches[search.count :] if search else []
        )  # those of which the joint search knows nothing
        self._ranks = {rail.name: at for at, rail in enumerate(rails)}
        whole, early = judged == "whole", judged == "early"
        self._passages = Passages(where, cut, whole=whole, is_json=is_json, early=early) if judged else None
        self._stops = stops
        self._passer = self._passing(judged, stops)
        self._text = ""  # from `_base` on, up to `_end`
        self._base = 0
        self._end = 0
        self._edits: list[Edit] = []
        self._objections: list[tuple[SpanRail, Found]] = []  # the edits of text that follows may undo them

    def feed(self, text: str, *, last: bool = False) -> None:
        """Take more text. With `last`, no more follows."""
        self.arrived += len(text)
        if self.closed:
            return
        if self._stops is not None:
            text, self.stopped = self._stops.feed(text, last=last)
            last = last or self.stopped
        self._text += text
        self._end += len(text)
        clear = self._scan(text, last=last)
        if self._loggers:
            self._log(text, last=last)
        self.closed = last
        if self._objections:
            clear = self._settle(clear)
        self.clear = clear if self._passages is None else self._judged(self._passages, clear)

    def passes(self, text: str) -> bool:
        """Take more text if it leaves at once as it is. Returns False if it was not taken, and has to be fed.

        This is the usual event of a stream, in one step: nothing before it is held, and it concerns no rail. To feed it and
        forget it as it leaves would come to the same state.
        """
        passer, size = self._passer, len(text)
        if passer is None or self.closed or self._text or self._edits or self._objections:
            return False
        if self._loggers and len(self._unlogged) + size >= _LOG_CHARS:
            return False
        if not passer.passes(text):
            return False
        if self._loggers:
            self._unlogged += text
        self.arrived = self.clear = self._end = self._base = self._end + size
        return True

    def stop(self) -> None:
        """Take no more text: a stop string has ended the choice."""
        self.feed("", last=True)
        self.stopped = True

    def may_leave(self, end: int) -> bool:
        """Return whether the text before a place may leave."""
        return end <= self.clear or (self.stopped and self.clear == self._end)

    def reaches_stop(self, end: int) -> bool:
        """Return whether the text before a place has the beginning of the stop string, or all before it."""
        return self.stopped and end > self._end

    @property
    def changed(self) -> bool:
        """Whether any text that is still here leaves other than it came."""
        return bool(self._edits) or self.stopped

    def to_check(self) -> list[Passage]:
        """Return the passages that have been completed since the last time."""
        return self._passages.completed() if self._passages else []

    def rule(self, passage: Passage, text: str | None) -> None:
        """Release a passage, or another text instead of it."""
        assert self._passages is not None
        start, end = passage.start, passage.end
        if text is not None and text != passage.text:
            others = [one for one in self._edits if one.end <= start or end <= one.start]
            self._edits = united([*others, Edit(start, end, text)])
        self._passages.release(passage)
        self.clear = self._passages.clear

    def between(self, start: int, end: int) -> str:
        """Return a part of the text, after edits."""
        text = self._text[start - self._base : end - self._base]
        return edited(text, self._edits, start) if self._edits else text

    def forget(self, before: int) -> None:
        """Drop the text before a place, since it has left."""
        if before > self._base:
            self._text = self._text[before - self._base :]
            self._base = before
            if self._edits:
                past = min(before, self._logged) if self._loggers else before
                self._edits = [edit for edit in self._edits if edit.end >= past]

    def _passing(self, judged: str, stops: Stops | None) -> Joint | SpanScanner | None:
        """Return what alone says whether text concerns any rail, if one part can say that of this text."""
        if judged or stops is not None or self.where.at < 0:
            return None
        if self._joint is not None:
            return None if self._alone else self._joint
        one = self._watches[0][1] if len(self._watches) == 1 else None
        return one if isinstance(one, SpanScanner) else None

    def _scan(self, text: str, *, last: bool) -> int:
        """Feed the scanners. Returns how much may leave."""
        clear, watches, joint = self._end, self._watches, self._joint
        if joint is not None:
            if last:
                joint.wake()
            elif (calm := joint.clear_after(text)) >= 0:
                clear, watches = calm, self._alone
        for rail, scanner in watches:
            scan = scanner.feed(text, last=last)
            if scan.found or scan.too_long:
                self._note(rail, scan, self._text, self._base)
            clear = min(clear, scan.clear)
        if joint is not None and watches is self._watches:
            joint.rest()
        return clear

    def _log(self, text: str, *, last: bool) -> None:
        """Feed the scanners for which nothing is held back, a few events at a time."""
        self._unlogged += text
        if last or len(self._unlogged) >= _LOG_CHARS:
            scans = [(rail, scanner.feed(self._unlogged, last=last)) for rail, scanner in self._loggers]
            text, base = self._logging + self._unlogged, self._logged
            self._unlogged = ""
            self._logged = min(scan.clear for _, scan in scans)
            self._logging = text[self._logged - base :]
            for rail, scan in scans:
                self._note(rail, scan, text, base)

    def _note(self, rail: SpanRail, scan: Scan, text: str, base: int) -> None:
        """Take what a scanner says. `text` has the characters of which it speaks, and begins at `base`."""
        for span in scan.found:
            found = Found(rail.name, self.where, span, text[span.start - base : span.end - base])
            if rail.edits:
                put = "" if span.goes_on else self._put(rail, span, found.text)
                edit = Edit(span.start, span.end, put, self._ranks[rail.name])
                self._edits = united([*self._edits, edit])
                if rail.on_fail == "redact":
                    self.found.append(found)
            else:
                self._objections.append((rail, found))
        if scan.too_long:
            span = Span(scan.clear, self._end, "too_long")
            self._tell(rail, Found(rail.name, self.where, span, text[scan.clear - base :], too_long=True))
            self._loggers = [watch for watch in self._loggers if watch[0] is not rail]

    def _put(self, rail: SpanRail, span: Span, text: str) -> str:
        # Those who judge passages see what the engine has said, and restore what they release. No passage ends within it.
        return text if rail.on_fail == "restore" and self._passages is not None else rail.put(span, text)

    def _tell(self, rail: SpanRail, finding: Found) -> None:
        if rail.on_fail == "log":
            self.found.append(finding)
        else:
            self.blocked = self.blocked or finding

    def _settle(self, clear: int) -> int:
        """Decide about the spans of which all edits are known. Returns how much may leave."""
        waiting: list[tuple[SpanRail, Found]] = []
        free = clear
        for rail, found in self._objections:
            span = found.span
            if span.end > clear:
                waiting.append((rail, found))
                free = free if rail.on_fail == "log" else min(free, span.start)
            elif not any(edit.start < span.end and span.start < edit.end for edit in self._edits):
                # Where there is an edit, this rail would have seen the text after it.
                self._tell(rail, found)
        self._objections = waiting
        return free

    def _judged(self, passages: Passages, clear: int) -> int:
        """Cut what the scanners have passed into passages. Returns how much may leave."""
        while passages.next < clear:
            if passages.whole:
                end = self._end if self.closed else 0
            else:
                text = self._text[passages.next - self._base : clear - self._base]
                length = passages.cut.end(text, last=self.closed)
                end = self._behind_edits(passages.next + length) if length else 0
            if not end or end > clear:
                break
            passages.add(end, self.between(passages.next, end))
        return passages.clear

    def _behind_edits(self, at: int) -> int:
        return max([at, *(edit.end for edit in self._edits if edit.start < at)])
