"""The built-in profiles: what they do with the texts for which they are made."""

from __future__ import annotations

import pytest

from tidegate.config.rails import RULES, STRICT, RailsConfig
from tidegate.rails.plan import compile_plans
from tidegate.types import Action, Surface

PLANS = compile_plans(RailsConfig(), [RULES, STRICT])
IN = {Surface.INPUT, Surface.RETRIEVAL, Surface.TOOL}
EVERY = {*IN, Surface.OUTPUT}


@pytest.mark.parametrize(
    ("profile", "rail", "on_fail", "surfaces"),
    [
        (RULES, "injection", Action.BLOCK, IN),
        (RULES, "secrets", Action.REDACT, {Surface.INPUT, Surface.OUTPUT}),
        (RULES, "pii", Action.LOG, {Surface.INPUT, Surface.OUTPUT}),
        (RULES, "hidden_text", Action.LOG, IN),
        (STRICT, "injection", Action.BLOCK, IN),
        (STRICT, "secrets", Action.REDACT, EVERY),
        (STRICT, "pii", Action.REDACT, EVERY),
        (STRICT, "hidden_text", Action.BLOCK, IN),
    ],
)
def test_a_rail_acts_on_its_surfaces(profile: str, rail: str, on_fail: Action, surfaces: set[Surface]):
    (step,) = {one for one in PLANS[profile].steps if one.name == rail}
    assert (step.on_fail, step.surfaces) == (on_fail, surfaces)
    assert step.closed


def test_the_strict_profile_needs_less_to_block():
    kinds = {
        name: {rail.kind: rail for rail in plan.profile.rails}["injection"].model_dump()["threshold"]
        for name, plan in PLANS.items()
    }
    assert kinds == {RULES: "high", STRICT: "medium"}


def test_answers_are_never_held_back_as_a_whole():
    assert not any(step.whole for plan in PLANS.values() for step in plan.output_rules)
