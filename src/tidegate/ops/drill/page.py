"""Shows the result of a drill as one HTML page: the verdict, each promise, the timeline, and the figures in tables.

Messages of errors are shown as text and never as markup.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegate.ops.drill.figures import ClassFigures
from tidegate.ops.drill.result import Result
from tidegate.ops.drill.timelines import over_time
from tidegate.ops.load.report.markup import Html, tag
from tidegate.ops.load.report.numbers import NOTHING, duration, moment, number, with_unit
from tidegate.ops.load.report.shell import alarm, banner, document, download, scrolling, section, timelines
from tidegate.ops.load.report.tables import definition_list


def page(result: Result) -> str:
    """Return the page."""
    sections = [
        section("Promises", "What the gateway promises for a day like this.", _promises(result)),
        timelines(
            "Timeline", "The whole drill, second by second. The phases are above it.", over_time(result)
        ),
        section("Phases", "Of the calls that came in each phase.", _phases(result)),
        section("Tenants", "What each one got, in the whole drill.", _tenants(result)),
        section("Errors", "Every kind of error with its number and one message.", _errors(result)),
        section("What the figures mean", "", definition_list(_MEANINGS, "meanings")),
        _footer(result),
    ]
    return document("Drill: engines that fail", top=_top(result), sections=[one for one in sections if one])


_MEANINGS = {
    "good": "The answer is whole, and its first token came within the limit of its class.",
    "TTFT": "Time to the first token, from when the call was due.",
    "shed": "Refused by the gateway with status 503, since its capacity was used up.",
    "failed": "An error before the first token.",
    "broken": "An error event after the first token.",
    "cut": "The stream ended without [DONE] and without an error: a client takes such an answer for a whole one.",
}


def _top(result: Result) -> Html:
    broken = [promise for promise in result.promises if not promise.kept]
    if broken:
        told = "; ".join(f"{one.name} ({one.figure})" for one in broken)
        verdict = banner("failed", tag("strong", "Broken. "), f"{told}.")
    else:
        verdict = banner("passed", tag("strong", "Kept. "), f"All {len(result.promises)} promises were kept.")
    facts = {
        "Started": moment(result.started_at),
        "Load for": duration(result.seconds),
        "Seed": str(result.seed),
        "Played by": f"tidegate {result.version}",
    }
    return tag(
        "header",
        tag("p", "Drill", class_="kind"),
        tag("h1", "Three engines, one killed, one slowed, and a flood"),
        definition_list(facts, "facts"),
        *map(alarm, result.notes),
        verdict,
        tag("ul", *_tiles(result), class_="tiles"),
    )


def _tiles(result: Result) -> Iterable[Html]:
    classes = [one for phase in result.phases for one in phase.classes]
    calls = sum(one.sent for one in classes)
    for name, count, where in (
        ("Calls", calls, "in all phases"),
        ("Good answers", sum(one.good for one in classes), "whole and in time"),
        ("Shed", _sum(classes, "shed"), "refused with 503"),
        ("Failed", _sum(classes, "failed"), "before the first token"),
        ("Broken or cut", _sum(classes, "broken") + _sum(classes, "cut"), "after the first token"),
    ):
        yield tag("li", tag("span", name), tag("b", number(count)), tag("small", where))


def _sum(classes: Iterable[ClassFigures], outcome: str) -> int:
    return sum(one.outcomes[outcome] for one in classes)


def _promises(result: Result) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", one.name, scope="row"),
            tag("td", one.figure),
            tag("td", "kept ✓" if one.kept else "broken ✗", class_="kept" if one.kept else "miss"),
        )
        for one in result.promises
    ]
    return scrolling(_head("Promise", "Measured", ""), rows, "promises")


def _phases(result: Result) -> Html:
    heads = ("", "Class", "Calls", "Good", "TTFT p50", "p99", "Shed", "Failed", "Broken", "Cut")
    rows = [
        tag(
            "tr",
            tag("th", *((f"{phase.name} ", tag("small", phase.about)) if not at else ()), scope="row"),
            tag("td", one.kind),
            tag("td", number(one.sent)),
            tag("td", f"{one.good / one.sent:.1%}" if one.sent else NOTHING),
            tag("td", with_unit(one.ttft_p50_ms, "ms")),
            tag("td", with_unit(one.ttft_p99_ms, "ms")),
            *(_counted(one.outcomes[what], what) for what in ("shed", "failed", "broken", "cut")),
        )
        for phase in result.phases
        for at, one in enumerate(phase.classes)
    ]
    return scrolling(_head(*heads), rows, "criteria")


def _counted(count: int, what: str) -> Html:
    return tag("td", number(count), class_="miss" if count and what != "shed" else None)


def _tenants(result: Result) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", one.tenant, scope="row"),
            tag("td", one.kind),
            *(tag("td", number(count)) for count in (one.sent, one.served, one.shed, one.tokens)),
            tag("td", f"{one.share:.1%}"),
        )
        for one in result.tenants
    ]
    return scrolling(
        _head("", "Class", "Calls", "Answers", "Shed", "Tokens", "Of all tokens"), rows, "tenants"
    )


def _errors(result: Result) -> Html | None:
    rows = [
        tag(
            "tr",
            tag("th", one.error, tag("code", one.message), scope="row"),
            tag("td", number(one.calls), tag("small", one.told)),
        )
        for one in result.errors
    ]
    return scrolling(_head("Error", "Calls"), rows, "errors") if rows else None


def _head(*names: str) -> Html:
    return tag(
        "thead",
        tag(
            "tr", *(tag("th", name, scope="col", class_="n" if at else None) for at, name in enumerate(names))
        ),
    )


def _footer(result: Result) -> Html:
    data = msgspec.json.format(msgspec.json.encode(result), indent=1)
    return tag(
        "footer",
        download(data, "drill.json", "The result as JSON"),
        tag("span", f"Made by tidegate {result.version}"),
    )
