"""Shows the times of rails as one HTML page: the critical path against the budget, and each rail as a bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tidegate.cli.rails.times import Budget, Measured, Times
from tidegate.ops.load.report.markup import Html, joined, tag
from tidegate.ops.load.report.numbers import number, rounded, with_unit
from tidegate.ops.load.report.scales import Scale, value_scale
from tidegate.ops.load.report.shell import banner, document, download, scrolling, section
from tidegate.ops.load.report.tables import definition_list

_ROW = 30.0
"""The height of the row of one rail, in px."""
_SHORTEST_MS = 0.001
_TONES = (("p99", "p99_ms"), ("p95", "p95_ms"), ("p50", "p50_ms"))
"""The longest first, so that the shorter ones are drawn over it."""


def page(times: Times) -> str:
    """Return the page."""
    sections = [
        section(
            "The rails",
            "A bar reaches to p99; its darker parts to p95 and to p50. The scale is logarithmic.",
            _bars(times),
        ),
        section("Figures", "Milliseconds for one text.", _table([*times.rails, times.whole])),
        section("Critical path", _PATH, _budgets(times.budgets)),
        tag(
            "footer",
            download(
                msgspec.json.format(msgspec.json.encode(times), indent=1), "rails.json", "The figures as JSON"
            ),
        ),
    ]
    return document(
        f"Rails: {times.profile}", top=_top(times), sections=[one for one in sections if one is not None]
    )


_PATH = (
    "The time of the rails that run one after the other, put together from the figures of the single rails. A rail that"
    " does not fit into the budget is decided by its on_error."
)


def _top(times: Times) -> Html:
    over = [one for one in times.budgets if one.p99_ms > one.has_ms]
    verdict = (
        banner(
            "failed", tag("strong", "Too slow. "), "; ".join(f"{one.setting}{one.said}" for one in over), "."
        )
        if over
        else banner("passed", tag("strong", "Fits. "), "The critical path is within the budget at p99.")
    )
    facts = {
        "Surface": times.surface,
        "Texts": f"{times.texts:,}, {times.rounds} times",
        "Characters on average": number(times.characters / times.texts),
        "Ended by a block": f"{times.stopped:,} checks",
    }
    return tag(
        "header",
        tag("p", "Rails", class_="kind"),
        tag("h1", f"How long the profile {times.profile} takes"),
        definition_list(facts, "facts"),
        verdict,
    )


def _bars(times: Times) -> Html:
    every = [*times.rails, times.whole]
    longest = max(*(one.p99_ms for one in every), *(one.has_ms for one in times.budgets))
    shortest = min((one.p50_ms for one in every if one.p50_ms > 0), default=_SHORTEST_MS)
    scale = value_scale(max(shortest / 2, _SHORTEST_MS), longest, log=True)
    height = _ROW * len(every)
    names = tag(
        "ul", *(tag("li", one.name) for one in every), class_="ridge-names", style=f"--each: {_ROW}px"
    )
    drawing = tag(
        "svg",
        *_axis(scale, height),
        *(bar for at, one in enumerate(every) for bar in _bar(one, at, scale)),
        *_limits(times.budgets, scale, height),
        width="100%",
        height=height + 20,
        role="img",
        aria_label="How long each rail takes, in milliseconds",
    )
    keys = tag("div", *(tag("span", name, class_=f"t-{name}") for name, _ in reversed(_TONES)), class_="keys")
    title = tag("p", "milliseconds for one text", class_="x-title")
    return tag("figure", keys, tag("div", names, drawing, class_="plot ridge"), title)


def _bar(one: Measured, at: int, scale: Scale) -> Iterator[Html]:
    for tone, field in _TONES:
        value: float = getattr(one, field)
        yield tag(
            "rect",
            tag("title", f"{one.name}, {tone}: {with_unit(value, 'ms')}"),
            x="0%",
            y=at * _ROW + 6,
            width=_percent(scale.at(value)),
            height=_ROW - 12,
            class_=f"t-{tone}",
            style="fill: var(--tone)",
        )


def _axis(scale: Scale, height: float) -> Iterator[Html]:
    for tick in scale.ticks(6):
        x = _percent(scale.at(tick))
        yield tag("line", x1=x, x2=x, y1=0, y2=height, style="stroke: var(--line)")
        yield tag("text", rounded(tick), x=x, y=height + 15, text_anchor="middle")


def _limits(budgets: Sequence[Budget], scale: Scale, height: float) -> Iterator[Html]:
    for at, one in enumerate(budgets):
        x = _percent(scale.at(one.has_ms))
        line = tag("line", x1=x, x2=x, y1=0, y2=height, style="stroke: var(--bad); stroke-dasharray: 4 3")
        name = tag("text", one.setting, x=x, y=11 + 13 * at, dx=-4, text_anchor="end", class_="limit-name")
        yield joined((line, name))


def _table(rails: Sequence[Measured]) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", one.name, scope="row"),
            tag("td", "" if one.tier is None else str(one.tier)),
            tag("td", number(one.checks)),
            *(tag("td", f"{value:.3f}") for value in (one.p50_ms, one.p95_ms, one.p99_ms)),
        )
        for one in rails
    ]
    return scrolling(_head("", "Tier", "Checks", "p50", "p95", "p99"), rows, "criteria")


def _budgets(budgets: Sequence[Budget]) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", one.setting, scope="row"),
            tag("td", f"{one.has_ms:g}"),
            *(tag("td", f"{value:.3f}") for value in (one.p50_ms, one.p95_ms, one.p99_ms)),
            tag("td", f"{one.p99_ms / one.has_ms:.1%}", class_="miss" if one.p99_ms > one.has_ms else "kept"),
        )
        for one in budgets
    ]
    return scrolling(_head("Budget", "ms", "p50", "p95", "p99", "p99, of the budget"), rows, "criteria")


def _head(*names: str) -> Html:
    return tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))


def _percent(share: float) -> str:
    return f"{share * 100:.3f}%"
