"""Mistakes in profiles of rails: what a gateway does not start with, and what it is warned of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command

from railed.installed import install
from railed.world import configuration, read
from tidegate import registry
from tidegate.config.rails import RailConfig
from tidegate.errors import ConfigError
from tidegate.policy import plans_of
from tidegate.rails import advice
from tidegate.rails.plan import Plan, compile_plans
from tidegate.types import Surface

RULE = {"kind": "rule"}
CHECK = {"kind": "check"}
ON_INPUT, ON_OUTPUT = {"surfaces": ["input"]}, {"surfaces": ["output"]}


def plan(*rails: dict[str, Any], **profile: Any) -> Plan:
    found = read(configuration(rails, profile=profile))
    return compile_plans(found.rails, ["p"])["p"]


def mistakes(*rails: dict[str, Any], policy: dict[str, Any] | None = None, **profile: Any) -> list[str]:
    """The mistakes of a profile, each with its path."""
    try:
        found = read(configuration(rails, profile=profile, policy=policy))
        compile_plans(found.rails, ["p"])
    except ConfigError as error:
        return [f"{one.path}: {one.message}" for one in error.problems]
    return []


AT = "rails.profiles.p.rails[0]"
LOOP = [
    {**RULE, "name": "a", "on_error": "b"},
    {**RULE, "name": "b", "on_error": "c"},
    {**RULE, "name": "c", "on_error": "a"},
]


MISTAKES: list[tuple[list[dict[str, Any]], dict[str, Any], str, list[str]]] = [
        ([{"kind": "nosuch"}], {}, f"{AT}.kind", ["there is no kind 'nosuch'; there are: ", "blocklist", "rule"]),
        ([{}], {}, f"{AT}.kind", ["is missing; one of: ", "rule"]),
        ([{**RULE, "on_fail": "redact", "points": False}], {}, f"{AT}.on_fail", ["does not say where", "'block'"]),
        ([{**RULE, "on_fail": "fix"}], {}, f"{AT}.on_fail", ["no corrected text", "'block'"]),
        ([{**RULE, "on_fail": "regenerate", "hold": "whole"}], {}, f"{AT}.on_fail", ["answers", "`surfaces: [output]`"]),
        ([{**RULE, **ON_OUTPUT, "on_fail": "regenerate"}], {}, f"{AT}.hold", ["'regenerate'", "`hold: whole`"]),
        ([{**RULE, "on_fail": "fix", "puts": "x"}], {}, f"{AT}.hold", ["'fix'", "`hold: whole`"]),
        ([{**RULE, "on_fail": "review"}], {}, f"{AT}.hold", ["'review'", "`hold: whole`"]),
        ([{"kind": "scans", "on_fail": "review"}], {}, f"{AT}.hold", ["'review'", "`hold: whole`"]),
        ([{**RULE, **ON_INPUT, "once": True, "on_fail": "review"}], {}, f"{AT}.on_fail", ["as a whole", "'block'"]),
        ([{**CHECK, **ON_INPUT, "on_fail": "review"}], {"race": True}, f"{AT}.on_fail", ["`race: false`"]),
        ([RULE], {"after_rounds": "review"}, "rails.profiles.p.after_rounds", ["`on_fail: regenerate`"]),
        ([{**RULE, "on_error": "nosuch"}], {}, f"{AT}.on_error", ["no rail 'nosuch'", "closed or open"]),
        ([{**RULE, "on_error": "rule"}], {}, f"{AT}.on_error", ["rule → rule"]),
        (LOOP, {}, f"{AT}.on_error", ["a → b → c → a"]),
        ([{**RULE, "name": "a", "on_error": "b"}, {**RULE, "name": "b", "only": ["output"]}], {}, f"{AT}.on_error",
         ["'rule' cannot check 'input'"]),
        ([{**RULE, "name": "a", "on_error": "b"}, {**CHECK, "name": "b"}], {}, f"{AT}.on_error",
         ["'a' is a rule", "'b' has to be one"]),
        ([{"kind": "scans", "name": "a", "on_error": "b"}, {**RULE, "name": "b"}], {}, f"{AT}.on_error",
         ["'b' cannot check a stream", "`hold: whole`"]),
        ([{**RULE, "timeout_ms": 5}], {}, f"{AT}.timeout_ms", ["is a rule", "leave it out"]),
        ([{**RULE, "only": ["input"], "surfaces": ["input", "tool"]}], {}, f"{AT}.surfaces",
         ["cannot check 'tool'", "input"]),
        ([{**RULE, "surfaces": []}], {}, f"{AT}.surfaces", []),
        ([{**RULE, "holds": "span"}], {}, f"{AT}.kind", ["has no scanner"]),
        ([RULE, RULE], {}, "rails.profiles.p.rails", ["two rails named 'rule'", "another `name`"]),
        ([{**CHECK, **ON_INPUT, "on_fail": "redact"}], {"race": True}, f"{AT}.on_fail", ["`race: false`"]),
        ([{**CHECK, **ON_INPUT, "on_fail": "fix", "puts": "x"}], {"race": True}, f"{AT}.on_fail", ["`race: false`"]),
        ([{**CHECK, "on_fail": "redact"}, {**RULE, "on_fail": "redact"}], {}, "rails.profiles.p.rails[1]",
         ["'rule' is a rule", "'check': list it first"]),
]  # fmt: skip


@pytest.mark.parametrize(("rails", "profile", "path", "says"), MISTAKES)
def test_a_mistake_is_told_with_its_place_and_the_fix(
    rails: list[dict[str, Any]], profile: dict[str, Any], path: str, says: list[str]
) -> None:
    found = mistakes(*rails, **profile)
    told = next(one for one in found if one.startswith(f"{path}: "))
    assert all(word in told for word in says), told


def test_every_mistake_of_every_profile_is_told_at_once() -> None:
    wrong = {**RULE, "on_fail": "fix"}
    tree = configuration([wrong, {**wrong, "name": "b"}], section={"profiles": {"q": {"rails": [wrong]}}})
    with pytest.raises(ConfigError) as raised:
        compile_plans(read(tree).rails, [])
    paths = {one.path for one in raised.value.problems}
    assert {
        f"{AT}.on_fail",
        "rails.profiles.p.rails[1].on_fail",
        "rails.profiles.q.rails[0].on_fail",
    } <= paths


@pytest.mark.parametrize(
    "rails",
    [
        [{**CHECK, **ON_OUTPUT, "on_fail": "redact"}],
        [{**RULE, **ON_INPUT, "on_fail": "redact"}, CHECK],
    ],
)
def test_a_race_may_have_rails_that_change_texts_before_it_and_behind_it(rails: list[dict[str, Any]]) -> None:
    assert mistakes(*rails, race=True) == []


class Broken:
    Config = RailConfig
    how = ""

    def __init__(self, settings: RailConfig) -> None:
        if self.how == "raises":
            raise RuntimeError(settings.kind, "a secret")
        if self.how == "says why":
            raise ValueError("words_path: there is no such file: name one that exists")


class Unsaid(Broken):
    def check(self, views: object, scene: object) -> None: ...


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raises", "'broken' cannot be made: RuntimeError; the log says more"),
        ("says why", "words_path: there is no such file: name one that exists"),
        ("says nothing", "its `about` has to be a RailFacts"),
    ],
)
def test_a_rail_that_cannot_be_made_keeps_the_gateway_from_starting(
    how: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(tmp_path, monkeypatch, broken=f"{__name__}:Unsaid")
    monkeypatch.setattr(registry.find("tidegate.rails", "broken"), "how", how)
    [found] = mistakes({"kind": "broken"})
    assert found.startswith(f"{AT}: ")
    assert says in found
    assert "a secret" not in found


def test_a_policy_that_names_no_profile_there_is_is_told_the_profiles() -> None:
    [found] = mistakes(RULE, policy={"rails": "nosuch"})
    assert found.startswith("policies.default.rails: ")
    assert "'nosuch'" in found
    assert all(name in found for name in ("none", "p", "rules", "strict"))
    [found] = mistakes(RULE, policy={"stricter_rails": ["strict", "nosuch"]})
    assert found.startswith("policies.default.stricter_rails[1]: ")
    assert "'nosuch'" in found
    assert mistakes(RULE, policy={"rails": "none"}) == []
    assert mistakes(RULE, policy={"rails": "strict", "stricter_rails": ["p"]}) == []


def test_no_rails_cannot_be_stricter_than_some() -> None:
    [found] = mistakes(RULE, policy={"stricter_rails": ["none"]})
    assert found.startswith("policies.default.stricter_rails[0]: ")


def test_the_profile_that_stands_for_no_rails_cannot_be_configured() -> None:
    tree = configuration([RULE], section={"profiles": {"none": {"rails": [RULE]}}})
    with pytest.raises(ConfigError, match="choose another name"):
        read(tree)


def test_a_rail_checks_the_surfaces_for_which_it_is_made_unless_the_profile_names_some() -> None:
    found = plan({**RULE, "only": ["input", "output"]})
    assert [step.surfaces for step in found.input_rules] == [{Surface.INPUT, Surface.OUTPUT}]
    assert len(found.output_rules) == 1
    found = plan({**RULE, "surfaces": ["tool"]})
    assert found.output_rules == ()
    assert [step.surfaces for step in found.input_rules] == [{Surface.TOOL}]


def warnings(*rails: dict[str, Any], **section: Any) -> list[str]:
    found = advice.warnings(plans_of(read(configuration(rails, section=section))).values())
    return [f"{one.path}: {one.message}" for one in found]


def test_check_tells_the_mistakes_and_warnings_of_rails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tidegate.yaml"
    path.write_text(json.dumps(configuration([{**CHECK, "usual_ms": 900}])))
    status, out, _ = run_command(monkeypatch, capsys, "check", "--config", str(path), "--json")
    assert status == 0
    assert "rails.budget_ms is 150 ms" in out
    path.write_text(json.dumps(configuration([{**RULE, "on_fail": "fix"}])))
    status, _, told = run_command(monkeypatch, capsys, "check", "--config", str(path))
    assert status == 2
    assert f"{AT}.on_fail" in told


def test_rails_that_take_longer_than_their_budget_are_warned_of() -> None:
    usual = {"kind": "check", "usual_ms": 100, **ON_INPUT}
    slow, other = {**usual, "name": "slow"}, {**usual, "name": "other"}
    assert warnings(slow, other) == []  # side by side
    rewriting = [{**one, "on_fail": "redact"} for one in (slow, other)]
    [found] = warnings(*rewriting)  # one after the other
    assert found.startswith("rails.profiles.p: ")
    assert all(word in found for word in ("200 ms", "rails.budget_ms", "150 ms", "on_error"))
    assert warnings(*rewriting, budget_ms=200) == []
    assert warnings({**rewriting[0], "usual_ms": 50}, rewriting[1]) == []  # 150 ms in all
    judge = {**usual, "tier": 2, "usual_ms": 4000}
    [found] = warnings(judge)
    assert all(word in found for word in ("4000 ms", "rails.judge_budget_ms", "3000 ms"))
    [found] = warnings({**usual, "timeout_ms": 50})
    assert found.startswith(f"{AT}.timeout_ms: ")
    assert "100 ms" in found
    # A rail that is cut off needs no more than its timeout, whether it changes texts or not.
    found = warnings(*({**one, "timeout_ms": 70} for one in rewriting))
    assert [one.partition(": ")[0] for one in found] == [
        f"rails.profiles.p.rails[{at}].timeout_ms" for at in (0, 1)
    ]


def test_surfaces_are_checked_at_different_times_so_each_has_the_budget() -> None:
    slow = {"kind": "check", "usual_ms": 100, "on_fail": "redact"}
    assert warnings({**slow, "name": "a", **ON_INPUT}, {**slow, "name": "b", **ON_OUTPUT}) == []
