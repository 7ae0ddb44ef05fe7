"""Scanners that fail: what a rail's `on_error` says holds for streams too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tidegate.ports import Scanner, Scanning
from tidegate.rails.checking import attempted
from tidegate.rails.step import Step
from tidegate.types import Scan

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
        self._fallback: Watched | None = None
        fallback = step.fallback
        if fallback is not None and isinstance(fallback.rail, Scanning):
            self._fallback = Watched(fallback, failed)
        rail: Any = step.rail
        self._scanner = attempted(rail.scanner, self._raised)

    def feed(self, text: str, *, last: bool = False) -> Scan:
        """Scan more text. Raises RailFailed."""
        self._given += len(text)
        behind = None if self._fallback is None else self._fallback.feed(text, last=last)
        scanner = self._scanner
        if scanner is not None:
            scan: Scan | None = attempted(lambda: scanner.feed(text, last=last), self._raised)
            if scan is not None and self._is_sound(scan):
                self._clear = scan.clear
                return scan
            if scan is not None:
                self._fail("returned no usable scan")
        return Scan(self._given) if behind is None else behind

    def _is_sound(self, scan: Any) -> bool:
        """Whether a scan can be acted on. What has left cannot be taken back, so no span may begin there."""
        if type(scan) is not Scan or not self._clear <= scan.clear <= self._given:
            return False
        return not scan.found or all(self._clear <= one.start < one.end <= scan.clear for one in scan.found)

    def _raised(self, error: Exception) -> None:
        self._fail(f"raised {type(error).__name__}")

    def _fail(self, error: str) -> None:
        log.error("the rail '%s' failed in a stream: it %s", self._step.name, error)
        self._scanner = None
        if self._step.closed and self._fallback is None:
            raise RailFailed(self._step, error)
        self._failed(self._step, error)
