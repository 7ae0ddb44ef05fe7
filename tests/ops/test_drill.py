"""The drill as pure functions: its plan, its figures, its verdict, and what it shows."""

from __future__ import annotations

import io
import json
from array import array
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, Page
from rich.console import Console

from tidegate.cli.drill.table import drawn, judged, line
from tidegate.config import parse_text
from tidegate.ops.drill.figures import (
    OUTCOMES,
    EngineNow,
    Now,
    Seen,
    by_class,
    by_phase,
    by_second,
    by_tenant,
    outcome_of,
    percentile,
    seen,
)
from tidegate.ops.drill.page import page
from tidegate.ops.drill.plan import (
    ENGINES,
    FLOODING,
    KINDS,
    LONGEST_S,
    SHORTEST_S,
    STEADY_LOAD,
    TENANTS,
    calls,
    capacity_per_s,
    kind_of,
    make_plan,
)
from tidegate.ops.drill.processes import WATCHER, configuration
from tidegate.ops.drill.result import Result, examples
from tidegate.ops.drill.run import View
from tidegate.ops.drill.verdict import Evidence, judge
from tidegate.ops.drill.watch import read
from tidegate.ops.load.sample import Sample

LENGTHS = st.floats(SHORTEST_S, 90)
KINDS_OF = {tenant.name: tenant.kind for tenant in TENANTS}


def call(tenant: str = "web", at_s: float = 1.0, *, ttft_s: float | None = 0.3, **changed) -> Seen:
    kind = kind_of(KINDS_OF[tenant])
    fields = {"done_s": at_s + 1, "outcome": "whole", "tokens": kind.tokens, "ttft_s": ttft_s, **changed}
    return Seen(tenant, kind.name, at_s, **fields)


def failed(outcome: str, at_s: float, tenant: str = "web") -> Seen:
    ttft_s = None if outcome in {"shed", "failed"} else 0.3
    return call(tenant, at_s, outcome=outcome, ttft_s=ttft_s, tokens=0, error=outcome, detail="why")


def well() -> list[Seen]:
    """A drill of a minute in which every call is served at once, but for the greedy tenant's in the flood: every third."""
    found: list[Seen] = []
    for one in calls(make_plan(60.0), 1):
        shed = one.tenant.name == "crawler" and 36 <= one.at_s < 45 and len(found) % 3
        found.append(failed("shed", one.at_s, "crawler") if shed else call(one.tenant.name, one.at_s))
    return found


def evidence(found: list[Seen], *, under_way: int = 3, asked: int | None = None) -> Evidence:
    admitted = sum(one.outcome != "shed" for one in found)
    return Evidence(calls=found, under_way=under_way, asked=admitted if asked is None else asked)


def broken(found: Evidence, seconds: float = 60.0) -> list[str]:
    return [promise.name for promise in judge(make_plan(seconds), found) if not promise.kept]


any_call = st.builds(
    lambda tenant, at_s, outcome, ttft_s, length: call(
        tenant,
        at_s,
        outcome=outcome,
        done_s=at_s + length,
        ttft_s=ttft_s if outcome not in {"shed", "failed"} else None,
        error="" if outcome == "whole" else outcome,
    ),
    st.sampled_from(sorted(KINDS_OF)),
    st.floats(0, 59.99),
    st.sampled_from(OUTCOMES),
    st.floats(0, 20),
    st.floats(0, 20),
)


# ---------------------------------------------------------------------------------------------------------------- the plan


@given(LENGTHS)
def test_the_phases_fill_the_drill_without_gaps(seconds):
    plan = make_plan(seconds)
    assert plan.phases[0].begin_s == 0
    assert plan.phases[-1].end_s == pytest.approx(seconds)
    for one, following in zip(plan.phases, plan.phases[1:], strict=False):
        assert one.begin_s < one.end_s == following.begin_s
    assert [plan.phase_at((one.begin_s + one.end_s) / 2) for one in plan.phases] == plan.phases
    assert plan.phase_at(seconds + 1) is plan.phases[-1]


@given(LENGTHS)
def test_every_engine_that_fails_is_well_again_before_the_flood_is_over(seconds):
    plan = make_plan(seconds)
    assert [act.at_s for act in plan.acts] == sorted(act.at_s for act in plan.acts)
    deeds = {name: [act.deed for act in plan.acts if act.engine == name] for name in ENGINES}
    assert list(deeds.values()) == [["kill", "start"], ["slow", "restore"], []]
    assert plan.acts[-1].at_s < next(phase for phase in plan.phases if phase.flood).end_s


@given(LENGTHS, st.integers(0, 2**32))
def test_calls_come_in_order_and_are_the_same_for_a_seed(seconds, seed):
    plan = make_plan(seconds)
    coming = calls(plan, seed)
    assert coming == calls(plan, seed)
    assert [one.at_s for one in coming] == sorted(one.at_s for one in coming)
    assert all(0 <= one.at_s <= seconds for one in coming)
    assert coming != calls(plan, seed + 1)


def test_the_rates_are_those_of_the_plan():
    plan = make_plan(LONGEST_S)
    coming = calls(plan, 1)
    steady, flood = (next(p for p in plan.phases if p.name == name) for name in ("steady", "flood"))

    def rate(phase, kind):
        own = [c for c in coming if phase.begin_s <= c.at_s < phase.end_s and c.tenant.kind == kind]
        return len(own) / (phase.end_s - phase.begin_s)

    for kind in KINDS:
        expected = STEADY_LOAD * capacity_per_s() * kind.mix
        assert rate(steady, kind.name) == pytest.approx(expected, rel=0.15)
        if kind.name != FLOODING:
            assert rate(flood, kind.name) == pytest.approx(expected, rel=0.15)
    assert rate(flood, FLOODING) > 1.5 * capacity_per_s()


def test_the_shares_of_the_tenants_add_up():
    assert sum(kind.mix for kind in KINDS) == pytest.approx(1)
    for kind in KINDS:
        assert sum(tenant.share for tenant in TENANTS if tenant.kind == kind.name) == pytest.approx(1)
    assert sum(tenant.flood for tenant in TENANTS) == pytest.approx(1)
    assert {tenant.kind for tenant in TENANTS if tenant.flood} == {FLOODING}


def test_the_gateway_gets_a_valid_configuration():
    urls = {name: f"http://127.0.0.1:{9000 + at}" for at, name in enumerate(ENGINES)}
    keys = {name: f"a-secret-of-{name}-alone" for name in (*KINDS_OF, WATCHER)}
    config = parse_text(json.dumps(configuration(urls, keys)), source="the drill")
    assert set(config.keys) == {*KINDS_OF, WATCHER}
    assert config.keys[WATCHER].scopes == ("metrics",)
    for tenant, kind in KINDS_OF.items():
        policy = config.policies[config.organisations[tenant].policy or ""]
        assert policy.defaults.priority == kind
        assert config.queue.classes[kind].longest_wait_s == kind_of(kind).limit_s


# ------------------------------------------------------------------------------------------------------------- the figures


@pytest.mark.parametrize(
    ("error", "detail", "tokens", "outcome"),
    [
        ("", "", 3, "whole"),
        ("http_503", "The gateway is busy (overloaded)", 0, "shed"),
        ("error_event", '{"message":"busy","code":"overloaded"}', 0, "shed"),
        ("http_503", "no connection to the engine (engine_unreachable)", 0, "failed"),
        ("http_503", "The engine is busy (engine_overloaded)", 0, "failed"),
        ("http_502", "it says (overloaded) and more", 0, "failed"),
        ("http_429", "too many (rate_limit_exceeded)", 0, "failed"),
        ("error_event", '{"code":"engine_overloaded"}', 0, "failed"),
        ("error_event", '{"code":"engine_error"}', 0, "failed"),
        ("error_event", '{"code":"engine_error"}', 2, "broken"),
        ("error_event", '{"code":"overloaded"}', 2, "broken"),
        ("truncated", "the stream ended without [DONE]", 2, "cut"),
        ("truncated", "the stream ended without [DONE]", 0, "cut"),
        ("broken_off", "the connection broke", 2, "cut"),
        ("broken_off", "the connection broke", 0, "failed"),
        ("timeout", "nothing came", 2, "cut"),
        ("no_connection", "refused", 0, "failed"),
    ],
)
def test_what_became_of_a_call(error, detail, tokens, outcome):
    sample = Sample(due=10.0, error=error, detail=detail, contents=array("d", [10.5] * tokens))
    assert outcome_of(sample) == outcome


def test_times_count_from_when_a_call_was_due():
    sample = Sample(due=12.0, sent=12.4, done=13.5, contents=array("d", [12.6, 13.4]), output_tokens=2)
    one = seen(sample, TENANTS[0], began=10.0)
    assert (one.at_s, one.done_s, one.tokens) == (2.0, 3.5, 2)
    assert one.ttft_s == pytest.approx(0.6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_good_answer_is_whole_and_in_time(kind):
    tenant = next(name for name, own in KINDS_OF.items() if own == kind.name)
    assert call(tenant, ttft_s=kind.limit_s).good
    assert not call(tenant, ttft_s=kind.limit_s + 0.01).good
    assert not call(tenant, outcome="broken").good
    assert not call(tenant, ttft_s=None).good


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_bounds_its_share_and_no_smaller_value_does(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


@given(st.lists(any_call, max_size=60))
def test_every_call_is_counted_once_in_every_table(found):
    plan = make_plan(60.0)
    classes = by_class(found)
    assert sum(one.sent for one in classes) == len(found)
    assert all(sum(one.outcomes.values()) == one.sent >= one.good for one in classes)
    assert sum(one.sent for phase in by_phase(plan, found) for one in phase.classes) == len(found)
    tenants = by_tenant(found)
    assert sum(one.tokens for one in tenants) == sum(one.tokens for one in found)
    assert sum(one.share for one in tenants) == pytest.approx(1.0 if found else 0.0)
    seconds = by_second(60.0, found, [])
    assert len(seconds) == 60
    assert sum(one.sent for one in seconds) == len(found)
    assert sum(one.good for one in seconds) == sum(one.good for one in found)
    told = sum(one.outcome == "shed" for one in found), sum(one.shed for one in seconds)
    assert told[0] == told[1]
    assert sum(one.calls for one in examples(found)) == sum(bool(one.error) for one in found)


def test_a_second_has_the_last_state_that_was_seen_in_it():
    moments = [Now(0.2, [], 1), Now(0.7, [], 2), Now(2.1, [], 3)]
    found = by_second(3.0, [], moments)
    assert [one.now and one.now.waiting for one in found] == [2, None, 3]


# ------------------------------------------------------------------------------------------------------------- the metrics

TODAY = """\
# TYPE tidegate_engine_in_flight gauge
tidegate_engine_in_flight{engine="north"} 2.0
tidegate_engine_in_flight{engine="south"} 0.0
tidegate_engine_limit{engine="north"} 6.0
tidegate_queue_size{class="interactive"} 1.0
tidegate_queue_size{class="batch"} 4.0
tidegate_queue_state{state="healthy"} 0.0
tidegate_queue_state{state="degraded"} 1.0
"""
WITH_BREAKERS = """\
tidegate_engine_breaker{engine="north",model="drill",state="closed"} 0.0
tidegate_engine_breaker{engine="north",model="drill",state="open"} 1.0
tidegate_engine_breaker{engine="south",model="drill",state="closed"} 1.0
tidegate_engine_retries_total{engine="north"} 7.0
tidegate_engine_failovers_total 5.0
"""


def engines():
    return [SimpleNamespace(name=name, state="up", requests=9) for name in ("north", "south")]


def test_what_the_gateway_does_not_tell_stays_unknown():
    now = read(TODAY, 1.5, engines())
    assert now == Now(
        1.5, [EngineNow("north", "up", 2, 6, 9), EngineNow("south", "up", 0, None, 9)], 5, "degraded"
    )


def test_breakers_retries_and_failovers_are_read_where_they_are():
    now = read(TODAY + WITH_BREAKERS, 1.5, engines())
    assert [(one.breaker, one.retries) for one in now.engines] == [("open", 7), ("closed", 0)]
    assert now.failovers == 5


# ------------------------------------------------------------------------------------------------------------- the verdict


def test_a_gateway_that_serves_everything_keeps_every_promise():
    assert broken(evidence(well())) == []


def test_nothing_is_kept_without_calls():
    promises = judge(make_plan(60.0), evidence([]))
    assert [promise.name for promise in promises if promise.kept] == []


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ([failed("failed", 20.0)], ["no call fails before its first token"]),
        ([failed("cut", 20.0)], ["no answer is cut off in silence"]),
        ([failed("broken", 20.0)] * 3, []),
        ([failed("broken", 20.0)] * 4, ["only streams of the killed engine"]),
        ([call(at_s=20.0, ttft_s=4.0)] * 20, ["interactive: p99"]),
        ([call("office", at_s=20.0, ttft_s=6.0)] * 20, ["default: p99"]),
        ([call("reports", at_s=20.0, ttft_s=9.0)] * 20, ["batch: p99"]),
        ([failed("shed", 40.0)] * 20, ["the flood sheds batch alone"]),
        ([failed("shed", 40.0, "crawler")] * 200, []),
        ([failed("shed", 5.0, "reports")] * 20, ["the steady load is served"]),
        ([failed("shed", 58.0, "reports")] * 20, ["after the faults"]),
        ([failed("shed", 46.0, "reports")] * 20, []),  # these still wait from the flood
        ([call("crawler", at_s=40.0)] * 600, ["in the flood, no batch tenant"]),
    ],
)
def test_each_damage_breaks_its_own_promise(damage, named):
    found = broken(evidence([*well(), *damage]))
    assert len(found) == len(named)
    assert all(name.startswith(begin) for name, begin in zip(found, named, strict=True))


def test_retries_may_add_a_tenth_and_the_budgets_of_three_engines():
    found = well()
    admitted = sum(one.outcome != "shed" for one in found)
    assert broken(evidence(found, asked=int(1.1 * admitted) + 9)) == []
    (name,) = broken(evidence(found, asked=int(1.1 * admitted) + 11))
    assert name.startswith("retries do not make it worse")


def test_a_call_that_the_kill_hit_does_not_count_against_the_steady_load():
    steady = make_plan(60.0).phases[0]
    hit = [failed("broken", steady.end_s - 0.1)] * 20
    late = [msgspec.structs.replace(one, done_s=steady.end_s + 0.1) for one in hit]
    assert not any(name.startswith("the steady") for name in broken(evidence([*well(), *late], under_way=20)))
    early = [msgspec.structs.replace(one, done_s=steady.end_s - 0.05) for one in hit]
    assert any(name.startswith("the steady") for name in broken(evidence([*well(), *early], under_way=20)))


# ---------------------------------------------------------------------------------------------------------- what is shown


def moments(*, breakers: bool) -> list[Now]:
    told = {"breaker": "open", "retries": 4} if breakers else {}
    return [
        Now(at + 0.5, [EngineNow(name, "up", 2, 6, 9, **told) for name in ENGINES], 3) for at in range(60)
    ]


def result(found: list[Seen], *, breakers: bool = False, **changed) -> Result:
    plan = make_plan(60.0)
    promises = judge(plan, evidence(found))
    fields = {
        "version": "1.2.3",
        "started_at": "2026-11-21T22:05:09+00:00",
        "seconds": 60.0,
        "seed": 1,
        "kept": all(promise.kept for promise in promises),
        "promises": promises,
        "phases": by_phase(plan, found),
        "tenants": by_tenant(found),
        "errors": examples(found),
        "acts": plan.acts,
        "timeline": by_second(60.0, found, moments(breakers=breakers)),
        "late_ms": 3.0,
    }
    return Result(**{**fields, **changed})


def titles(found: Page) -> list[str | None]:
    return [a["aria-label"] for a in found.all("svg") if "aria-label" in a]


def test_the_page_has_the_verdict_the_promises_and_the_timeline():
    found = Page(page(result(well())))
    assert "Kept. " in found.text
    assert found.row("no answer is cut off in silence")[2] == "kept ✓"
    assert titles(found) == [
        "Calls",
        "Time to first token, p99",
        "Tokens by tenant",
        "Waiting",
        "Calls at the engines",
        "Limits of the engines",
    ]
    assert titles(Page(page(result(well(), breakers=True))))[-2:] == ["Breakers", "Retries"]
    phases = [msgspec.json.decode(a["data-chart"] or "")["at"] for a in found.all("div") if "data-chart" in a]
    assert all(len(at) == 60 and at == sorted(at) for at in phases)


def test_a_broken_promise_is_named_at_the_top():
    found = Page(page(result([*well(), failed("cut", 20.0)])))
    assert "Broken. " in found.text
    assert found.row("no answer is cut off in silence")[2] == "broken ✗"


def test_a_page_of_nothing_is_still_a_page():
    found = Page(page(result([], timeline=by_second(60.0, [], []))))
    assert "Broken. " in found.text


def test_messages_of_engines_never_become_markup():
    hostile = [msgspec.structs.replace(failed("broken", 20.0), error=HOSTILE, detail=HOSTILE)]
    found = Page(page(result([*well(), *hostile], notes=[HOSTILE])))
    assert found.text.count("alert(1)") >= 3
    assert len(found.all("script")) == 1
    assert found.all("img") == []


def test_the_page_loads_nothing():
    found = Page(page(result(well())))
    policy = next(a["content"] for a in found.all("meta") if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    links = [a.get("href") or a.get("src") or "data:" for _, a in found.tags]
    assert all(link.startswith("data:") for link in links)


def test_the_json_has_the_whole_result():
    whole = result([*well(), failed("broken", 20.0)], breakers=True)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Result) == whole


def printed(what, *, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, legacy_windows=False).print(what)
    return out.getvalue().splitlines()


def view(found: list[Seen], *, breakers: bool = True, at_s: float = 30.0) -> View:
    plan = make_plan(60.0)
    ended = [one for one in found if one.done_s <= at_s]
    now = moments(breakers=breakers)[29] if breakers is not None else None
    return View(plan, at_s, plan.phase_at(at_s), len(ended) + 5, ended, plan.acts[:2], now)


def test_the_table_fits_80_columns_and_has_what_there_is_to_know():
    lines = printed(drawn(view([*well(), failed("failed", 20.0), failed("shed", 21.0, "crawler")])))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in ("30 s of 60 s", *KINDS_OF, *ENGINES, "open", "the process of north is killed", "2 of 6"):
        assert word in text
    interactive = next(one for one in lines if one.startswith("interactive")).split()
    assert interactive[-3:] == ["0", "1", "0"]


def test_the_table_has_a_dash_for_what_is_not_known():
    lines = printed(drawn(view(well(), breakers=False)))
    assert next(one for one in lines if one.startswith("north")).split()[-3:] == ["-", "-", "9"]
    plan = make_plan(60.0)
    assert printed(drawn(View(plan, 0.0, plan.phases[0], 0, [], [], None)))


def test_the_table_can_do_without_unicode():
    text = "\n".join(printed(drawn(view(well()), ascii_only=True)))
    assert text.isascii()


def test_a_line_says_how_far_it_is():
    (told,) = printed(line(view([*well(), failed("cut", 20.0)])), width=200)
    assert "30.0 s  slowed" in told
    assert "1 failed" in told


def test_a_promise_that_is_broken_stands_out():
    lines = printed(judged(judge(make_plan(60.0), evidence([*well(), failed("cut", 20.0)]))), width=160)
    assert [one.split()[0] for one in lines if "in silence" in one] == ["BROKEN"]
    assert sum(one.startswith("kept") for one in lines) == len(lines) - 1
