"""Plots as inline SVG that fit any width without a script.

An SVG covers exactly the area of the plot. Horizontal positions are shares of the width (in %), so the plot stretches while
text and strokes keep their size. Vertical positions are pixels. Ticks and labels are in the margins, outside the SVG's box.
Colours are classes (`t-…`, for tones); the style sheet of the page defines them for the light and the dark theme.
"""

from __future__ import annotations

import msgspec

from tidegate.ops.load.report.markup import Html, joined, tag
from tidegate.ops.load.report.numbers import number, rounded, with_unit
from tidegate.ops.load.report.scales import Scale, value_scale

# The width in px of the narrowest plot that labels must fit into: a phone of 400 px without the margins. A letter is about
# 6.2 px wide at 11 px.
NARROW = 236.0
_DESK = 700.0  # the same for a page of more than 900 px
_LETTER = 6.2
_BOLD_LETTER = 7.0
_LABEL_HEIGHT = 13.0
_WIDE = 1000  # the width of the coordinates inside the stretched part

Values = list[float | None]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chart. `tone` names its colour. `values` has one value for each of the chart's `xs`; None is a gap."""

    name: str
    tone: str
    values: Values
    dashed: bool = False


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the x axis, from one share of the width to another.

    The first of its labels that fits is written. The choice is made separately for a narrow page and for a wide one.
    """

    begin: float
    end: float
    labels: list[str]


class Chart(msgspec.Struct, kw_only=True):
    """A line chart. `xs` are shares of the width, and `x_names` their names, shown at the pointer.

    `ticks` are pairs (share, text) below the axis. A tick that is too close to another is left out. `limits` are lines,
    given as (text, value). Charts of the same `group` show the pointer's position together. With `log` None, the values
    decide whether the scale is logarithmic.
    """

    title: str
    about: str
    unit: str
    xs: list[float]
    x_names: list[str]
    x_title: str
    ticks: list[tuple[float, str]]
    series: list[Series]
    limits: list[tuple[str, float]] = []
    bands: list[Band] = []
    points: bool = False
    group: str = ""
    height: int = 190
    log: bool | None = None


class Ridge(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a ridge plot: a histogram, and marks (text, value) on it."""

    name: str
    edges: list[float]
    counts: list[int]
    marks: list[tuple[str, float]]


def lines(chart: Chart) -> Html:
    """Return a line chart as an HTML figure. Without any value, the figure says that there is nothing to draw."""
    series = [one for one in chart.series if any(value is not None for value in one.values)]
    if not series:
        return _figure(chart.title, chart.about, tag("p", "Nothing was measured.", class_="empty"))
    scale, limits, beyond = _value_scale(chart, series)
    ticks = scale.ticks(5 if chart.height > 150 else 4)
    named = _named_at_the_end(series, chart)
    legend = [_key(one) for one in series if one not in named] if len(series) > 1 else []
    about = " ".join(filter(None, [chart.about, *beyond]))
    drawn = joined(
        (
            *(_band(band, chart.height, first=i == 0) for i, band in enumerate(chart.bands)),
            *(_across(scale, value, chart.height) for value in ticks),
            *(_tick_below(x, text, chart.height) for x, text in spaced(chart.ticks)),
            *(_limit(name, scale.at(value), chart.height) for name, value in limits),
            *(_line(one, chart, scale) for one in series),
            *_end_labels(named, chart, scale),
        )
    )
    svg = tag("svg", drawn, width="100%", height=chart.height, role="img", aria_label=chart.title)
    plot = tag(
        "div", svg, class_="plot", data_chart=_for_the_pointer(chart, series), data_group=chart.group or None
    )
    unit = f"{chart.unit}, log scale" if scale.log else chart.unit
    axis = tag("div", tag("span", unit, class_="unit"), *legend, class_="keys")
    return _figure(
        chart.title, about, axis, plot, tag("div", chart.x_title, class_="x-title") if chart.x_title else None
    )


def ridges(title: str, about: str, rows: list[Ridge], unit: str) -> Html:
    """Return histograms above each other on one log axis. Each is scaled to its own greatest bin."""
    low = min(row.edges[0] for row in rows)
    high = max(row.edges[-1] for row in rows)
    scale = Scale(low, max(high, low * 1.5), log=True)
    each = 56
    height = each * len(rows)
    ticks = spaced([(scale.at(value), rounded(value)) for value in scale.ticks(6)])
    drawn = [
        *(_upright(x, height) for x, _ in ticks),
        *(_tick_below(x, text, height) for x, text in ticks),
    ]
    for place, row in enumerate(rows):
        drawn += _ridge(row, scale, top=place * each, floor=(place + 1) * each)
    svg = tag("svg", *drawn, width="100%", height=height, role="img", aria_label=title)
    names = tag("ul", *(tag("li", row.name) for row in rows), class_="ridge-names", style=f"--each:{each}px")
    plot = tag("div", names, svg, class_="plot ridge")
    known = dict.fromkeys(name for row in rows for name, _ in row.marks)
    keys = tag("div", *(_swatch(name, name) for name in known), class_="keys")
    return _figure(title, about, keys, plot, tag("div", f"{unit}, log scale", class_="x-title"))


def spaced(ticks: list[tuple[float, str]], width: float = NARROW) -> list[tuple[float, str]]:
    """Return the ticks that fit in a plot of that width. The last tick is kept, and others are added from the left."""
    if not ticks:
        return []
    *others, last = ticks
    kept: list[tuple[float, str]] = []
    for tick in others:
        if all(_apart(tick, other, width) for other in (last, *kept[-1:])):
            kept.append(tick)
    return [*kept, last]


def in_seconds(chart: Chart) -> Chart:
    """Return a chart of latencies from 10 s on, converted to seconds."""
    most = max((v for one in chart.series for v in one.values if v is not None), default=0.0)
    if chart.unit != "ms" or most < 10_000:
        return chart
    series = [
        msgspec.structs.replace(one, values=[None if v is None else v / 1000 for v in one.values])
        for one in chart.series
    ]
    limits = [(name, at / 1000) for name, at in chart.limits]
    return msgspec.structs.replace(chart, unit="s", series=series, limits=limits)


# -- axes ----------------------------------------------------------------------------------------------------------------


def _value_scale(chart: Chart, series: list[Series]) -> tuple[Scale, list[tuple[str, float]], list[str]]:
    """Return the y axis, the limits within it, and a text for the limits above it."""
    values = [value for one in series for value in one.values if value is not None]
    top = max(values)
    limits = [limit for limit in chart.limits if limit[1] <= max(top * 2.5, 1e-12)]
    beyond = [
        f"The limit, {with_unit(value, chart.unit)}, is above this scale."
        for _, value in chart.limits
        if (_, value) not in limits
    ]
    top = max([top, *(value for _, value in limits)])
    above_zero = [value for value in values if value > 0]
    low = min(above_zero, default=1.0)
    log = chart.log if chart.log is not None else chart.unit in {"ms", "s"} and top / low > 60
    return value_scale(low, top, log=log), limits, beyond


def _apart(one: tuple[float, str], other: tuple[float, str], width: float) -> bool:
    room = (len(one[1]) + len(other[1])) * _LETTER / 2 + 8
    return abs(one[0] - other[0]) * width >= room


# -- elements ------------------------------------------------------------------------------------------------------------


def _percent(share: float) -> str:
    return f"{share * 100:.2f}%"


def _figure(title: str, about: str, *inside: Html | None) -> Html:
    said = tag("figcaption", tag("strong", title), tag("span", about) if about else None)
    return tag("figure", said, *inside)


def _key(one: Series) -> Html:
    return _swatch(one.name, f"{one.tone} dashed" if one.dashed else one.tone)


def _swatch(name: str, tone: str) -> Html:
    return tag("span", tag("i", class_=f"swatch t-{tone}"), name, class_="key")


def _across(scale: Scale, value: float, height: int) -> Html:
    y = f"{(1 - scale.at(value)) * height:.1f}"
    line = tag("line", x1="0", x2="100%", y1=y, y2=y, class_="zero" if value == scale.low else "grid")
    return joined((line, tag("text", rounded(value), x="-7", y=y, dy="0.32em", text_anchor="end")))


def _upright(x: float, height: int) -> Html:
    return tag("line", x1=_percent(x), x2=_percent(x), y1="0", y2=height, class_="grid")


def _tick_below(x: float, text: str, height: int) -> Html:
    anchor = "end" if x > 0.985 else "middle"
    return tag("text", text, x=_percent(x), y=height + 17, text_anchor=anchor)


def _limit(name: str, share: float, height: int) -> Html:
    y = f"{(1 - share) * height:.1f}"
    line = tag("line", x1="0", x2="100%", y1=y, y2=y, class_="limit")
    below = share > 1 - 15 / height
    text = tag("text", name, x="4", y=y, dy="13" if below else "-5", class_="limit-name")
    return joined((line, text))


def _band(band: Band, height: int, *, first: bool) -> Html:
    wide = band.end - band.begin
    middle = _percent((band.begin + band.end) / 2)
    edge = tag("line", x1=_percent(band.begin), x2=_percent(band.begin), y1="-4", y2=height, class_="edge")
    labels = {
        kind: _fitting(band.labels, wide * width) for kind, width in (("wide", _DESK), ("narrow", NARROW))
    }
    names = (
        tag("text", label, x=middle, y="-7", text_anchor="middle", class_=f"band-name {kind}")
        for kind, label in labels.items()
        if label
    )
    return joined(("" if first else edge, *names))


def _fitting(labels: list[str], room: float) -> str:
    return next((text for text in labels if len(text) * _BOLD_LETTER + 10 <= room), "")


def _line(one: Series, chart: Chart, scale: Scale) -> Html:
    places = [
        (x, (1 - scale.at(value)) * chart.height) if value is not None else None
        for x, value in zip(chart.xs, one.values, strict=True)
    ]
    path, alone = _path(places)
    dashed = " dashed" if one.dashed else ""
    stretched = tag(
        "svg",
        tag("path", d=path, class_=f"line t-{one.tone}{dashed}"),
        width="100%",
        height=chart.height,
        viewBox=f"0 0 {_WIDE} {chart.height}",
        preserveAspectRatio="none",
    )
    dots = [place for place in places if place] if chart.points else alone
    radius = 3.2 if chart.points else 1.6
    marks = (
        tag("circle", cx=_percent(x), cy=f"{y:.1f}", r=radius, class_=f"dot t-{one.tone}") for x, y in dots
    )
    return joined((stretched if path else "", *marks))


def _path(places: list[tuple[float, float] | None]) -> tuple[str, list[tuple[float, float]]]:
    """Return the connected points as a path, and the single points."""
    parts: list[str] = []
    alone: list[tuple[float, float]] = []
    run: list[tuple[float, float]] = []
    for place in (*places, None):
        if place is not None:
            run.append(place)
            continue
        if len(run) == 1:
            alone += run
        elif run:
            parts.append("M" + "L".join(f"{x * _WIDE:.1f} {y:.1f}" for x, y in run))
        run = []
    return "".join(parts), alone


def _named_at_the_end(series: list[Series], chart: Chart) -> list[Series]:
    """Return the lines that reach the right edge. Their names are written there, so they need no key."""
    if len(series) < 2:
        return []
    ends = [max(i for i, value in enumerate(one.values) if value is not None) for one in series]
    return [one for one, end in zip(series, ends, strict=True) if chart.xs[end] > 0.9]


def _end_labels(series: list[Series], chart: Chart, scale: Scale) -> list[Html]:
    """Return the names at the ends of the lines, moved apart where they would overlap."""
    lasts = [next(value for value in reversed(one.values) if value is not None) for one in series]
    wanted = sorted(zip(lasts, series, strict=True), key=lambda place: -place[0])
    heights = _moved_apart([(1 - scale.at(value)) * chart.height for value, _ in wanted], chart.height)
    return [
        tag("text", one.name, x="100%", dx="9", y=f"{y:.1f}", dy="0.32em", class_=f"end t-{one.tone}")
        for y, (_, one) in zip(heights, wanted, strict=True)
    ]


def _moved_apart(heights: list[float], limit: float) -> list[float]:
    moved: list[float] = []
    for y in heights:
        moved.append(max(y, moved[-1] + _LABEL_HEIGHT) if moved else y)
    below = limit + 4
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], below)
        below = moved[i] - _LABEL_HEIGHT
    return moved


def _ridge(row: Ridge, scale: Scale, *, top: float, floor: float) -> list[Html]:
    most, total = max(row.counts, default=0) or 1, sum(row.counts) or 1
    room = floor - top - 12
    drawn = [tag("line", x1="0", x2="100%", y1=floor, y2=floor, class_="zero")]
    for low, high, count in zip(row.edges, row.edges[1:], row.counts, strict=False):
        if count:
            size = max(count / most * room, 1.0)
            said = f"{row.name}: {number(low)} to {number(high)} ms: {count:,} ({count / total:.1%})"
            width = _percent(max(scale.at(high) - scale.at(low), 0.004))
            drawn.append(
                tag(
                    "rect",
                    tag("title", said),
                    x=_percent(scale.at(low)),
                    y=f"{floor - size:.1f}",
                    width=width,
                    height=f"{size:.1f}",
                    class_="bar",
                )
            )
    for name, value in row.marks:
        x = _percent(scale.at(value))
        line = tag("line", x1=x, x2=x, y1=top + 10, y2=floor, class_=f"mark t-{name}")
        drawn.append(joined((line, tag("circle", cx=x, cy=top + 10, r=2.5, class_=f"dot t-{name}"))))
    return drawn


def _for_the_pointer(chart: Chart, series: list[Series]) -> str:
    shown = [
        {
            "name": one.name,
            "tone": one.tone,
            "values": [None if v is None else round(v, 3) for v in one.values],
        }
        for one in series
    ]
    data = {
        "at": [round(x, 4) for x in chart.xs],
        "names": chart.x_names,
        "unit": chart.unit,
        "series": shown,
    }
    return msgspec.json.encode(data).decode()
