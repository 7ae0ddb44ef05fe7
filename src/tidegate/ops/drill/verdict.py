"""The verdict: what the gateway promises for a day on which engines fail, and whether the drill shows it kept."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.ops.drill.figures import Seen, by_tenant, came, good_share, percentile
from tidegate.ops.drill.plan import FLOODING, KINDS, Phase, Plan

GOOD_SHARE = 0.95
"""Least share of good answers while nothing fails. The rest is for the chance of the arrivals."""
MOST_SHED = 0.02
"""A call that has waited for most of its limit goes first, whatever its class, so a flood can cost a few of the others."""
TOLERANCE = 1.05
"""How far a first token may be beyond its limit, as a factor: the limit ends the wait in the gateway, and the token has to
travel from the engine to the client."""
FAIR = 0.7
"""A tenant that floods less has to get at least this part of what the other one gets. A flood has a few dozen calls."""
MOST_ASKED = 1.1
SPARE_RETRIES = 9
"""Retries that the budgets of three engines allow on top of a tenth of the calls: three each."""


class Promise(msgspec.Struct, frozen=True):
    """A promise, the figure that was measured, and whether the promise was kept."""

    name: str
    kept: bool
    figure: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the verdict is based on.

    `calls` are all calls. `under_way` is the number of calls that an engine had when it was killed, and `asked` the number
    of requests that all engines received.
    """

    calls: Sequence[Seen]
    under_way: int
    asked: int


def judge(plan: Plan, found: Evidence) -> list[Promise]:
    """Return every promise. A promise for which there are no calls is not kept, since nothing shows it."""
    phases = {phase.name: phase for phase in plan.phases}
    steady = phases["steady"]
    # A call that fails after the end of the steady load was hit by the kill, and other promises judge it.
    unhurt = [one for one in found.calls if one.outcome in {"whole", "shed"} or one.done_s < steady.end_s]
    return [
        *_first_tokens(found.calls),
        _good("the steady load is served", unhurt, steady),
        *_failures(found),
        _not_shed(found.calls),
        _fair(came(found.calls, phases["flood"].begin_s, phases["flood"].end_s)),
        _not_worse(found),
        _good(
            "after the faults, the load is served as before", found.calls, _second_half(phases["recovery"])
        ),
    ]


def _first_tokens(calls: Sequence[Seen]) -> list[Promise]:
    found: list[Promise] = []
    for kind in KINDS:
        ttfts = [one.ttft_s for one in calls if one.kind == kind.name and one.ttft_s is not None]
        p99 = percentile(ttfts, 0.99)
        figure = "no answers" if p99 is None else f"{p99:.2f} s of {len(ttfts):,} answers"
        kept = p99 is not None and p99 <= kind.limit_s * TOLERANCE
        found.append(Promise(f"{kind.name}: p99 to the first token within {kind.limit_s:g} s", kept, figure))
    return found


def _good(name: str, calls: Sequence[Seen], when: Phase) -> Promise:
    own = came(calls, when.begin_s, when.end_s)
    share = good_share(own)
    figure = "no calls" if share is None else f"{share:.1%} of {len(own):,} calls"
    kept = share is not None and share >= GOOD_SHARE
    return Promise(f"{name}: at least {GOOD_SHARE:.0%} good answers", kept, figure)


def _failures(found: Evidence) -> list[Promise]:
    calls = found.calls
    failed, broken, cut = (sum(one.outcome == what for one in calls) for what in ("failed", "broken", "cut"))
    of = f"of {len(calls):,} calls"
    return [
        Promise("no call fails before its first token", bool(calls) and not failed, f"{failed} {of}"),
        Promise(
            "only streams of the killed engine break off, each with an error event",
            bool(calls) and broken <= found.under_way,
            f"{broken} broke off, {found.under_way} were under way there",
        ),
        Promise("no answer is cut off in silence", bool(calls) and not cut, f"{cut} {of}"),
    ]


def _not_shed(calls: Sequence[Seen]) -> Promise:
    own = [one for one in calls if one.kind != FLOODING]
    shed = sum(one.outcome == "shed" for one in own)
    kept = bool(own) and shed <= MOST_SHED * len(own)
    name = f"the flood sheds {FLOODING} alone: at most {MOST_SHED:.0%} of the other calls"
    return Promise(name, kept, f"{shed} of {len(own):,}")


def _fair(flood: Sequence[Seen]) -> Promise:
    got = sorted((one.tokens, one.tenant) for one in by_tenant(flood) if one.kind == FLOODING)
    (least, modest), (most, greedy) = got[0], got[-1]
    name = f"in the flood, no {FLOODING} tenant gets under {FAIR:.0%} of another's tokens"
    return Promise(name, most > 0 and least >= FAIR * most, f"{modest} {least:,}, {greedy} {most:,} tokens")


def _not_worse(found: Evidence) -> Promise:
    admitted = sum(one.outcome != "shed" for one in found.calls)
    kept = admitted > 0 and found.asked <= MOST_ASKED * admitted + SPARE_RETRIES
    name = "retries do not make it worse: at most a tenth more requests at the engines than calls"
    return Promise(name, kept, f"{found.asked:,} for {admitted:,} calls")


def _second_half(phase: Phase) -> Phase:
    """The first half belongs to the calls that still wait from before."""
    return msgspec.structs.replace(phase, begin_s=(phase.begin_s + phase.end_s) / 2)
