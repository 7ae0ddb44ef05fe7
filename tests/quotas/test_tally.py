"""The metrics of quotas: a debt that is right however many limits there are, and labels that no caller can choose."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from quota_world import World, minute
from serving import Running, ask, config_to, run_gateway
from talking import SCRIPT, chat

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.errors import RateLimited
from tidegate.quotas.consumed import MOST_READ
from tidegate.quotas.levels import DIMENSIONS, LEVELS
from tidegate.quotas.lines import Lines
from tidegate.quotas.tally import Tally
from tidegate.types import Limit, Per

KEY = "the-key-of-this-client"
HOSTILE = [
    'x"} 1\ntidegate_up 0',
    "\x1b[2J",
    "ü" * 100,
    "a" * 500,
    "{}",
    "\\",
    "",
    "le",
    "team",
    "ann\r\n",
    "日本",
]


def debts(world: World) -> dict[tuple[str, ...], float]:
    found = {one.name: one for one in Tally().metrics(world.limiter, Lines())}
    samples = found["tidegate_quota_debt"].samples
    return {(one.labels["level"], one.labels["dimension"]): one.value for one in samples}


def used(world: World, limit: Limit, amount: int) -> None:
    """Use more of a limit than was reserved."""
    world.limiter.settle(world.reserve((limit, 1)), [amount])


def test_debts_of_a_level_and_dimension_add_up_and_are_paid_back() -> None:
    world = World()
    for tenant in ("ann", "bob"):
        used(world, Limit("key", tenant, "tokens_per_minute", 60, burst=10), 25)
    used(world, Limit("team", "blue", "tokens_per_day", 100, per=Per.DAY), 130)
    used(world, Limit("key", "eve", "requests_per_minute", 60), 60)  # all of it, and no more
    assert debts(world) == {("key", "tokens_per_minute"): 30, ("team", "tokens_per_day"): 30}
    world.pass_s(10)
    assert debts(world) == {("key", "tokens_per_minute"): 10, ("team", "tokens_per_day"): 30}
    world.pass_s(86_400)
    assert debts(world) == {}


def test_a_limit_that_is_not_enforced_has_no_debt() -> None:
    world = World()
    used(world, Limit("key", "ann", "tokens_per_day", 100, per=Per.DAY, enforce=False), 500)
    assert debts(world) == {}


def test_money_is_in_dollars() -> None:
    world = World()
    used(world, Limit("key", "ann", "usd_per_day", 1_000_000, per=Per.DAY, money=True), 1_250_000)
    assert debts(world) == {("key", "usd_per_day"): 0.25}


def test_very_many_end_users_do_not_hide_the_debt_of_a_key() -> None:
    world = World()
    for at in range(MOST_READ + 10):
        world.reserve((Limit("end_user", f"ann/{at}", "tokens_per_minute", 100), 1))
    used(world, minute("key", 60), 90)
    used(world, minute("organisation", 60), 70)
    assert debts(world) == {("key", "tokens_per_minute"): 30, ("organisation", "tokens_per_minute"): 10}


@given(
    st.lists(st.tuples(st.sampled_from(LEVELS), st.text(), st.sampled_from(sorted(DIMENSIONS))), max_size=30)
)
def test_no_name_of_a_tenant_becomes_a_label(limits: list[tuple[str, str, str]]) -> None:
    world, tally = World(), Tally()
    for level, tenant, dimension in limits:
        limit = Limit(level, tenant, dimension, 10, enforce=len(tenant) % 2 == 0)
        for _ in range(2):
            try:
                ticket = world.reserve((limit, 1))
            except RateLimited as refused:
                tally.refused(refused)
            else:
                tally.reserved(ticket)
                world.limiter.settle(ticket, [50])
    for family in tally.metrics(world.limiter, Lines()):
        for sample in family.samples:
            assert sample.labels.keys() <= {"level", "dimension"}
            assert sample.labels.get("level", "") in ("", *LEVELS)
            assert sample.labels.get("dimension", "") in ("", *DIMENSIONS)


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


def quota_samples(gateway: Running) -> list[tuple[str, dict[str, str]]]:
    page = gateway.run(gateway.gateway.scrape()).decode()
    return [
        (one.name, one.labels)
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name.startswith("tidegate_quota")
    ]


def test_hostile_end_users_and_tenants_reach_no_metric(engine: ScriptedServer) -> None:
    limits = {"requests_per_minute": 60, "burst_requests": 1}
    member = {"organisation": "acme", "team": "canary-team", "user": "canary-user"}
    tree = json.loads(config_to(engine.base_url)) | {
        "policies": {"canary-policy": {"limits": {"requests_per_day": 1000}, "end_user_limits": limits}},
        "organisations": {
            "acme": {"teams": {"canary-team": {"policy": "canary-policy", "users": {"canary-user": {}}}}}
        },
        "keys": {"canary-key": {"secret": KEY, "policy": "canary-policy", **member}},
    }
    with run_gateway(json.dumps(tree)) as gateway:
        for name in HOSTILE:
            statuses = [
                ask(
                    f"{gateway.base_url}/chat/completions",
                    chat(user=f"canary{name}"),
                    {"authorization": f"Bearer {KEY}"},
                ).status
                for _ in range(2)
            ]
            assert statuses == [200, 429]
        found = quota_samples(gateway)
        assert not any("canary" in text for _, labels in found for text in labels.values())
        assert len(found) == len({(name, *sorted(labels.items())) for name, labels in found}) < 10
        assert (
            "tidegate_quota_refusals_total",
            {"level": "end_user", "dimension": "requests_per_minute"},
        ) in found
