"""The rail `code_injection`: text in answers that would act in the program that gets them.

An answer is data. A program that puts it into a query, a template, a page or a command runs what is in it. The rail finds
the parts that do so, not words about SQL or shells.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.kernel.matching import Beginnings, Pattern
from tidegate.kernel.text.folding import folded
from tidegate.ports import PartReader, Scanner, TextViews
from tidegate.rails.finders import by_patterns
from tidegate.rails.rules.code.markdown import LONGEST_SPAN, CodeOut
from tidegate.rails.rules.code.patterns import CATEGORIES, LONGEST
from tidegate.rails.streams.spans import SpanScanner
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scan, Scene, Signs, Span, Surface, Verdict

Category = Literal["sql", "template", "xss", "shell"]
_LONG_REPETITION: Final = re.compile(r"\{([01]),(?:1[6-9]|[2-9]\d|\d{3})\}")
_REASON: Final = "code for another program"
EVERY: Final[tuple[Category, ...]] = ("sql", "template", "xss", "shell")


class CodeInjectionConfig(RailConfig):
    """Settings of the rail `code_injection`."""

    kind: Literal["code_injection"] = "code_injection"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    categories: tuple[Category, ...] = Field(
        default=EVERY,
        min_length=1,
        description="What is looked for: injections into `sql`; expressions of a `template` engine, such as Jinja, ERB or"
        " FreeMarker; `xss`, which is script in HTML and in links; and `shell` commands.",
    )
    in_code_blocks: Literal["allow", "block"] = Field(
        default="allow",
        description="Whether Markdown's code blocks and code spans may have what is looked for, since answers teach code."
        " `block` is for answers that no Markdown renderer shows. The arguments of tool calls are no Markdown: there it"
        " never counts as shown.",
    )


class CodeInjection:
    """Finds SQL, templates, scripts and commands that would act in another program.

    Satisfies `ports.Rule`, `ports.Signed`, `ports.Scanning` and `ports.InParts`.
    """

    Config: ClassVar[type[CodeInjectionConfig]] = CodeInjectionConfig

    def __init__(self, config: CodeInjectionConfig) -> None:
        self._shows_code = config.in_code_blocks == "allow"
        found = (CATEGORIES[one] for one in config.categories)
        patterns = [Pattern(kind, "|".join(sources), ignore_case=True) for kind, sources in found]
        self._loosened = [_loosened(one) for one in patterns]
        growing = Beginnings(self._loosened, max_chars=LONGEST)
        self._finder = by_patterns(patterns, max_chars=LONGEST)._replace(growing=growing)
        self.about = RailFacts(
            name=config.name or "code_injection",
            version="1",
            surfaces=frozenset(Surface),
            usual=frozenset({Surface.OUTPUT}),
            hold=Hold("span", LONGEST + (LONGEST_SPAN if self._shows_code else 0)),
            finds_spans=True,
            usual_ms=0.01,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        reader = self.reader(scene)
        reader.feed(views.original)
        return reader.verdict()

    def reader(self, scene: Scene) -> PartReader:
        return _Reader(SpanScanner(self._finder, folded) if _is_argument(scene) else self.scanner())

    @property
    def signs(self) -> Signs:
        """The patterns: code that is shown has no match that the text itself would not have."""
        return Signs(tuple(f"(?i:{one.source})" for one in self._loosened))

    def scanner(self) -> Scanner:
        scanner = SpanScanner(self._finder, folded)
        return _ProseScanner(scanner) if self._shows_code else scanner


def _loosened(pattern: Pattern) -> Pattern:
    """Return a pattern without the bounds of its long repetitions. RE2 counts them in states, of which there are many."""
    source = _LONG_REPETITION.sub(lambda found: "+" if found[1] == "1" else "*", pattern.source)
    return pattern._replace(source=source)


def _is_argument(scene: Scene) -> bool:
    """Whether a text is, or is in, what a tool is called with."""
    return scene.where.channel.startswith(("tool_calls", "function_call"))


class _ProseScanner:
    """Scans a stream without the code that is only shown. Satisfies `ports.Scanner`."""

    def __init__(self, scanner: SpanScanner) -> None:
        self._scanner = scanner
        self._code = CodeOut()

    def feed(self, text: str, *, last: bool = False) -> Scan:
        return self._scanner.feed(self._code.feed(text, last=last), last=last)


class _Reader:
    """Reads a whole text. Satisfies `ports.PartReader`."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._found: list[Span] = []

    def feed(self, part: str) -> None:
        self._take(self._scanner.feed(part))

    def verdict(self) -> Verdict:
        scan = self._take(self._scanner.feed("", last=True))
        if (
            scan.too_long
        ):  # only a text with thousands of invisible characters, or matches that overlap without end
            return Verdict(
                passed=False, category="too_long", score=1.0, reason=f"{_REASON}, too long to say where"
            )
        if not self._found:
            return PASSED
        category, spans = self._found[0].kind.lower(), tuple(self._found)
        return Verdict(passed=False, category=category, score=1.0, reason=_REASON, spans=spans)

    def _take(self, scan: Scan) -> Scan:
        self._found += scan.found
        return scan
