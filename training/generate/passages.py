"""Passages of this repository's own code and documentation, as harmless documents of real life.

Which passages there are depends on the checkout. What speaks of attacks, or has examples of them, is left out.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random
from typing import Final

_ROOT: Final = Path(__file__).parent.parent.parent
_FOLDERS: Final = (
    *("cli", "config", "dispatch", "edge", "egress", "engines", "forms", "http", "kernel", "ops", "stages"),
    *("stores", "types"),
)
_PAGES: Final = ("CONTRIBUTING.md", "docs/queue.md", "docs/architecture.md", "docs/configuration.md")
_WITH_ATTACKS: Final = ("inject", "jailbreak", "attack", "ignore all", "disregard")
_LEAST: Final = 8
"""The words of the shortest passage."""


@cache
def _files() -> tuple[tuple[str, ...], ...]:
    """Return the lines of each file, in the order of their names."""
    paths = [
        path for name in _FOLDERS for path in sorted((_ROOT / "src" / "tidegate" / name).rglob("*.py"))
    ] + [_ROOT / page for page in _PAGES]
    texts = [path.read_text("utf-8") for path in paths if path.is_file()]
    found = [text for text in texts if not any(word in text.lower() for word in _WITH_ATTACKS)]
    return tuple(tuple(text.split("\n")) for text in found if len(text.split()) > 4 * _LEAST)


def passage(rng: Random) -> str:
    """Return 3 to 30 lines of a file."""
    while True:
        lines = rng.choice(_files())
        start = rng.randrange(len(lines))
        text = "\n".join(lines[start : start + rng.randint(3, 30)]).strip("\n")
        if len(text.split()) >= _LEAST:
            return text
