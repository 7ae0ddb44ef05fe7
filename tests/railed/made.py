"""Rails of the tests. They are installed as other packages' rails are: by an entry point (see `conftest.py`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from tidegate.config.rails import RailConfig
from tidegate.kernel.matching import Pattern
from tidegate.kernel.text import Views
from tidegate.ports import TextViews
from tidegate.rails.finders import by_patterns
from tidegate.rails.streams.spans import SpanScanner
from tidegate.types import PASSED, Hold, RailFacts, Scan, Scene, Span, Surface, Verdict

SECRET = "the user's own words"
"""What failing rails put into their exceptions and reasons: it must not be found anywhere."""


class Seen(NamedTuple):
    """A text that a rail has checked."""

    rail: str
    surface: str
    text: str
    scene: Scene


seen: list[Seen] = []
"""What the rails have checked, in order. `world.railed` empties it."""
cancelled: list[str] = []
"""The rails whose check was cancelled."""
stays: set[str] = set()
"""The rails with `fails: endless` whose check goes on whatever happens. It ends when its name is taken out."""


def _raise(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


class Odd(Verdict, frozen=True):
    """A verdict of a class of one's own."""


NONSENSE: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "text": lambda: "passed",
    "mapping": lambda: {"passed": True},
    "class": lambda: Verdict,
    "passed_word": lambda: Verdict(passed="yes"),  # type: ignore[arg-type]
    "passed_number": lambda: Verdict(passed=1),  # type: ignore[arg-type]
    "error_none": lambda: Verdict(passed=True, error=None),  # type: ignore[arg-type]
    "score_word": lambda: Verdict(passed=False, score="0.9"),  # type: ignore[arg-type]
    "score_nan": lambda: Verdict(passed=False, score=float("nan")),
    "score_none": lambda: Verdict(passed=False, score=None),  # type: ignore[arg-type]
    "score_high": lambda: Verdict(passed=False, score=7.0),
    "category_none": lambda: Verdict(passed=False, category=None),  # type: ignore[arg-type]
    "category_surrogate": lambda: Verdict(passed=False, category="\ud800"),
    "categories_list": lambda: Verdict(passed=False, categories=["badness"]),  # type: ignore[arg-type]
    "categories_none": lambda: Verdict(passed=False, categories=(None,)),  # type: ignore[arg-type]
    "spans_none": lambda: Verdict(passed=False, spans=None),  # type: ignore[arg-type]
    "spans_number": lambda: Verdict(passed=False, spans=5),  # type: ignore[arg-type]
    "span_pair": lambda: Verdict(passed=False, spans=((0, 1),)),  # type: ignore[arg-type]
    "span_words": lambda: Verdict(passed=False, spans=(Span("0", "1", "X"),)),  # type: ignore[arg-type]
    "span_kind": lambda: Verdict(passed=False, spans=(Span(0, 1, None),)),  # type: ignore[arg-type]
    "span_empty": lambda: Verdict(passed=False, spans=(Span(1, 1, "X"),)),
    "span_backwards": lambda: Verdict(passed=False, spans=(Span(2, 1, "X"),)),
    "span_before": lambda: Verdict(passed=False, spans=(Span(-1, 1, "X"),)),
    "span_behind": lambda: Verdict(passed=False, spans=(Span(0, 10**6, "X"),)),
    "corrected_bytes": lambda: Verdict(passed=False, text=b"good"),  # type: ignore[arg-type]
    "corrected_surrogate": lambda: Verdict(passed=False, text="\ud800"),
    "told": lambda: Verdict(passed=True, error="no model"),
}
RAISES: dict[str, Callable[[], Any]] = {
    "raise": _raise(ValueError(SECRET)),
    "raise_key": _raise(KeyError(SECRET)),
    "raise_group": _raise(ExceptionGroup(SECRET, [ValueError(SECRET)])),
    "raise_timeout": _raise(TimeoutError(SECRET)),
    "raise_stop": _raise(StopIteration(SECRET)),
    "raise_recursion": _raise(RecursionError(SECRET)),
    "raise_memory": _raise(MemoryError()),
    "raise_cancelled": _raise(asyncio.CancelledError(SECRET)),
}
FAILURES = {**RAISES, **NONSENSE}


class MadeConfig(RailConfig):
    """`finds` is a pattern. `fails` is how a check fails, and `scan_fails` how the scanner does in a stream.

    With `takes_said`, a check takes as many milliseconds as the last number in its text says.
    """

    kind: Literal["rule", "scans", "check"] = "rule"  # pyright: ignore[reportIncompatibleVariableOverride]
    finds: str = "bad[a-z]{0,8}"
    tier: int = 1
    holds: str = "sentence"
    takes_ms: float = 0
    takes_said: bool = False
    fails: str = ""
    scan_fails: str = ""
    points: bool = True
    puts: str = ""
    once: bool = False
    usual_ms: float = 0
    only: tuple[str, ...] = ("input", "system", "retrieval", "tool", "output")


class MadeRule:
    """A rule that finds a pattern. With `puts` it corrects texts: each match becomes that."""

    Config = MadeConfig

    def __init__(self, config: MadeConfig) -> None:
        self.config = config
        self.name = config.name or config.kind
        self.finder = by_patterns([Pattern("BAD", config.finds)], max_chars=32)
        self.about = RailFacts(
            self.name,
            "7",
            frozenset(map(Surface, config.only)),
            tier=config.tier if config.kind == "check" else 0,
            hold=Hold("span", 32) if config.kind == "scans" else Hold(config.holds),
            finds_spans=config.points,
            corrects=bool(config.puts),
            usual_ms=config.usual_ms,
            once=config.once,
        )

    def check(self, views: TextViews, scene: Scene) -> Any:
        return self._judged(views, scene)

    def _judged(self, views: TextViews, scene: Scene) -> Any:
        seen.append(Seen(self.name, scene.surface.value, views.original, scene))
        if self.config.fails in FAILURES:
            return FAILURES[self.config.fails]()
        found = tuple(self.finder.find(views.original, 0))
        if not found:
            return PASSED
        text = views.original
        for one in reversed(found):
            text = text[: one.start] + self.config.puts + text[one.end :]
        return Verdict(
            passed=False,
            category="badness",
            score=0.75,
            reason=SECRET,
            spans=found if self.config.points else (),
            text=text if self.config.puts else None,
        )


class MadeScans(MadeRule):
    """The same, which also scans streams."""

    def scanner(self) -> Any:
        inner = SpanScanner(self.finder, lambda text: Views(text).folded)
        return FailingScanner(inner, self.config.scan_fails) if self.config.scan_fails else inner


class MadeCheck(MadeRule):
    """The same, which takes its time."""

    async def check(self, views: TextViews, scene: Scene) -> Any:
        if self.config.fails == "endless":
            return await self._endless()
        try:
            await asyncio.sleep(self._takes_ms(views.original) / 1000)
            while self.config.fails == "hang":
                await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(self.name)
            if self.config.fails != "stubborn":
                raise
            return self._judged(views, scene)
        return self._judged(views, scene)

    def _takes_ms(self, text: str) -> float:
        numbers = re.findall("[0-9]+", text) if self.config.takes_said else ()
        return float(numbers[-1]) if numbers else self.config.takes_ms

    async def _endless(self) -> Any:
        stays.add(self.name)
        while self.name in stays:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                cancelled.append(self.name)
        raise ValueError(SECRET)


SCANS_OF_FAILURE: dict[str, Callable[[Scan, int], Any]] = {
    "raise": lambda scan, given: RAISES["raise"](),
    "raise_cancelled": lambda scan, given: RAISES["raise_cancelled"](),
    "none": lambda scan, given: None,
    "tuple": lambda scan, given: (given, (), False),
    "clear_beyond": lambda scan, given: Scan(given + 1),
    "clear_backwards": lambda scan, given: Scan(0),
    "clear_word": lambda scan, given: Scan(str(given)),  # type: ignore[arg-type]
    "clear_float": lambda scan, given: Scan(float(given)),  # type: ignore[arg-type]
    "found_none": lambda scan, given: Scan(given, None),  # type: ignore[arg-type]
    "found_pairs": lambda scan, given: Scan(given, ((given - 1, given),)),  # type: ignore[arg-type]
    "found_words": lambda scan, given: Scan(given, (Span("a", "b", "BAD"),)),  # type: ignore[arg-type]
    "span_left": lambda scan, given: Scan(given, (Span(0, 1, "BAD"),)),
    "span_beyond": lambda scan, given: Scan(given, (Span(given - 1, given + 1, "BAD"),)),
    "span_empty": lambda scan, given: Scan(given, (Span(given, given, "BAD"),)),
    "span_kind": lambda scan, given: Scan(given, (Span(given - 1, given, None),)),  # type: ignore[arg-type]
    "too_long_word": lambda scan, given: Scan(given, (), "no"),  # type: ignore[arg-type]
}


class FailingScanner:
    """Works until it has been given ten characters, and fails then."""

    def __init__(self, inner: SpanScanner, how: str) -> None:
        if how == "at_once":
            raise ValueError(SECRET)
        self._inner = inner
        self._how = how
        self._given = 0

    def feed(self, text: str, *, last: bool = False) -> Any:
        self._given += len(text)
        scan = self._inner.feed(text, last=last)
        return scan if self._given <= 10 else SCANS_OF_FAILURE[self._how](scan, self._given)
