"""Documents with or without a sentence that somebody planted in them, and passages of this repository."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from training.generate.grammar import english

ROOT: Final = Path(__file__).parents[2]

_FOLDERS: Final = (
    *(
        "access",
        "caches",
        "cli",
        "config",
        "dispatch",
        "egress",
        "engines",
        "forms",
        "guard",
        "http",
        "kernel",
    ),
    *("models", "ops", "quotas", "review", "stages", "stores", "structure", "telemetry", "types", "workers"),
)
"""Parts of the package that hold no attack."""

_PAGES: Final = (
    *(
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/architecture.md",
        "docs/benchmarks.md",
        "docs/command-line.md",
    ),
    *(
        "docs/idempotency.md",
        "docs/keys.md",
        "docs/load-testing.md",
        "docs/operations.md",
        "docs/own-engine.md",
    ),
    *("docs/queue.md", "docs/quick-start.md", "docs/quotas.md", "docs/routing.md", "docs/streaming.md"),
    *("docs/structure.md", "docs/stories.md", "docs/index.md"),
)
_ATTACKS: Final = re.compile(
    r"(?i)jailbreak|inject|disregard|\bDAN\b|(ignore|forget|override)\W+(\w+\W+){0,3}(instruction|rule|prompt)"
    r"|toxic|attack|\{(given|one|topic)|a\(n\)"
)
"""A passage with one of these may quote an attack, or looks like a reference of the tables. It is left out."""

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n+")
_KEEPS_LINES: Final = re.compile(r"(?m)^ {2,}|^\||[{};>]$|\t|</")
"""Code, tables and pages, whose lines mean something."""

_BROKEN: Final = 0.25
"""How many documents have the short lines of old mail programs."""

_HIDES: Final = (
    *(
        "{}",
        "{}",
        "{}",
        "{}",
        "{}",
        "{}",
        "<!-- {} -->",
        "# {}",
        "// {}",
        "> {}",
        "**{}**",
        "({})",
        "/* {} */",
    ),
    *("[{}]", '<span style="display:none">{}</span>', "PS: {}", "- {}", "{} ---", '"{}"'),
)


ANYWHERE: Final = ("begin", "middle", "middle", "end")


def planted(document: str, note: str, rng: Random, places: Sequence[str] = ANYWHERE) -> str:
    """Return the document with the note at one of the places. The middle is between two of its sentences or lines."""
    note = rng.choice(_HIDES).replace("{}", note)
    gaps = [match.span() for match in _SENTENCE.finditer(document)]
    place = rng.choice(places)
    joint = rng.choice(("\n", "\n", " ", "\n\n"))
    if place == "middle" and gaps:
        start, end = rng.choice(gaps)
        gap = document[start:end]
        return document[:start] + gap + note + (gap if "\n" in gap else joint) + document[end:]
    return note + joint + document if place == "begin" else document + joint + note


def wrapped(document: str, rng: Random) -> str:
    """Return the document as it is, or with its lines broken at 50 to 78 signs, as many mails have them.

    It is done after planting, so that the break of a line does not show where somebody planted something.
    """
    if rng.random() >= _BROKEN or _KEEPS_LINES.search(document):
        return document
    width = rng.randint(50, 78)
    return "\n".join(
        textwrap.fill(
            line,
            width,
            subsequent_indent="> " if line.startswith("> ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in document.split("\n")
    )


def paper(rng: Random) -> str:
    """Return a document of the tables, or of this repository for one in eight. One in four has another one behind it."""
    if rng.random() < 0.125:
        return passage(rng)
    text = english().expand("whole_paper", rng).strip()
    return f"{text}\n\n{english().expand('whole_paper', rng).strip()}" if rng.random() < 0.25 else text


def passage(rng: Random) -> str:
    """Return some lines of a file of this repository, 20 to 150 words. The same checkout gives the same ones for a seed."""
    files = _files()
    while True:
        lines = rng.choice(files)
        start, words = rng.randrange(len(lines)), rng.randint(20, 150)
        taken: list[str] = []
        for line in lines[start:]:
            if sum(len(one.split()) for one in taken) >= words:
                break
            taken.append(line)
        text = "\n".join(taken).strip("\n")
        if len(text.split()) >= 20 and not _ATTACKS.search(text):
            return text


@cache
def _files() -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(path.read_text("utf-8").splitlines()) for path in _paths() if path.stat().st_size > 400
    )


def _paths() -> Iterator[Path]:
    for folder in _FOLDERS:
        yield from sorted((ROOT / "src" / "tidegate" / folder).rglob("*.py"))
    for page in _PAGES:
        if (ROOT / page).is_file():
            yield ROOT / page
