"""Shows an evaluation as one HTML page: curves, scores, and the figures in tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tidegate.ops.evals.drawing import curves, scores
from tidegate.ops.evals.result import Comparison, Disagreement, Figures, Pairs, PlanResult, Result
from tidegate.ops.evals.statistics import Estimate
from tidegate.ops.evals.words import area, chance, difference, notes, percent, share, thresholds, warnings
from tidegate.ops.load.report.markup import Html, tag
from tidegate.ops.load.report.numbers import NOTHING, moment, number
from tidegate.ops.load.report.shell import alarm, document, download, scrolling, section
from tidegate.ops.load.report.tables import definition_list


def page(result: Result) -> str:
    """Return the page."""
    sections = [
        section("Curves", _CURVES, curves(result.plans)),
        section("Scores", _SCORES, scores(result.plans)),
        *(one for plan in result.plans for one in _of_plan(plan, result)),
        _compared(result),
        section("What the figures mean", "", definition_list(_MEANINGS, "meanings")),
        tag(
            "footer",
            download(_json(result), "rails-evaluation.json", "The result as JSON"),
            tag("span", f"Made by tidegate {result.version}"),
        ),
    ]
    names = " and ".join(plan.profile for plan in result.plans)
    return document(f"Rails: {names}", top=_top(result, names), sections=[one for one in sections if one])


_CURVES = (
    "Recall by the share of texts without fault that is flagged, on a logarithmic scale. A rail for all traffic works at"
    " the left of it."
)
_SCORES = "The score of a text is the highest one of any rail. Bars above the line are texts that should be flagged."
_MEANINGS = {
    "recall at 1 % FPR": "The share of texts that should be flagged whose score is at least the lowest threshold at which"
    " at most 1 % of all texts without fault is flagged. FPR stands for false-positive rate. Texts with equal scores"
    " are flagged together, or not at all.",
    "AUC": "How often a text that should be flagged has a higher score than one without fault, with ties counted half. A"
    " part with texts of one side only is compared with the other side of all texts.",
    "blocked": "What the profile does as it is configured: the text is blocked, made again, or waits for a person.",
    "wrongly flagged": "Texts without fault to which any rail objects, even if it only logs them or masks a part.",
    "failed": "Texts on which a rail failed. They are in no other figure.",
    "in brackets": "The interval of 95 %: Wilson's for shares, DeLong's for areas, and for recall at a share of false"
    " positives one that covers the choice of the threshold as well.",
}


def _top(result: Result, names: str) -> Html:
    every = result.plans[0].all
    facts = {
        "Surface": result.surface,
        "Texts": f"{every.positives.texts:,} that should be flagged, {every.negatives.texts:,} without fault",
        "Labels": f"{', '.join(result.positive) or 'none'} against {', '.join(result.negative) or 'none'}",
        "Files": ", ".join(result.files),
        "Started": moment(result.started_at),
    }
    return tag(
        "header",
        tag("p", "Rails", class_="kind"),
        tag("h1", f"What {names} catch{'' if len(result.plans) > 1 else 'es'}"),
        definition_list(facts, "facts"),
        *map(alarm, warnings(result)),
        *(tag("p", told, class_="about") for told in notes(result)),
        *(tag("ul", *_tiles(plan), class_="tiles") for plan in result.plans),
    )


def _tiles(plan: PlanResult) -> Iterable[Html]:
    every = plan.all
    named = [
        ("AUC", None if every.auc is None else f"{every.auc.value:.3f}"),
        *((f"Recall at {percent(one.target)} FPR", _short(one.recall)) for one in every.at_shares),
        ("Blocked", _short(every.positives.blocked_share)),
        ("Wrongly blocked", _short(every.negatives.blocked_share)),
        ("All rails, p99", f"{plan.times[-1].p99_ms:.2f} ms"),
    ]
    for name, value in named:
        yield tag("li", tag("span", name), tag("b", value or NOTHING), tag("small", plan.profile))


def _short(found: Estimate | None) -> str | None:
    return None if found is None else f"{found.value * 100:.1f} %"


def _of_plan(plan: PlanResult, result: Result) -> Iterable[Html | None]:
    of = f" of {plan.profile}" if len(result.plans) > 1 else ""
    parts = [*plan.sources, plan.all]
    yield section(f"Sources{of}", "The thresholds are those of all texts.", _figures("Source", parts))
    for field, groups in plan.groups.items():
        yield section(f"By {field}{of}", "", _figures(field, groups))
    yield section(f"Rails{of}", "Each rail alone.", _rails(plan))
    found = _thresholds(plan.all, result.calibrated_on)
    yield section(f"Thresholds{of}", "What is flagged at scores of at least these.", found)
    if plan.pairs is not None:
        yield section(f"Source against source{of}", _PAIRS, _pairs(plan.pairs))


_PAIRS = (
    "Each source of texts that should be flagged against each source without fault. The thresholds apart come from texts of"
    " other sources."
)


def _figures(kind: str, parts: Sequence[Figures]) -> Html:
    heads = [f"Recall at {percent(one.target)} FPR" for one in parts[0].at_shares] if parts else []
    names = (
        kind,
        "To flag",
        "Without fault",
        "AUC",
        *heads,
        "Blocked",
        "Wrongly blocked",
        "Wrongly flagged",
        "Failed",
    )
    rows = [
        _row(
            one.name,
            number(one.positives.texts),
            number(one.negatives.texts),
            area(one.auc),
            *(share(at.recall) for at in one.at_shares),
            share(one.positives.blocked_share),
            share(one.negatives.blocked_share),
            share(one.negatives.flagged_share),
            number(one.positives.failed + one.negatives.failed),
        )
        for one in parts
    ]
    return scrolling(_head(*names), rows, "criteria")


def _rails(plan: PlanResult) -> Html:
    heads = [f"Recall at {percent(one.target)} FPR" for one in plan.all.at_shares]
    took = {one.name: one for one in plan.times}
    rows = [
        _row(
            one.rail,
            area(one.auc),
            *(share(at.recall) for at in one.at_shares),
            share(one.objects_positives),
            share(one.objects_negatives),
            *(f"{getattr(took[one.rail], at):.3f}" for at in ("p50_ms", "p95_ms", "p99_ms")),
        )
        for one in plan.by_rail
    ]
    whole = plan.times[-1]
    rest = ("" for _ in range(len(heads) + 3))
    rows.append(
        _row(whole.name, *rest, *(f"{one:.3f}" for one in (whole.p50_ms, whole.p95_ms, whole.p99_ms)))
    )
    return scrolling(
        _head("Rail", "AUC", *heads, "Objects", "Wrongly objects", "p50 ms", "p95 ms", "p99 ms"),
        rows,
        "criteria",
    )


def _thresholds(every: Figures, calibrated_on: Sequence[str]) -> Html:
    rows = [_row(*told) for told in thresholds(every, calibrated_on)]
    return scrolling(_head("Threshold", "From", "Recall", "Wrongly flagged"), rows, "criteria")


def _pairs(pairs: Pairs) -> Html:
    targets = [percent(one.target) for one in pairs.macro]
    names = (
        "To flag",
        "Without fault",
        "AUC",
        *(f"Recall at {one} FPR" for one in targets),
        *(f"Apart, {one}: recall" for one in targets),
        *(f"Apart, {one}: wrongly flagged" for one in targets),
    )
    rows = [
        _row(
            one.positives,
            one.negatives,
            area(one.auc),
            *(share(at.recall) for at in one.at_shares),
            *(share(at.recall) for at in one.apart),
            *(share(at.flagged) for at in one.apart),
        )
        for one in pairs.cells
    ]
    means = (
        *(one.recall for one in pairs.macro),
        *(one.apart_recall for one in pairs.macro),
        *(one.apart_flagged for one in pairs.macro),
    )
    mean = NOTHING if pairs.auc is None else f"{pairs.auc:.3f}"
    rows.append(_row("mean", "", mean, *(NOTHING if one is None else f"{one * 100:.1f} %" for one in means)))
    return scrolling(_head(*names), rows, "criteria")


def _compared(result: Result) -> Html | None:
    found = result.comparison
    if found is None:
        return None
    first, second = (plan.profile for plan in result.plans)
    rows = [_row("AUC", difference(found.auc, points=False))]
    rows += [
        _row(f"Recall at {percent(float(at))} FPR", difference(one, points=True))
        for at, one in found.recall.items()
    ]
    return section(
        f"{second} against {first}",
        f"Over the {found.texts:,} texts on which no rail of either failed. Above 0, {second} is the higher one.",
        scrolling(_head("", "Difference"), rows, "criteria"),
        _blocked(found, first, second),
    )


def _blocked(found: Comparison, first: str, second: str) -> Html:
    def row(name: str, one: Disagreement) -> Html:
        counts = (number(count) for count in (one.both, one.only_first, one.only_second, one.neither))
        return _row(name, *counts, chance(one.p))

    rows = [row("To flag", found.blocked_positives), row("Without fault", found.blocked_negatives)]
    return scrolling(
        _head("Blocked by", "both", f"only {first}", f"only {second}", "neither", "p (McNemar)"),
        rows,
        "criteria",
    )


def _row(name: str, *cells: str) -> Html:
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))


def _head(*names: str) -> Html:
    return tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))


def _json(result: Result) -> bytes:
    return msgspec.json.format(msgspec.json.encode(result), indent=1)
