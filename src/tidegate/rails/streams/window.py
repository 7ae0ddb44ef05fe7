"""The window through which an answer passes: it holds back what a rail may still object to. Pure, without I/O.

The window gets each piece with its texts, and returns the pieces that may leave. A piece leaves with its own bytes if
nothing in it has changed. Otherwise changed texts are put into it: a mask stands in the piece in which the match begins;
pieces that have only the rest of the match lose that rest, but stay.

The pieces of a choice keep their order. A piece of no choice, such as the one with the usage, waits for all before it.
Nothing leaves after a block. When an engine fails, `finish` is not called, and the text that is held never leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tidegate.rails.streams.joint import JointSearch
from tidegate.rails.streams.lane import Found, Lane, SpanRail
from tidegate.rails.streams.passages import USUAL, Cut, Passage
from tidegate.rails.streams.stops import Stops
from tidegate.types import Batch, Piece, Span, Text, Where

PutOut = Callable[[Piece, Mapping[Where, str]], Piece]
"""Puts changed texts into a piece, such as `put_out` of a form."""
EndChoice = Callable[[Piece, int], Piece]
"""Gives the choice with this index the finish reason `stop`."""


_ITSELF = "window"
STOP_CHANNELS = frozenset({"content", "text"})
"""The texts in which stop strings count."""


class WindowRules(msgspec.Struct, frozen=True):
    """What holds for the streams of one policy.

    `rails` find spans. `judged` says what other rails judge: nothing (""), `passages`, the `whole` text, or `early`, which
    is passages of which one may be shown before its ruling. `cut` says how they are cut. With `judges_json`, texts that are
    JSON are judged as a whole where there are any rails. `stops` are the stop strings that the engine does not know, and
    `stop_channels` the texts in which they count. `search` is the joint search of the rails that do not only log.
    """

    rails: tuple[SpanRail, ...] = ()
    judged: str = ""
    cut: Cut = USUAL
    judges_json: bool = True
    stops: tuple[str, ...] = ()
    stop_channels: Collection[str] = STOP_CHANNELS
    search: JointSearch | None = None

    @classmethod
    def of(cls, rails: Sequence[SpanRail], **more: Any) -> WindowRules:
        """Return rules with a joint search. Making it takes milliseconds, so rules are made once for many answers."""
        search = JointSearch.of([rail.scanner() for rail in rails if rail.on_fail != "log"])
        return cls(tuple(rails), search=search, **more)

    def restoring(self, rail: SpanRail) -> WindowRules:
        """Return the same rules with one more rail, for one answer."""
        return msgspec.structs.replace(self, rails=(*self.rails, rail))


class Window:
    """One answer on its way out.

    `blocked` is the finding that ended the answer. `found` has all others. `stopped` has the choices that a stop string has
    ended: once all have, the engine has nothing more to say. `shown` counts the characters of text that have left.
    """

    def __init__(self, rules: WindowRules, put: PutOut, end_choice: EndChoice) -> None:
        self.blocked: Found | None = None
        self.stopped: set[int] = set()
        self.shown = 0
        self._rules = rules
        self._put = put
        self._end_choice = end_choice
        self._lanes: dict[Where, Lane] = {}
        self._held: list[_Entry] = []
        self._told: set[int] = set()  # stopped choices whose last piece has left

    @property
    def holds(self) -> bool:
        """Whether any piece is held."""
        return bool(self._held)

    @property
    def found(self) -> list[Found]:
        """What the rails have found and not blocked, by text."""
        return [one for lane in self._lanes.values() for one in lane.found]

    def feed(self, piece: Piece, texts: Sequence[Text]) -> Batch:
        """Take a piece and the texts in it. Returns the pieces that leave now."""
        if self.blocked:
            return []
        moved = not self._held
        parts: list[_Part] = []
        for text in texts:
            lane = self._lanes.get(text.where) or self._open(text)
            start = lane.arrived
            if text.value:
                moved = self._add(lane, text) or moved
            parts.append(_Part(text, lane, start, start + len(text.value)))
        choices: tuple[int, ...] = ()
        for choice in piece.answer.choices or ():
            choices = (*choices, choice.index)
            if choice.finish_reason is not None:
                self._close(choice.index)
                moved = True
        entry = _Entry(piece, choices, parts)
        if not self._held and not self.stopped and not self.blocked and entry.may_leave():
            return [self._out(entry)]
        self._held.append(entry)
        return self._leaving() if moved or entry.may_leave() else []

    def passes(self, piece: Piece, text: Text) -> bool:
        """Take a piece with one text if it leaves at once as it is. Returns False if it was not taken and has to be fed."""
        choices = piece.answer.choices
        if self._held or self.stopped or self.blocked or not choices or len(choices) > 1:
            return False
        where, _, value, _, _ = text
        lane = self._lanes.get(where)
        if lane is None or choices[0].finish_reason is not None or not lane.passes(value):
            return False
        self.shown += len(value)
        return True

    def finish(self) -> Batch:
        """Take the end of a whole answer. What still waits for a ruling leaves with `decide`."""
        for at in {where.at for where in self._lanes}:
            self._close(at)
        return self._leaving()

    def to_check(self) -> list[Passage]:
        """Return the passages that have been completed since the last time. Each has to get a ruling by `decide`."""
        return [passage for lane in self._lanes.values() for passage in lane.to_check()]

    def shown_of(self, passage: Passage) -> int:
        """Return how many characters of a passage have left."""
        lane = self._lanes[passage.where]
        held = (part.start for entry in self._held for part in entry.parts if part.lane is lane)
        left = min(next(held, lane.arrived), passage.end)
        return max(left - passage.start, 0)

    def decide(self, passage: Passage, *, blocked_by: str | None = None, text: str | None = None) -> Batch:
        """Take the ruling on a passage: it may leave, leaves as another `text`, or is blocked by a rail."""
        if self.blocked:
            return []
        if blocked_by is not None:
            self.blocked = Found(blocked_by, passage.where, Span(passage.start, passage.end, "passage"))
            return []
        self._lanes[passage.where].rule(passage, text)
        return self._leaving()

    def _open(self, text: Text) -> Lane:
        rules = self._rules
        judged, rails = rules.judged, rules.rails
        if text.is_json:
            judged, rails = ("whole" if rules.judges_json and (rails or judged) else ""), ()
        stops = Stops(rules.stops) if rules.stops and text.where.channel in rules.stop_channels else None
        lane = Lane(
            text.where,
            rails,
            judged=judged,
            cut=rules.cut,
            is_json=text.is_json,
            stops=stops,
            search=rules.search,
        )
        self._lanes[text.where] = lane
        if text.where.at in self.stopped:
            lane.stop()
        return lane

    def _add(self, lane: Lane, text: Text) -> bool:
        """Add text to a lane. Returns whether any text may leave now that could not before."""
        if lane.closed and not lane.stopped:
            place = Span(lane.arrived, lane.arrived, "after_the_end")
            self.blocked = self.blocked or Found(_ITSELF, text.where, place)
        clear = lane.clear
        # What an event says beside its choices is complete: a line end keeps the next event's from being joined to it.
        lane.feed(text.value if text.where.at >= 0 else f"{text.value}\n")
        if lane.blocked is not None:
            self.blocked = self.blocked or lane.blocked
        if lane.stopped and text.where.at not in self.stopped:
            self._stop(text.where.at)
        return lane.clear > clear or lane.stopped

    def _stop(self, at: int) -> None:
        self.stopped.add(at)
        for where, lane in self._lanes.items():
            if where.at == at:
                lane.stop()
        self._close(at)

    def _close(self, at: int) -> None:
        """Tell the texts of a choice that no more follows."""
        for where, lane in self._lanes.items():
            if where.at == at and not lane.closed:
                lane.feed("", last=True)
                self.blocked = self.blocked or lane.blocked
                if lane.stopped:
                    self._stop(at)

    def _leaving(self) -> Batch:
        """Return the pieces that may leave, and forget them."""
        if self.blocked:
            return []
        leaving: Batch = []
        held: list[_Entry] = []
        waiting: set[int] = set()  # choices with a piece that is held
        for entry in self._held:
            behind = held and (not entry.choices or not waiting.isdisjoint(entry.choices))
            if behind or not entry.may_leave():
                held.append(entry)
                waiting.update(entry.choices)
            elif not entry.choices or not self._told.issuperset(entry.choices):
                leaving.append(self._out(entry))
        self._held = held
        return leaving

    def _out(self, entry: _Entry) -> Piece:
        changed: dict[Where, str] = {}
        for text, lane, start, end in entry.parts:
            value = text.value
            if lane.changed:
                value = lane.between(start, end)
                if value != text.value:
                    changed[text.where] = value
            self.shown += len(value)
            lane.forget(end)
        piece = self._put(entry.piece, changed) if changed else entry.piece
        return self._with_ends(piece, entry) if self.stopped else piece

    def _with_ends(self, piece: Piece, entry: _Entry) -> Piece:
        """Say in a piece which of its choices end there by a stop string."""
        for part in entry.parts:
            at = part.text.where.at
            if at not in self._told and part.lane.reaches_stop(part.end):
                self._told.add(at)
                piece = self._end_choice(piece, at)
        return piece


class _Part(NamedTuple):
    """A text of a piece, and its place in its lane."""

    text: Text
    lane: Lane
    start: int
    end: int


class _Entry(NamedTuple):
    """A piece that is held, and the choices to which it belongs."""

    piece: Piece
    choices: tuple[int, ...]
    parts: list[_Part]

    def may_leave(self) -> bool:
        for part in self.parts:  # noqa: SIM110 - a generator takes three times as long
            if part.end > part.lane.clear and not part.lane.may_leave(part.end):
                return False
        return True
