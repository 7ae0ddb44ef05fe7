"""The tables of a report: figures by step, criteria, errors, the tester's health, definitions and options."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.ops.load.report.compare import Measure, Row, compared, labels, pairs, value
from tidegate.ops.load.report.markup import Html, joined, tag
from tidegate.ops.load.report.numbers import NOTHING, duration, moment, number, signed, with_unit
from tidegate.ops.load.report.shell import scrolling
from tidegate.ops.load.result import Check, Result, Step


class Column(msgspec.Struct, frozen=True):
    """One figure of the table by step. `group` is its heading, and `criterion` the name of its check."""

    group: str
    name: str
    measure: Measure
    criterion: str = ""


def _column(group: str, metric: str, stat: str, name: str = "", criterion: str = "") -> Column:
    better = "higher" if stat == "avg" and metric != "error_fraction" else "lower"
    return Column(group, name or stat, Measure(metric, stat, group, better), criterion)


_COLUMNS = (
    _column("Answers", "request_throughput", "avg", "req/s", "throughput"),
    _column("TTFT, ms", "time_to_first_token", "p50"),
    _column("TTFT, ms", "time_to_first_token", "p95"),
    _column("TTFT, ms", "time_to_first_token", "p99"),
    _column("TTFT from schedule, ms", "time_to_first_token_from_schedule", "p50"),
    _column("TTFT from schedule, ms", "time_to_first_token_from_schedule", "p95", criterion="TTFT p95"),
    _column("TTFT from schedule, ms", "time_to_first_token_from_schedule", "p99"),
    _column("ITL, ms", "inter_token_latency", "p50"),
    _column("ITL, ms", "inter_token_latency", "p95", criterion="ITL p95"),
    _column("Pause, ms", "inter_chunk_latency", "p99"),
    _column("Latency, ms", "request_latency", "p50"),
    _column("Latency, ms", "request_latency", "p95"),
    _column("Output", "output_token_throughput", "avg", "tok/s"),
    _column("Good", "goodput", "avg", "req/s"),
    _column("Errors", "error_fraction", "avg", "%", "errors"),
)


def by_step(result: Result, baseline: Result | None) -> Html:
    """Return a table of every main figure of every step, with the change from the baseline below it."""
    columns = [
        c
        for c in _COLUMNS
        if any(value(s, c.measure.metric, c.measure.stat) is not None for s in result.steps)
    ]
    before = {id(new): old for old, new in pairs(baseline, result)} if baseline else {}
    groups = list(dict.fromkeys(column.group for column in columns))
    spans = [sum(column.group == group for column in columns) for group in groups]
    head = tag(
        "thead",
        tag(
            "tr",
            tag("th", "Load", rowspan=2, scope="col"),
            tag("th", "Requests", rowspan=2, scope="col", class_="n"),
            *(
                tag("th", g, colspan=n, scope="colgroup", class_="group")
                for g, n in zip(groups, spans, strict=True)
            ),
        ),
        tag("tr", *(tag("th", c.name, scope="col", class_=_edge(columns, i)) for i, c in enumerate(columns))),
    )
    rows = [
        tag(
            "tr",
            tag("th", label, scope="row"),
            tag("td", number(step.requests)),
            *(_figure(step, before.get(id(step)), c, _edge(columns, i)) for i, c in enumerate(columns)),
        )
        for step, label in zip(result.steps, labels(result.steps), strict=True)
    ]
    return scrolling(head, rows, "figures")


def change(row: Row | None) -> Html | None:
    """Return the change of a figure, in the colour of its verdict and with a sign that is clear without colour."""
    if row is None or row.change is None:
        return None
    sign = {"better": " ▲", "worse": " ▼"}.get(row.verdict, "")
    word = f"{row.label} {row.stat}: {row.verdict}{f' ({row.note})' if row.note else ''}"
    text = f"{signed(row.change, row.change_unit.replace('points', 'pt'))}{sign}"
    return tag(
        "small", text, class_=f"change {row.verdict}", title=f"{word}; before {with_unit(row.old, row.unit)}"
    )


def criteria(result: Result) -> Html | None:
    """Return a table of each criterion and step. None if there are no criteria."""
    names = list(dict.fromkeys(check.name for step in result.steps for check in step.checks))
    if not names:
        return None
    heads = [tag("th", "Criterion", scope="col")] + [
        tag("th", x, scope="col", class_="n") for x in labels(result.steps)
    ]
    rows: list[Html] = []
    for name in names:
        checks = [next((c for c in step.checks if c.name == name), None) for step in result.steps]
        wanted = list(dict.fromkeys(c.wanted for c in checks if c and c.wanted))
        one = wanted[0] if len(wanted) == 1 else ""
        head = tag("th", name, tag("small", f" {one}") if one else None, scope="row")
        rows.append(tag("tr", head, *(_judged(check, alone=not one) for check in checks)))
    return scrolling(tag("thead", tag("tr", *heads)), rows, "criteria")


def errors(result: Result) -> Html | None:
    """Return a table of errors by kind and step, each with an example message. None if there were no errors."""
    kinds = list(dict.fromkeys(kind for step in result.steps for kind in step.errors))
    if not kinds:
        return None
    heads = ["Error", *labels(result.steps), "all"]
    rows: list[Html] = []
    for kind in kinds:
        counts = [step.errors.get(kind, 0) for step in result.steps]
        example = next((e for step in result.steps if (e := step.error_examples.get(kind))), "")
        said = tag("code", example) if example else None
        cells = [tag("td", number(count) if count else NOTHING) for count in (*counts, sum(counts))]
        rows.append(tag("tr", tag("th", tag("span", kind), said, scope="row"), *cells))
    head = tag(
        "thead",
        tag("tr", *(tag("th", x, scope="col", class_="n" if i else None) for i, x in enumerate(heads))),
    )
    return scrolling(head, rows, "errors")


def comparison(rows: list[Row]) -> Html:
    """Return a table for each step, with the old and the new value of every compared figure."""
    steps = dict.fromkeys(row.step for row in rows)
    return tag(
        "div", *(_compared(step, [row for row in rows if row.step == step]) for step in steps), class_="pair"
    )


def _compared(step: str, rows: list[Row]) -> Html:
    heads = [
        tag("th", text, scope="col", class_="n" if text != step else None)
        for text in (step, "old", "new", "change", "")
    ]
    drawn: list[Html] = []
    for row in rows:
        moved = NOTHING if row.change is None else signed(row.change, row.change_unit)
        sign = {"better": "▲ ", "worse": "▼ "}.get(row.verdict, "")
        note = tag("small", row.note) if row.note else None
        cells = (
            tag("th", row.label, scope="row"),
            tag("td", with_unit(row.old, row.unit)),
            tag("td", with_unit(row.new, row.unit)),
            tag("td", moved),
            tag(
                "td", tag("span", f"{sign}{row.verdict}", class_=f"change {row.verdict}"), note, class_="word"
            ),
        )
        drawn.append(tag("tr", *cells))
    return scrolling(tag("thead", tag("tr", *heads)), drawn, "comparison")


def testers(result: Result) -> Html | None:
    """Return a table of the load tester's own health in each step. None if the result does not have it."""
    if not any(step.health.cpu or step.health.lag_max_ms for step in result.steps):
        return None
    heads = ["Load", "CPU, share of a core", "Lag p50, ms", "Lag p99, ms", "Lag most, ms"]
    rows = [
        tag(
            "tr",
            tag("th", label, scope="row"),
            tag("td", f"{step.health.cpu * 100:.0f} %", class_="miss" if step.health.degraded else None),
            *(
                tag("td", number(x))
                for x in (step.health.lag_p50_ms, step.health.lag_p99_ms, step.health.lag_max_ms)
            ),
        )
        for step, label in zip(result.steps, labels(result.steps), strict=True)
    ]
    head = tag(
        "thead",
        tag("tr", *(tag("th", x, scope="col", class_="n" if i else None) for i, x in enumerate(heads))),
    )
    return scrolling(head, rows, "testers")


def facts(result: Result) -> Html:
    """Return the facts of the run: the server, the model, the tester and the time."""
    took = duration(sum(step.duration_s for step in result.steps)) if result.steps else ""
    pairs_ = {
        "Server": result.url,
        "Model": result.model,
        "Started": moment(result.started_at),
        "Load for": took,
        "Measured by": f"{result.tool} {result.version}".strip(),
    }
    return definition_list({name: text for name, text in pairs_.items() if text}, "facts")


def definition_list(entries: dict[str, str], kind: str) -> Html:
    """Return a definition list of names and texts."""
    parts = (tag("div", tag("dt", name), tag("dd", text)) for name, text in entries.items())
    return tag("dl", joined(parts), class_=kind)


def options(result: Result) -> dict[str, str]:
    """Return the command's options as names and texts, nested ones as `shape.input_tokens`. Empty ones are left out."""
    found: dict[str, str] = {}
    for name, given in result.options.items():
        _flatten(name, given, found)
    return found


def _flatten(name: str, given: Any, into: dict[str, str]) -> None:
    if isinstance(given, dict):
        for key, inner in given.items():  # pyright: ignore[reportUnknownVariableType]
            _flatten(f"{name}.{key}", inner, into)
    elif given not in (None, "", [], ()):
        into[name] = (
            given if isinstance(given, str) else msgspec.json.encode(given).decode().replace(",", ", ")
        )


def _figure(step: Step, before: Step | None, column: Column, edge: str | None) -> Html:
    found = value(step, column.measure.metric, column.measure.stat)
    checks = [check for check in step.checks if column.criterion and check.name == column.criterion]
    missed = any(check.passed is False for check in checks)
    row = compared(before, step, column.measure) if before else None
    kind = " ".join(filter(None, [edge, "miss" if missed else ""])) or None
    said = "missed: wanted " + checks[0].wanted if missed else None
    return tag(
        "td", number(found), "\N{NO-BREAK SPACE}✗" if missed else None, change(row), class_=kind, title=said
    )


def _edge(columns: list[Column], place: int) -> str | None:
    return "edge" if place == 0 or columns[place - 1].group != columns[place].group else None


def _judged(check: Check | None, *, alone: bool) -> Html:
    if check is None:
        return tag("td", NOTHING)
    sign = {True: "✓", False: "✗", None: "?"}[check.passed]
    kind = {True: "kept", False: "miss", None: "quiet"}[check.passed]
    wanted = tag("small", check.wanted) if alone and check.wanted else None
    note = check.note or None
    return tag(
        "td", f"{with_unit(check.value, check.unit)}\N{NO-BREAK SPACE}{sign}", wanted, class_=kind, title=note
    )
