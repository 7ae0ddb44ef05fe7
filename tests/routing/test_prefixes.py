"""Calls that share a system prompt find it in the cache of an engine, and no engine gets too many of them."""

from __future__ import annotations

import pytest
import virtual

from routing.prefixes import Figures, Rule, least_busy, play, round_robin

LEAST_CACHED, MOST_LOADED = 0.9, 1.3


def test_twenty_system_prompts_over_four_replicas_are_read_again_by_hardly_any():
    found = virtual.run(play("prefix"))
    assert found.cached >= LEAST_CACHED, found
    assert found.balance <= MOST_LOADED, found


@pytest.mark.parametrize("rule", ["none", round_robin(), least_busy])
def test_without_affinity_most_prompts_are_read_again(rule: Rule | str):
    found: Figures = virtual.run(play(rule))
    assert found.cached < 0.6, found
    assert found.balance <= MOST_LOADED, found


def test_one_system_prompt_for_all_calls_does_not_overload_one_replica():
    found = virtual.run(play("prefix", prompts=1, clients=200))
    assert found.balance <= MOST_LOADED, found
    assert found.cached >= LEAST_CACHED, found
