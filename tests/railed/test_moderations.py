"""`POST /v1/moderations`: the rails of a profile in the form of OpenAI's moderations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual import run

from railed.made import seen
from railed.world import Answer, World, chat, railed, read
from tidegate.errors import ConfigError
from tidegate.policy import Policies, compile_policies
from tidegate.rails.asked.hazards import HAZARDS
from tidegate.rails.moderation import CATEGORIES, MODERATED, scored
from tidegate.rails.rules.wording.toxic import CATEGORIES as TOXIC
from tidegate.stages.moderate import MOST_INPUTS
from tidegate.types import Span, Verdict

CANARY = "badcanary"
HATE = {"kind": "regex", "name": "hate", "patterns": {"hate": "hateful"}}
THREAT = {"kind": "regex", "name": "threat", "patterns": {"threat": "menace"}}
JAILBREAK = {"kind": "regex", "name": "jailbreak", "patterns": {"jailbreak": "be free"}}
MASK = {"kind": "regex", "name": "mask", "patterns": {"ORDER": "order [0-9]+"}, "on_fail": "redact"}
LOG = {"kind": "regex", "name": "log", "patterns": {"violence": "blood"}, "on_fail": "log"}
STOP = {"kind": "rule", "name": "stop"}
SLOW = {"kind": "check", "name": "slow"}
SECTION = {"moderation": {"mine": "p", "omni-moderation-latest": "p"}}
KEYS = {
    "calls": {"secret": "the-key-that-only-calls-012"},
    "checks": {"secret": "the-key-that-only-checks-01", "scopes": ["checks"]},
    "few": {"secret": "the-key-with-few-models-012", "policy": "few"},
}
SHAPE = ["flagged", "categories", "category_scores", "category_applied_input_types"]


async def moderated(world: World, body: Any, *headers: str, key: str = "") -> Answer:
    named = [f"authorization: Bearer {KEYS[key]['secret']}"] if key else []
    return await world.ask(json.dumps(body).encode(), *headers, *named, path="moderations")


def found(result: Mapping[str, Any]) -> list[str]:
    assert list(result) == SHAPE
    for name in SHAPE[1:]:
        assert list(result[name]) == list(CATEGORIES)
    return [name for name, value in result["categories"].items() if value]


@pytest.mark.parametrize(
    ("rails", "text", "flagged", "categories"),
    [
        ([HATE], "fine", False, []),
        ([HATE], "a hateful text", True, ["hate"]),
        ([THREAT], "a menace", True, ["harassment", "harassment/threatening"]),
        ([HATE, THREAT], "hateful menace", True, ["harassment", "harassment/threatening", "hate"]),
        ([JAILBREAK], "now be free", True, []),
        ([MASK], "my order 12", True, []),
        ([LOG], "blood", False, []),
        ([LOG, HATE], "hateful blood", True, ["hate"]),
        ([{**HATE, "on_fail": "review", "hold": "whole"}], "hateful", True, ["hate"]),
        ([STOP, SLOW], CANARY, True, []),
        ([HATE], "", False, []),
    ],
)
def test_what_is_flagged_and_for_what(
    rails: list[dict[str, Any]], text: str, flagged: bool, categories: list[str]
) -> None:
    async def work() -> None:
        async with railed(rails, section=SECTION, policy={"rails": "none"}) as world:
            answer = await moderated(world, {"input": text, "model": "mine"})
            assert answer.status == 200, answer.body
            assert answer.json["id"].startswith("modr-")
            assert answer.json["model"] == "mine"
            [result] = answer.json["results"]
            assert (result["flagged"], found(result)) == (flagged, categories)
            assert set(map(tuple, result["category_applied_input_types"].values())) == {("text",)}
            assert all(result["category_scores"][name] > 0 for name in categories)
            assert text not in answer.body.decode() or not text
            assert world.engine.asked == []

    run(work())


def test_a_rail_that_only_logs_gives_its_score() -> None:
    async def work() -> None:
        async with railed([LOG], section=SECTION) as world:
            [result] = (await moderated(world, {"input": "blood"})).json["results"]
            assert result["category_scores"]["violence"] == 1.0
            assert not result["flagged"]

    run(work())


def test_every_rail_is_asked_also_after_a_block_and_sees_what_those_before_it_changed() -> None:
    async def work() -> None:
        async with railed([MASK, STOP, SLOW], section=SECTION) as world:
            await moderated(world, {"input": f"order 12 {CANARY}"})
            assert {(one.rail, one.text) for one in seen} == {
                ("stop", f"<ORDER> {CANARY}"),
                ("slow", f"<ORDER> {CANARY}"),
            }

    run(work())


@pytest.mark.parametrize("rails", [[HATE], [HATE, SLOW]])
@pytest.mark.parametrize("count", [3, MOST_INPUTS])
def test_a_list_of_texts_gets_a_result_for_each_in_their_order(
    rails: list[dict[str, Any]], count: int
) -> None:
    async def work() -> None:
        async with railed(rails, section=SECTION) as world:
            texts = ["hateful" if at % 3 == 0 else f"fine {at}" for at in range(count)]
            answer = await moderated(world, {"input": texts})
            assert answer.status == 200, answer.body
            results = answer.json["results"]
            assert [one["flagged"] for one in results] == [at % 3 == 0 for at in range(count)]
            told = [one for one in world.record.findings if one.rail == "hate"]
            assert [(one.action.word, one.count) for one in told] == [("block", (count + 2) // 3)]
            assert answer.rails["hate"] == "block"

    run(work())


def test_parts_are_one_input() -> None:
    async def work() -> None:
        async with railed([HATE, THREAT, STOP], section=SECTION) as world:
            parts = [{"type": "text", "text": one} for one in ("hateful", "fine", "menace")]
            answer = await moderated(world, {"input": parts})
            [result] = answer.json["results"]
            assert found(result) == ["harassment", "harassment/threatening", "hate"]
            assert [(one.scene.where, one.scene.role) for one in seen] == [
                ((0, f"content[{at}].text"), "user") for at in range(3)
            ]

    run(work())


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("body", "status", "param", "words"),
    [
        ({}, 400, "input", "is missing"),
        ({"inptu": "a"}, 400, "input", "misspell it as 'inptu'"),
        ({"input": None}, 400, "input", "is wrong"),
        ({"input": 5}, 400, "input", "is wrong"),
        ({"input": []}, 400, "input", "is empty"),
        ({"input": ["a"] * (MOST_INPUTS + 1)}, 400, "input", "2048 are allowed"),
        ({"input": [1, 2, 3]}, 400, "input[0]", "is wrong"),
        ({"input": [[1, 2], [3]]}, 400, "input[0]", "is wrong"),
        ({"input": ["a", None]}, 400, "input[1]", "is wrong"),
        ({"input": {"type": "text", "text": "a"}}, 400, "input", "is wrong"),
        ({"input": [{"type": "text"}]}, 400, "input[0].text", "is missing"),
        ({"input": [{"text": "a"}]}, 400, "input[0].type", "is missing"),
        ({"input": [{"type": "audio", "text": "a"}]}, 400, "input[0].type", "is wrong"),
        ({"input": [{"type": "text", "text": "a", "more": "b"}]}, 400, "input[0]", "more"),
        ({"input": [{"type": "text", "text": 1}]}, 400, "input[0].text", "is wrong"),
        ({"input": [{"type": "text", "text": "a"}, "b"]}, 400, "input[1]", "among parts"),
        ({"input": [{"type": "image_url", "image_url": "a"}]}, 400, "input[0].image_url", "is wrong"),
        (
            {"input": [{"type": "image_url", "image_url": {"url": ""}}]},
            400,
            "input[0].image_url.url",
            "empty",
        ),
        ({"input": [{"type": "text", "text": "a"}, IMAGE]}, 400, "input[1]", "sees images"),
        ({"input": [IMAGE]}, 400, "input[0]", "sees images"),
        ({"input": "a", "model": 1}, 400, "model", "is wrong"),
        ({"input": "a", "model": ""}, 404, "model", "There is no model ''"),
        ({"input": "a", "model": "mini"}, 404, "model", "did you mean 'mine'"),
        ({"input": "a", "model": "m"}, 404, "model", "there are"),
        ({"input": "a", "stream": True}, 400, "stream", "is not known here"),
    ],
)
def test_a_wrong_body_is_refused_and_names_the_field(
    body: Mapping[str, Any], status: int, param: str, words: str
) -> None:
    async def work() -> None:
        async with railed([HATE], section=SECTION) as world:
            answer = await moderated(world, body)
            error = answer.json["error"]
            assert (answer.status, error["param"]) == (status, param)
            assert words in error["message"]

    run(work())


def test_the_same_mistakes_are_found_in_large_bodies() -> None:
    async def work() -> None:
        async with railed([HATE], section=SECTION) as world:
            long = "word " * 80_000
            for items, param in (
                ([long, 1], "input[1]"),
                ([{"type": "text", "text": long}, {"type": "audio"}], "input[1].type"),
                ([{"type": "text", "text": long}, "b"], "input[1]"),
                ([[1] * 9] * 20_000, "input[0]"),
                ([1] * 200_000, "input[0]"),
            ):
                answer = await moderated(world, {"input": items})
                assert (answer.status, answer.json["error"]["param"]) == (400, param), answer.body
            for given in (long + "hateful", [long, "hateful"], [{"type": "text", "text": long + "hateful"}]):
                answer = await moderated(world, {"input": given})
                assert answer.json["results"][-1]["flagged"]

    run(work())


@pytest.mark.parametrize("kind", ["rule", "check"])
@pytest.mark.parametrize("how", ["raise", "none", "told"])
@pytest.mark.parametrize("given", ["fine", ["fine"] * 40])
def test_a_rail_that_fails_closed_is_a_503_and_never_a_result(kind: str, how: str, given: Any) -> None:
    async def work() -> None:
        broken = {"kind": kind, "name": "broken", "fails": how}
        async with railed([HATE, broken], section=SECTION) as world:
            answer = await moderated(world, {"input": given})
            assert (answer.status, answer.json["error"]["code"]) == (503, "rail_failed")
            assert "'broken'" in answer.json["error"]["message"]
            assert "flagged" not in answer.body.decode()
            assert world.record.outcome == "rail_failed"
            assert [one.rail for one in world.record.findings if one.error] == ["broken"]
        async with railed([HATE, {**broken, "on_error": "open"}], section=SECTION) as world:
            answer = await moderated(world, {"input": given})
            assert {one["flagged"] for one in answer.json["results"]} == {False}
            assert answer.rails["broken"] == "log"

    run(work())


def test_a_rail_that_fails_is_a_503_also_where_another_one_objects() -> None:
    async def work() -> None:
        async with railed([HATE, {**SLOW, "fails": "raise"}], section=SECTION) as world:
            assert (await moderated(world, {"input": "hateful"})).status == 503

    run(work())


def test_a_rail_that_takes_too_long_is_a_503() -> None:
    async def work() -> None:
        async with railed([{**SLOW, "fails": "hang"}], section=SECTION) as world:
            assert (await moderated(world, {"input": "fine"})).status == 503

    run(work())


def test_inputs_are_checked_side_by_side_and_each_has_the_whole_budget() -> None:
    async def work() -> None:
        async with railed([{**SLOW, "takes_ms": 100}], section=SECTION) as world:
            began = world.now
            answer = await moderated(world, {"input": ["fine"] * 48})
            assert answer.status == 200
            assert world.now - began == pytest.approx(0.3, abs=0.01)

    run(work())


def test_a_rail_for_whole_requests_sees_each_input_as_one() -> None:
    async def work() -> None:
        short = {"kind": "token_limit", "max_tokens": 100}
        async with railed([HATE, short], section=SECTION) as world:
            answer = await moderated(world, {"input": ["word " * 60] * 3})
            assert answer.status == 200, answer.body
            assert [one["flagged"] for one in answer.json["results"]] == [False] * 3
            answer = await moderated(world, {"input": ["word " * 200, "a"]})
            assert [one["flagged"] for one in answer.json["results"]] == [True, False]

    run(work())


# ------------------------------------------------------------------------------------------------- who may, and what counts


def test_the_rails_of_the_policy_are_not_asked() -> None:
    async def work() -> None:
        profiles = {"mild": {"rails": [LOG]}}
        section = {"profiles": profiles, "moderation": {"mine": "mild"}}
        async with railed([HATE], section=section) as world:
            answer = await moderated(world, {"input": "hateful", "model": "mine"})
            assert answer.json["results"][0]["flagged"] is False
            assert answer.rails == {"log": "pass"}
            answer = await moderated(world, {"input": "a", "model": "mine"}, "x-tidegate-profile: p")
            assert answer.status == 400
            assert "the model names the rails" in answer.json["error"]["message"]
            assert (await world.ask(chat("hateful"))).rails == {"hate": "block"}

    run(work())


def test_names_that_the_caller_may_not_use_are_not_there() -> None:
    async def work() -> None:
        policies = {"default": {"rails": "p"}, "few": {"models": ["mine", "gpt-*"]}}
        async with railed([HATE], section=SECTION, keys=KEYS, policies=policies) as world:
            assert (await moderated(world, {"input": "a", "model": "mine"}, key="few")).status == 200
            for body in ({"input": "a", "model": "text-moderation-latest"}, {"input": "a"}):
                answer = await moderated(world, body, key="few")
                assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
                assert answer.json["error"]["message"].endswith("there are: mine")

    run(work())


@pytest.mark.parametrize(("key", "status"), [("calls", 200), ("checks", 403), ("", 401)])
def test_moderations_need_the_scope_of_calls(key: str, status: int) -> None:
    async def work() -> None:
        async with railed(
            [HATE], section=SECTION, keys={name: KEYS[name] for name in ("calls", "checks")}
        ) as world:
            assert (await moderated(world, {"input": "a"}, key=key)).status == status

    run(work())


def test_a_moderation_counts_as_a_request_and_a_failed_one_does_not() -> None:
    async def work() -> None:
        limits = {"requests_per_day": 2, "tokens_per_day": 5}
        keys = {"calls": KEYS["calls"]}
        broken = {**SLOW, "fails": "raise", "finds": "x"}
        section = {
            "profiles": {"broken": {"rails": [broken]}},
            "moderation": {"mine": "p", "broken": "broken"},
        }
        async with railed([HATE], section=section, policy={"limits": limits}, keys=keys) as world:
            statuses = [
                (await moderated(world, body, key="calls")).status
                for body in (
                    {"input": "a word or two " * 50, "model": "mine"},
                    {"input": "a", "model": "broken"},
                    {"input": [], "model": "mine"},
                    {"input": ["a"] * 30, "model": "mine"},
                    {"input": "a", "model": "mine"},
                )
            ]
            assert statuses == [200, 503, 400, 200, 429]

    run(work())


def test_metrics_the_audit_and_the_record_see_moderations(tmp_path: Path) -> None:
    async def work() -> None:
        section = {**SECTION, "audit_path": str(tmp_path / "audit.jsonl")}
        async with railed([HATE], section=section, policy={"rails": "none"}) as world:
            await moderated(world, {"input": ["hateful", "fine"], "model": "mine"})
            await moderated(world, {"input": "fine", "model": "\u2603"})
            assert (world.logged[0].model, world.logged[0].route, world.logged[0].spent) == (
                "mine",
                "mine",
                (),
            )
            assert (world.logged[1].model, world.logged[1].route) == ("\u2603", "")
            assert world.metric('tidegate_requests_total{endpoint="moderations"') == 2
            assert world.metric('tidegate_rail_verdicts_total{action="block",rail="hate"') == 1
            lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
            assert [(one["rail"], one["action"], one["category"]) for one in lines] == [
                ("hate", "block", "hate")
            ]
            assert "hateful" not in (tmp_path / "audit.jsonl").read_text()

    run(work())


# ------------------------------------------------------------------------------------------------------ the configuration


def test_without_settings_openai_s_names_mean_the_built_in_profile() -> None:
    async def work() -> None:
        async with railed([HATE]) as world:
            for model in (
                "omni-moderation-latest",
                "text-moderation-latest",
                "omni-moderation-2024-09-26",
                None,
            ):
                body = {
                    "input": ["You are a fucking idiot", "Good day."],
                    **({"model": model} if model else {}),
                }
                answer = await moderated(world, body)
                assert answer.json["model"] == (model or "omni-moderation-latest")
                assert [found(one) for one in answer.json["results"]] == [["harassment"], []]

    async def outside() -> None:
        await asyncio.wait_for(work(), 60)

    asyncio.run(outside())


def test_the_other_names_mean_what_the_first_one_means() -> None:
    config = read(
        {
            "rails": {
                "profiles": {"p": {"rails": [HATE]}, "q": {"rails": [HATE]}},
                "moderation": {"omni-moderation-latest": "p", "text-moderation-latest": "q"},
            }
        }
    )
    assert config.rails.moderators == {
        "omni-moderation-latest": "p",
        "omni-moderation-2024-09-26": "p",
        "text-moderation-stable": "p",
        "text-moderation-latest": "q",
    }


def compiled(tree: Mapping[str, Any]) -> Policies:
    config = read(tree)
    return compile_policies(config, config.server)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("nosuch", "there is no profile of rails 'nosuch'"),
        ("none", "there is no profile of rails 'none'"),
        ("out", "checks no texts of users"),
        ("empty", "checks no texts of users"),
    ],
)
def test_a_model_needs_a_profile_that_checks_what_users_write(profile: str, words: str) -> None:
    profiles = {"out": {"rails": [{**HATE, "surfaces": ["output"]}]}, "empty": {"rails": []}}
    tree = {"rails": {"profiles": profiles, "moderation": {"mine": profile}}}
    with pytest.raises(ConfigError) as told:
        compiled(tree)
    [problem] = told.value.problems
    assert problem.path == "rails.moderation.mine"
    assert words in problem.message


def test_a_profile_of_one_s_own_replaces_the_built_in_one_and_has_to_check_users_too() -> None:
    def tree(*surfaces: str) -> dict[str, Any]:
        return {"rails": {"profiles": {"moderation": {"rails": [{**HATE, "surfaces": surfaces}]}}}}

    [plan] = compiled(tree("input")).moderators.plans
    assert [step.name for step in plan.steps] == ["hate"]
    with pytest.raises(ConfigError, match=r"rails.moderation.omni-moderation-latest: .* no texts of users"):
        compiled(tree("output"))


# -------------------------------------------------------------------------------------------------------------- the table


def test_every_category_of_ours_has_a_row() -> None:
    assert {one.name for one in HAZARDS} | set(TOXIC) <= MODERATED.keys()
    assert {one for categories in MODERATED.values() for one in categories} <= set(CATEGORIES)
    assert all(MODERATED[name] == (name,) for name in CATEGORIES)


NAMES = st.sampled_from([*MODERATED, "email_address", ""])
SCORES = st.floats(0, 1)


@given(
    passed=st.booleans(),
    named=st.tuples(NAMES, SCORES),
    scores=st.lists(st.tuples(NAMES, SCORES)),
    spans=st.lists(st.tuples(NAMES, SCORES)),
)
def test_what_a_verdict_names_is_objected_to_and_nothing_else(
    passed: bool,
    named: tuple[str, float],
    scores: Sequence[tuple[str, float]],
    spans: Sequence[tuple[str, float]],
) -> None:
    category, score = named
    verdict = Verdict(
        passed,
        category,
        score,
        spans=tuple(Span(0, 1, kind.upper(), one) for kind, one in spans),
        scores=tuple(scores),
    )
    told = list(scored(verdict))
    assert {one.category for one in told} <= set(CATEGORIES)
    assert not (passed and any(one.objects for one in told))
    objected = {one.category for one in told if one.objects}
    if not passed:
        assert set(MODERATED.get(category, ())) <= objected
        named_too = {kind for kind, _ in spans} | {name for name, one in scores if one >= min(0.5, score)}
        allowed = {one for name in {category, *named_too} for one in MODERATED.get(name, ())}
        assert objected == allowed
    assert {one.category for one in told if not one.objects} <= {
        one for name, _ in scores for one in MODERATED.get(name, ())
    }
