"""The rail `commitments`: answers in which a company promises what nobody has authorized.

It finds the usual sentences. What is wished, denied, asked, reported or depends on a decision is no promise, and neither is
what the settings allow.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tidegate.config.rails import RailConfig
from tidegate.kernel.linear import BadExpression
from tidegate.kernel.text.decoding import SIGNS as ENCODINGS
from tidegate.ports import TextViews
from tidegate.rails.rules.reading import spans_in
from tidegate.rails.rules.wording.offers import Allowed
from tidegate.rails.rules.wording.promises import SCORE, promise_search
from tidegate.rails.rules.wording.promising import CATEGORIES
from tidegate.rails.streams.spans import united
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Signs, Span, Surface, Verdict

Category = Literal["money", "discount", "price", "legal", "medical", "delivery", "warranty"]


class CommitmentsConfig(RailConfig):
    """Settings of the rail `commitments`."""

    kind: Literal["commitments"] = "commitments"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    categories: tuple[Category, ...] = Field(
        default=CATEGORIES,
        min_length=1,
        description="What must not be promised: `money` (refunds, credits), `discount`, `price` (guarantees), `legal`"
        " (liability, binding offers), `medical` (cures), `delivery` (dates), `warranty`.",
    )
    allow: tuple[str, ...] = Field(
        default=(),
        description="What may be promised: a limit such as `discount up to 10 %`, `money up to 20 EUR` or `delivery from 5"
        " days`, or the words of a whole offer, such as `free shipping on orders over 50 euros`.",
    )
    allow_patterns: tuple[str, ...] = Field(
        default=(),
        description="Patterns of offers that may be promised, in the syntax of RE2. Texts are searched in lower case and"
        " without accents.",
    )
    names: tuple[str, ...] = Field(
        default=(), description="Names by which answers speak of the company, besides `we` and `our company`."
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            Allowed(self.allow, self.allow_patterns)
        except BadExpression as error:
            raise ValueError(f"allow_patterns: has a pattern that is not one of RE2's: {error}") from error
        except ValueError as error:
            raise ValueError(f"allow: {error}") from error
        return self


class Commitments:
    """Finds promises. Satisfies `ports.Rule` and `ports.Signed`."""

    Config: ClassVar[type[CommitmentsConfig]] = CommitmentsConfig

    def __init__(self, config: CommitmentsConfig) -> None:
        self._search = promise_search(frozenset(config.categories), config.names)
        self._allowed = Allowed(config.allow, config.allow_patterns)
        self.about = RailFacts(
            name=config.name or "commitments",
            version="1",
            surfaces=frozenset(Surface),
            usual=frozenset({Surface.OUTPUT}),
            hold=Hold("sentence"),
            finds_spans=True,
            usual_ms=0.03,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del scene
        found = spans_in((views.folded, *views.decoded), self._find)
        if not found:
            return PASSED
        return Verdict(
            passed=False,
            category=found[0].kind.lower(),
            score=SCORE,
            reason="a promise that is not allowed",
            spans=tuple(united(found)),
        )

    @property
    def signs(self) -> Signs:
        """What a plain text has that is not passed: an encoding, or a sentence like a promise."""
        return Signs((*ENCODINGS, *self._search.sources))

    def _find(self, text: str, start: int) -> list[Span]:
        return [one for one in self._search.find(text, self._allowed) if one.start >= start]
