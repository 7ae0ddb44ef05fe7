"""The rail `advice`: answers that tell a person what to take, which illness they have, or what to do before a court.

It finds the usual sentences. Information that is for nobody in particular, and "see a doctor", are no advice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import ClassVar, Final, Literal, NamedTuple

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.kernel.linear import Expression, Presence, compiled, places
from tidegate.kernel.matching import Beginnings, Pattern, lower, without_surrogates
from tidegate.kernel.text.decoding import SIGNS as ENCODINGS
from tidegate.kernel.text.folding import folded
from tidegate.ports import Scanner, TextViews
from tidegate.rails.finders import Finder
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.rules.wording.advising import EVERY, Advice
from tidegate.rails.rules.wording.grammar import BETWEEN, REST, any_of, head, spaced
from tidegate.rails.streams.spans import SpanScanner, spans_of, united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Signs, Span, Surface, Verdict

Category = Literal["medical", "legal"]
CATEGORIES: Final[tuple[Category, ...]] = ("medical", "legal")
MAX_CHARS: Final = 256
"""Longest advice that is found, in characters."""
_CONTEXT_CHARS: Final = 32
"""What is looked at before advice. It has to have the longest word of `asked` and what may stand around it."""
_SCORE: Final = 0.8
# An order stands at the beginning of a sentence or of a part of one.
_BEGINNING: Final = (
    r"(?:^|[.!?:;,\n*#>-]|\b(?:please|then|so|and|or|just|simply|now|also|immediately|bitte|dann|und|por favor|y|puis|et))"
    r"[\s*_\"'(\[]*$"
)


class AdviceConfig(RailConfig):
    """Settings of the rail `advice`."""

    kind: Literal["advice"] = "advice"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    categories: tuple[Category, ...] = Field(
        default=CATEGORIES,
        min_length=1,
        description="What is looked for: `medical` (doses, stopping a medicine, diagnoses) and `legal` (to sue, plead or"
        " sign, and who will win).",
    )


class AdviceRail:
    """Finds advice. Satisfies `ports.Rule`, `ports.Signed` and `ports.Scanning`.

    A whole text is also searched in its decoded views.
    """

    Config: ClassVar[type[AdviceConfig]] = AdviceConfig

    def __init__(self, config: AdviceConfig) -> None:
        self._search = _search(frozenset(config.categories))
        self.about = RailFacts(
            name=config.name or "advice",
            version="1",
            surfaces=frozenset(Surface),
            usual=frozenset({Surface.OUTPUT}),
            hold=Hold("span", MAX_CHARS),
            finds_spans=True,
            usual_ms=0.02,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        finder = self._search.finder
        found = [*spans_of(finder, views), *spans_in(views.decoded, finder.find)]
        if not found:
            return PASSED
        return Verdict(
            passed=False,
            category=found[0].kind.lower(),
            score=_SCORE,
            reason="advice that needs a professional",
            spans=tuple(united(found)),
        )

    @property
    def signs(self) -> Signs:
        """What a plain text has that is not passed: an encoding, or a sentence that may be advice."""
        return Signs((*ENCODINGS, *self._search.sources))

    def scanner(self) -> Scanner:
        return SpanScanner(self._search.finder, folded)


class _Known(NamedTuple):
    """Sentences that are found alike: `order` says that they stand at the beginning of a part of a sentence."""

    kind: str
    source: str
    head: str
    expression: Expression
    cautions: Presence
    asked: Presence
    order: bool


class _Search:
    """The search for the advice of some categories."""

    def __init__(self, categories: frozenset[str]) -> None:
        self._known = [one for advice in EVERY if advice.category in categories for one in _sought(advice)]
        self.sources = [one.source for one in self._known]
        # Precise beginnings of so many sentences would take seconds to compile: the rest of a sentence with a head waits.
        growing = Beginnings(
            [Pattern("", f"(?:{one.head}){REST}") for one in self._known], max_chars=MAX_CHARS
        )
        self._heads = compiled("|".join(one.head for one in self._known))
        self._beginning = Presence([f"(?i:{_BEGINNING})"])
        self.finder = Finder(self._find, growing, MAX_CHARS, context_chars=_CONTEXT_CHARS)

    def _find(self, text: str, start: int) -> list[Span]:
        if self._heads.search(text.encode() if text.isascii() else without_surrogates(text), start) is None:
            return []
        return sorted(self._spans(without_surrogates(text), start))

    def _spans(self, text: str, start: int) -> Iterator[Span]:
        for known in self._known:
            for first, end in places(known.expression, text, start):
                before = lower(text[max(first - _CONTEXT_CHARS, 0) : first]).encode()
                if known.asked.within(before) or known.cautions.within(text[first:end].encode()):
                    continue
                if not known.order or self._beginning.within(before):
                    yield Span(first, end, known.kind, _SCORE)


@lru_cache(maxsize=4)
def _search(categories: frozenset[str]) -> _Search:
    """Return the search for some categories. It takes long to make, and never changes."""
    return _Search(categories)


def _sought(advice: Advice) -> Sequence[_Known]:
    """Return the sentences of some advice, each with the words behind it that make it no advice."""
    asked = Presence([rf"(?i:\b(?:{spaced(advice.asked)}){BETWEEN}$)"])
    cautions = Presence([f"(?i:{spaced(advice.cautions)})"])
    tail = rf"(?:(?:{BETWEEN}[^\s;:!?.]+){{0,6}}?{BETWEEN}(?i:{spaced(advice.cautions)}))?"
    return [
        _Known(
            advice.category.upper(),
            source,
            "|".join(sorted({head(row, advice.slots) for row in rows})),
            compiled(source),
            cautions,
            asked,
            order,
        )
        for rows, order in ((advice.rows, False), (advice.orders, True))
        if rows
        for source in [f"(?:{any_of(rows, advice.slots)}){tail}"]
    ]
