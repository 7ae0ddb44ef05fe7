"""Shows a result as one self-contained HTML page, which loads no font, picture or script.

Untrusted text (names of models, messages of servers) is shown as text and never as markup. A content security policy in the
page forbids every request. The page's script only shows values under the pointer; all else works without it.
"""

from __future__ import annotations

import base64
from importlib.resources import files

import msgspec

from tidegate.ops.load.report import compare, tables, words
from tidegate.ops.load.report.loads import errors, over_load
from tidegate.ops.load.report.markup import Html, tag
from tidegate.ops.load.report.numbers import moment
from tidegate.ops.load.report.spread import spread
from tidegate.ops.load.report.times import over_time
from tidegate.ops.load.result import Result

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_SIGNS = {"passed": "✓", "failed": "✗", "unjudged": "•"}


def page(result: Result, baseline: Result | None = None) -> str:
    """Return the report. With an earlier result as baseline, it shows the change of every figure and a comparison table."""
    title = f"Load test: {words.what_it_was(result)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", _file("page.css")),
    )
    body = tag(
        "body", _top(result), tag("main", *_sections(result, baseline)), tag("script", _file("page.js"))
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _file(name: str) -> Html:
    return Html(files("tidegate.ops.load.report").joinpath(name).read_text("utf-8"))


def _top(result: Result) -> Html:
    found = words.verdict(result)
    banner = tag(
        "div",
        tag("span", _SIGNS[found.kind], class_="sign", aria_hidden="true"),
        tag(
            "p",
            tag("strong", f"{found.word}. "),
            found.sentence,
            tag("small", words.unjudged(result)) if words.unjudged(result) else None,
        ),
        class_=f"verdict {found.kind}",
    )
    alarms = [
        tag(
            "div",
            tag("span", "!", class_="sign", aria_hidden="true"),
            tag("p", text),
            class_="verdict warning",
            role="alert",
        )
        for text in words.warnings(result)
    ]
    tiles = (
        tag("li", tag("span", tile.name), tag("b", tile.figure), tag("small", tile.where))
        for tile in words.tiles(result)
    )
    return tag(
        "header",
        tag("p", "Load test", class_="kind"),
        tag("h1", words.what_it_was(result)),
        tables.facts(result),
        *alarms,
        banner,
        tag("ul", *tiles, class_="tiles") if result.steps else None,
    )


def _sections(result: Result, baseline: Result | None) -> list[Html]:
    found: list[Html | None] = []
    if result.steps:
        found += [
            _section("Figures by load", _legend(baseline), tables.by_step(result, baseline)),
            _section("Criteria", "", tables.criteria(result)),
            _grid("Over load", "Each figure against the level of load.", over_load(result, baseline)),
            _rows(
                "Over time",
                "The whole run, second by second. The axis has minutes since the start, and the steps are above it.",
                over_time(result),
            ),
            _grid("Spread", "", spread(result)),
            _errors(result),
            _comparison(result, baseline),
            _section("The load tester", words.health(result), tables.testers(result)),
        ]
    found += [
        _section("What the figures mean", "", _meanings(result)),
        _section(
            "Notes", "", tag("ul", *(tag("li", note) for note in result.notes)) if result.notes else None
        ),
        _section("Options", "As given or by default.", _options(result)),
        _data(result, baseline),
    ]
    return [section for section in found if section is not None]


def _section(title: str, about: str, *inside: Html | None) -> Html | None:
    present = [part for part in inside if part]
    if not present:
        return None
    return tag("section", tag("h2", title), tag("p", about, class_="about") if about else None, *present)


def _grid(title: str, about: str, charts: list[Html]) -> Html | None:
    return _section(title, about, tag("div", *charts, class_="grid") if charts else None)


def _rows(title: str, about: str, charts: list[Html]) -> Html | None:
    return _section(title, about, tag("div", *charts, class_="timelines") if charts else None)


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
    return _section("Errors", "Every kind of error with its number and one message.", beside)


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
    return _section("Old and new", "", said, tables.comparison(rows) if rows else None)


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
    data = base64.b64encode(msgspec.json.format(msgspec.json.encode(result), indent=1)).decode()
    return tag("a", text, href=f"data:application/json;base64,{data}", download=name)
