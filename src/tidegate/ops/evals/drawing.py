"""Draws the curves and the scores of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from tidegate.ops.evals.result import Curve, Histogram, PlanResult
from tidegate.ops.evals.words import percent
from tidegate.ops.load.report.charts import Chart, Series, lines
from tidegate.ops.load.report.markup import Html, tag

_TONES = ("p50", "p95", "p99", "good", "bad", "due", "quiet")
_TICKS = (0.001, 0.01, 0.1, 1.0)
_HALF = 84.0
"""The height of one side of the scores, in px."""


def curves(plans: Sequence[PlanResult]) -> Html | None:
    """Return a chart with the curve of each plan, and one with those of the sources for each plan."""
    charts: list[Html] = []
    wholes = [(plan.profile, one) for plan in plans for one in plan.curves if one.name == "all"]
    if wholes:
        charts.append(_chart("All texts", "", wholes))
    for plan in plans:
        sources = [(one.name, one) for one in plan.curves if one.name != "all"]
        about = "The texts to be flagged of each source, against all texts without fault."
        # More lines than colours would look alike, so that they are split into several charts.
        each = (sources[at : at + len(_TONES)] for at in range(0, len(sources), len(_TONES)))
        charts += [_chart(f"Sources, {plan.profile}", about, some) for some in each]
    return tag("div", *charts, class_="grid") if charts else None


def scores(plans: Sequence[PlanResult]) -> Html:
    """Return the histogram of each plan."""
    return tag("div", *(_histogram(plan.profile, plan.histogram) for plan in plans), class_="grid")


def _chart(title: str, about: str, drawn: Iterable[tuple[str, Curve]]) -> Html:
    named = list(drawn)
    flagged = named[0][1].flagged
    low, high = math.log(flagged[0]), math.log(flagged[-1])
    chart = Chart(
        title=title,
        about=about,
        unit="% recall",
        xs=[(math.log(one) - low) / (high - low) for one in flagged],
        x_names=[f"{one * 100:.3g} % wrongly flagged" for one in flagged],
        x_title="texts without fault that are flagged, log scale",
        ticks=[((math.log(one) - low) / (high - low), percent(one)) for one in _TICKS],
        series=[
            Series(name=name, tone=tone, values=[*_in_percent(curve)])
            for (name, curve), tone in zip(named, _TONES, strict=False)
        ],
        height=260,
        log=False,
    )
    return lines(chart)


def _in_percent(curve: Curve) -> Iterator[float | None]:
    """Yield the recall in %. The lines end where half of the texts are flagged: nobody works there."""
    for flagged, recall in zip(curve.flagged, curve.recall, strict=True):
        yield recall * 100 if flagged <= 0.5 else None


def _histogram(name: str, found: Histogram) -> Html:
    svg = tag(
        "svg",
        tag("line", x1="0", x2="100%", y1=_HALF, y2=_HALF, class_="zero"),
        *_bars(found, found.positives, "should be flagged", "bad", up=True),
        *_bars(found, found.negatives, "without fault", "good", up=False),
        *(
            tag("text", f"{at / 4:g}", x=f"{at * 25}%", y=2 * _HALF + 15, text_anchor="middle")
            for at in range(5)
        ),
        width="100%",
        height=2 * _HALF,
        role="img",
        aria_label=f"Scores of {name}",
    )
    keys = tag(
        "div",
        *(
            tag("span", tag("i", class_=f"swatch t-{tone}"), said, class_="key")
            for tone, said in (("bad", "should be flagged"), ("good", "without fault"))
        ),
        class_="keys",
    )
    title = tag("figcaption", tag("strong", name), tag("span", "Heights are square roots of shares."))
    return tag("figure", title, keys, tag("div", svg, class_="plot"), tag("div", "score", class_="x-title"))


def _bars(found: Histogram, counts: Sequence[int], what: str, tone: str, *, up: bool) -> Iterator[Html]:
    total = sum(counts)
    for low, high, count in zip(found.edges, found.edges[1:], counts, strict=False):
        if not count:
            continue
        size = math.sqrt(count / total) * (_HALF - 4)
        yield tag(
            "rect",
            tag("title", f"{low:g} to {high:g}: {count:,} {what} ({count / total:.1%})"),
            x=f"{low * 100 + 0.3:.2f}%",
            width=f"{(high - low) * 100 - 0.6:.2f}%",
            y=f"{_HALF - size if up else _HALF:.1f}",
            height=f"{size:.1f}",
            class_=f"t-{tone}",
            style="fill: var(--tone)",
        )
