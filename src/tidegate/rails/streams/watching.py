"""Scanners that fail: what a rail's `on_error` says holds for streams too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from tidegate.ports import Scanner, Scanning
from tidegate.rails.foreign import attempted
from tidegate.rails.sound import is_sound
from tidegate.rails.step import Step
from tidegate.types import Scan, Span

Failed = Callable[[Step, str], None]
"""A function that is told of the failure of a scanner after which the stream goes on, and how it failed."""

log = logging.getLogger(__name__)


def scanner_of(step: Step, failed: Failed | None) -> Callable[[], Scanner]:
    """Return a function that makes scanners of a rail. They are watched unless the rail is trusted."""
    rail: Any = step.rail
    if step.trusted or failed is None:
        made: Callable[[], Scanner] = rail.scanner
        return made
    return lambda: Watched(step, failed)


class RailFailed(Exception):
    """The scanner of a rail failed, and the rail's `on_error` is `closed`. `error` says how, without any text."""

    def __init__(self, step: Step, error: str) -> None:
        super().__init__(error)
        self.step = step
        self.error = error


class Watched:
    """A rail's scanner, or the fallback's once the rail's has failed. Satisfies `Scanner`.

    The fallback reads along from the beginning, so that it knows the whole stream when it has to take over.
    """

    def __init__(self, step: Step, failed: Failed) -> None:
        """`failed` is told of a failure after which the stream goes on."""
        self._step = step
        self._failed = failed
        self._given = 0
        self._clear = 0
        self._scanner: Scanner | None = None
        self._works = True
        fallback = step.fallback
        scans = fallback is not None and isinstance(fallback.rail, Scanning)
        self._fallback = Watched(fallback, failed) if fallback is not None and scans else None
        self._missed: list[Span] = []  # what the fallback has found in text that has not left
        self._no_fallback: RailFailed | None = None

    def feed(self, text: str, *, last: bool = False) -> Scan:
        """Scan more text. Raises RailFailed."""
        self._given += len(text)
        behind = self._behind(text, last=last)
        scan = self._own(text, last=last) if self._works else None
        if scan is None:
            scan = self._instead(behind)
        self._clear = scan.clear
        self._missed = [one for one in self._missed if one.end > self._clear]
        return scan

    def _behind(self, text: str, *, last: bool) -> Scan | None:
        """Let the fallback read along. If it fails, that matters only once it is needed."""
        if self._fallback is None or self._no_fallback is not None:
            return None
        try:
            behind = self._fallback.feed(text, last=last)
        except RailFailed as error:
            self._no_fallback = error
            return None
        self._missed += behind.found
        return behind

    def _own(self, text: str, *, last: bool) -> Scan | None:
        """Return the scan of the rail itself, or None if it has failed."""
        scan = attempted(partial(self._scan, text, last=last), self._raised)
        if not self._works:
            return None
        if is_sound(scan, self._clear, self._given, last=last):
            return scan
        return self._fail("returned no usable scan")

    def _scan(self, text: str, *, last: bool) -> Any:
        rail: Any = self._step.rail
        scanner: Scanner = self._scanner or rail.scanner()
        self._scanner = scanner
        return scanner.feed(text, last=last)

    def _raised(self, error: BaseException) -> None:
        self._fail(f"raised {type(error).__name__}")

    def _instead(self, behind: Scan | None) -> Scan:
        """Return what holds without the rail: what the fallback says of the text that has not left. Raises RailFailed."""
        if self._no_fallback is not None:
            raise self._no_fallback
        if behind is None:
            return Scan(self._given)
        found = tuple(one._replace(start=max(one.start, self._clear)) for one in self._missed)
        self._missed = []
        return Scan(max(self._clear, behind.clear), found, behind.too_long)

    def _fail(self, error: str) -> None:
        log.error("the rail '%s' failed in a stream: it %s", self._step.name, error)
        self._works = False
        if self._step.closed and self._fallback is None:
            raise RailFailed(self._step, error)
        self._failed(self._step, error)
