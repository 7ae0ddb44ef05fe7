"""What the rails have in common that find something by recognizers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from tidegate.kernel.text.folding import folded
from tidegate.ports import Scanner, TextViews
from tidegate.rails.finders import Ending, Finder
from tidegate.rails.rules.recognizers.recognizer import CONTEXT_CHARS, EDGE_CHARS
from tidegate.rails.rules.recognizers.search import Search
from tidegate.rails.streams.spans import SpanScanner, spans_of
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Signs, Surface, Verdict

_CONTEXT: Final = CONTEXT_CHARS + EDGE_CHARS


class Recognizing:
    """A rail that finds spans by a search. Satisfies `ports.Rule`, `ports.Signed` and `ports.Scanning`.

    `until` has the endings of what is swallowed from its beginning on.
    """

    def __init__(
        self, name: str, search: Search, *, reason: str, until: Mapping[str, Ending] | None = None
    ) -> None:
        self._search = search
        self._reason = reason
        self._finder = Finder(search.find, search, search.max_chars, until or {}, _CONTEXT)
        self.about = RailFacts(
            name=name,
            version="1",
            surfaces=frozenset(Surface),
            hold=Hold("span", search.max_chars),
            finds_spans=True,
            usual_ms=0.002,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:  # noqa: ARG002 - the text alone decides
        if not self._search.may_find(views.folded.text):
            return PASSED
        spans = spans_of(self._finder, views)
        if not spans:
            return PASSED
        surest = max(spans, key=lambda span: span.score)
        return Verdict(False, category=surest.kind, score=surest.score, reason=self._reason, spans=spans)

    @property
    def signs(self) -> Signs:
        """The patterns of the recognizers."""
        return Signs(self._search.sources)

    def scanner(self) -> Scanner:
        return SpanScanner(self._finder, folded)


def known_entities(chosen: tuple[str, ...] | None, known: Collection[str]) -> tuple[str, ...] | None:
    """Return the chosen entities. Raises ValueError if one of them is not known."""
    for one in chosen or ():
        if one not in known:
            raise ValueError(f"has no entity '{one}'; there are: {', '.join(sorted(known))}")
    return chosen
