"""Shows a result as one HTML page: see `shell`.

Untrusted text (names of models, messages of servers) is shown as text and never as markup.
"""

from __future__ import annotations

import msgspec

from tidegate.ops.load.report import compare, tables, words
from tidegate.ops.load.report.loads import errors, over_load
from tidegate.ops.load.report.markup import Html, tag
from tidegate.ops.load.report.numbers import moment
from tidegate.ops.load.report.shell import alarm, banner, document, download, section, timelines
from tidegate.ops.load.report.spread import spread
from tidegate.ops.load.report.times import over_time
from tidegate.ops.load.result import Result


def page(result: Result, baseline: Result | None = None) -> str:
    """Return the report. With an earlier result as baseline, it shows the change of every figure and a comparison table."""
    title = f"Load test: {words.what_it_was(result)}"
    sections = _sections(result, baseline)
    return document(title, top=_top(result), sections=sections)


def _top(result: Result) -> Html:
    found = words.verdict(result)
    unjudged = words.unjudged(result)
    said = tag("small", unjudged) if unjudged else None
    tiles = (
        tag("li", tag("span", tile.name), tag("b", tile.figure), tag("small", tile.where))
        for tile in words.tiles(result)
    )
    return tag(
        "header",
        tag("p", "Load test", class_="kind"),
        tag("h1", words.what_it_was(result)),
        tables.facts(result),
        *map(alarm, words.warnings(result)),
        banner(found.kind, tag("strong", f"{found.word}. "), found.sentence, said),
        tag("ul", *tiles, class_="tiles") if result.steps else None,
    )


def _sections(result: Result, baseline: Result | None) -> list[Html]:
    found: list[Html | None] = []
    if result.steps:
        found += [
            section("Figures by load", _legend(baseline), tables.by_step(result, baseline)),
            section("Criteria", "", tables.criteria(result)),
            _grid("Over load", "Each figure against the level of load.", over_load(result, baseline)),
            timelines(
                "Over time",
                "The whole run, second by second. The axis has minutes since the start, and the steps are above it.",
                over_time(result),
            ),
            _grid("Spread", "", spread(result)),
            _errors(result),
            _comparison(result, baseline),
            section("The load tester", words.health(result), tables.testers(result)),
        ]
    found += [
        section("What the figures mean", "", _meanings(result)),
        section(
            "Notes", "", tag("ul", *(tag("li", note) for note in result.notes)) if result.notes else None
        ),
        section("Options", "As given or by default.", _options(result)),
        _data(result, baseline),
    ]
    return [one for one in found if one is not None]


def _grid(title: str, about: str, charts: list[Html]) -> Html | None:
    return section(title, about, tag("div", *charts, class_="grid") if charts else None)


def _legend(baseline: Result | None) -> str:
    marked = "A figure that missed its criterion is marked ✗."
    if baseline is None:
        return marked
    when = f" of {moment(baseline.started_at)}" if baseline.started_at else ""
    return (
        f"{marked} Below each figure: the change from the old result{when}, "
        "▲ for better, ▼ for worse, no sign for noise."
    )


def _errors(result: Result) -> Html | None:
    table = tables.errors(result)
    beside = tag("div", errors(result), table, class_="beside") if table else None
    return section("Errors", "Every kind of error with its number and one message.", beside)


def _comparison(result: Result, baseline: Result | None) -> Html | None:
    if baseline is None:
        return None
    rows = compare.table(baseline, result)
    only = [
        f"Only in the {who} result: {', '.join(loads)}."
        for who, loads in zip(("old", "new"), compare.unmatched(baseline, result), strict=True)
        if loads
    ]
    if unlike := compare.differences(baseline, result):
        only.append(f"Not the same test: {'; '.join(unlike)}.")
    said = tag("p", " ".join([compare.verdict(rows), *only]), class_="about")
    return section("Old and new", "", said, tables.comparison(rows) if rows else None)


def _meanings(result: Result) -> Html | None:
    return tables.definition_list(result.definitions, "meanings") if result.definitions else None


def _options(result: Result) -> Html | None:
    options = tables.options(result)
    return tables.definition_list(options, "options") if options else None


def _data(result: Result, baseline: Result | None) -> Html:
    links = [_download(result, "result.json", "The result as JSON")]
    if baseline is not None:
        links.append(_download(baseline, "old-result.json", "The old result as JSON"))
    return tag("footer", *links, tag("span", f"Made by {result.tool} {result.version}".strip()))


def _download(result: Result, name: str, text: str) -> Html:
    return download(msgspec.json.format(msgspec.json.encode(result), indent=1), name, text)
