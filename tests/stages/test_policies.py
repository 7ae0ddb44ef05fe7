"""Which policy applies to a key, and what is left of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.config import parse_text
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.dispatch.seats import Seats
from tidegate.errors import Forbidden, ModelNotFound
from tidegate.kernel.patterns import Patterns
from tidegate.policy import Policies, Policy, compile_policies
from tidegate.types import Caller, Key
from tidegate.types.quota import Tenant

LEVELS = ("key", "user", "team", "organisation")
ANN = Caller(key="k", user="ann", team="blue", organisation="acme")


def compiled(**sections: Any) -> Policies:
    config = parse_text(
        json.dumps({"engines": {"e": {"kind": "scripted"}}, **MODELS, **sections}), source="x"
    )
    return compile_policies(config, config.server)


MODELS = {"models": {"*": {"deployments": [{"engine": "e"}]}}}
NAMED = {name: {} for name in LEVELS}


def tree(levels: set[str]) -> dict[str, Any]:
    def policy(level: str) -> dict[str, str]:
        return {"policy": level} if level in levels else {}

    team = {**policy("team"), "users": {"ann": policy("user")}}
    return {"acme": {**policy("organisation"), "teams": {"blue": team}}}


@given(st.sets(st.sampled_from(LEVELS)))
def test_the_nearest_policy_applies(levels: set[str]) -> None:
    policies = compiled(policies=NAMED, organisations=tree(levels))
    key = Key(id="1", secrets=(), caller=ANN, policy="key" if "key" in levels else "")
    nearest = next((level for level in LEVELS if level in levels), "default")
    assert policies.of(key).name == nearest
    assert policies.nearest(key) == ("" if nearest == "default" else nearest, nearest)


def test_a_tenant_of_the_store_counts_at_its_own_level() -> None:
    policies = compiled(policies=NAMED, organisations=tree({"organisation"}))
    above = (Tenant("acme", "blue", policy="team"),)
    assert policies.of(Key(id="1", secrets=(), caller=ANN, above=above)).name == "team"
    # The same key with another tenant above it is another object, and is looked at anew.
    assert policies.of(Key(id="1", secrets=(), caller=ANN)).name == "organisation"


@pytest.mark.parametrize("level", ["organisation", "team", "user"])
def test_the_configuration_decides_over_the_store(level: str) -> None:
    policies = compiled(policies={**NAMED, "other": {}}, organisations=tree({level}))
    names = {"organisation": (), "team": ("blue",), "user": ("blue", "ann")}[level]
    above = (msgspec.structs.replace(Tenant("acme", *names), policy="other"),)
    configured = Key(id="1", secrets=(), caller=ANN)
    stored = Key(id="2", secrets=(), caller=ANN, above=above)
    assert policies.namings(stored) == policies.namings(configured)
    assert policies.of(stored).name == level


def test_a_tenant_without_a_policy_in_the_configuration_may_have_one_in_the_store() -> None:
    policies = compiled(policies=NAMED, organisations=tree(set()))
    above = (Tenant("acme", "blue", policy="team"),)
    assert policies.of(Key(id="1", secrets=(), caller=ANN, above=above)).name == "team"


def test_a_policy_that_is_not_there_refuses_the_key() -> None:
    with pytest.raises(Forbidden, match="The policy 'gone' of this key does not exist"):
        compiled().of(Key(id="1", secrets=(), caller=ANN, policy="gone"))


def test_a_second_look_at_a_key_compiles_nothing() -> None:
    policies = compiled(policies={"default": {"models": ["a*"]}})
    key = Key(id="1", secrets=(), caller=ANN, models=("ab", "b"))
    assert policies.of(key) is policies.of(key)


@pytest.mark.parametrize(
    ("policy", "key", "left"),
    [
        (["*"], ["small"], ("small",)),
        (["gpt-*"], ["gpt-4*", "small"], ("gpt-4*",)),
        (["gpt-4"], ["*"], ("gpt-4",)),
        (["gpt-4"], ["small"], ()),
        (["a*", "b"], ["b*", "ab"], ("ab", "b")),
    ],
)
def test_a_key_may_only_narrow_the_models_of_its_policy(
    policy: list[str], key: list[str], left: tuple[str, ...]
) -> None:
    found = compiled(policies={"default": {"models": policy}}).of(
        Key(id="1", secrets=(), caller=ANN, models=tuple(key))
    )
    assert found.models is not None
    assert found.models.listed == left


def test_no_policy_goes_beyond_the_server() -> None:
    server = {"call_deadline_s": 60, "max_body_bytes": 1000}
    found = compiled(
        server=server,
        policies={
            "more": {"defaults": {"deadline_s": 61, "max_body_bytes": 1001}},
            "less": {
                "defaults": {"deadline_s": 5, "max_body_bytes": 10, "max_tokens": 7, "priority": "batch"}
            },
        },
    ).named
    assert (found["more"].deadline_s, found["more"].max_body_bytes) == (60, 1000)
    assert (found["default"].deadline_s, found["default"].max_body_bytes) == (60, 1000)
    less = found["less"]
    assert (less.deadline_s, less.max_body_bytes, less.max_tokens, less.priority.name) == (5, 10, 7, "batch")


def digests(**sections: Any) -> dict[str, bytes]:
    return {name: policy.digest for name, policy in compiled(**sections).named.items()}


def test_the_digest_changes_with_what_can_change_an_answer_and_not_with_who_asks() -> None:
    policies = {"a": {}, "b": {"defaults": {"max_tokens": 5}}}
    before = digests(policies=policies)
    assert before["a"] != before["b"]
    assert digests(policies=policies, keys={"k": {"secret": "x" * 20}}) == before
    assert digests(policies=policies, auth={"mode": "none"}) == before
    other = digests(policies={**policies, "a": {"defaults": {"max_tokens": 6}}})
    assert other["a"] != before["a"]
    assert other["b"] == before["b"]
    engines = {"e": {"kind": "scripted", "ttft_ms": 1}}
    assert not set(digests(policies=policies, engines=engines).values()) & set(before.values())


def test_internal_calls_may_ask_for_any_model() -> None:
    assert compiled(policies={"default": {"models": ["small"]}}).house.models is None


# ------------------------------------------------------------------------------------------------------------- visibility

ENGINE: Any = object()
CONFIGURED = ("gpt-4o", "gpt-*", "small", "llama-*")


def models() -> Models:
    return Models({name: [Deployment("e", ENGINE, Seats())] for name in CONFIGURED})


@pytest.mark.parametrize(
    ("allowed", "visible"),
    [
        (["*"], ["gpt-*", "gpt-4o", "llama-*", "small"]),
        (["gpt-*"], ["gpt-*", "gpt-4o"]),
        (["small", "gpt-4o"], ["gpt-4o", "small"]),
        (["gpt-5", "unknown"], ["gpt-5"]),
        (["l*"], ["llama-*"]),
        (["llama-3*"], ["llama-3*"]),
        (["unknown"], []),
    ],
)
def test_a_caller_sees_what_its_policy_allows(allowed: list[str], visible: list[str]) -> None:
    assert models().visible(Patterns(allowed)) == visible


def test_a_model_that_is_not_allowed_is_refused_like_one_that_does_not_exist() -> None:
    def refusal(model: str, names: tuple[str, ...]) -> str:
        known = Models({name: [Deployment("e", ENGINE, Seats())] for name in names})
        with pytest.raises(ModelNotFound) as raised:
            known.find(model, Patterns(["small"]))
        return raised.value.message

    for model in ("gpt-4o", "gpt-9", "llama-3", "smal", "Small", "gpt4o", ""):
        assert refusal(model, CONFIGURED) == refusal(model, ("small",))
    assert "did you mean 'small'?" in refusal("smal", CONFIGURED)


@given(
    st.sampled_from(["gpt-4o", "gpt-9", "small", "llama-3", "x", "gpt-"]),
    st.lists(st.sampled_from(["*", "gpt-*", "gpt-4o", "small", "l*", "x", "gpt-9"]), max_size=3),
)
def test_exactly_the_visible_models_are_found(model: str, allowed: list[str]) -> None:
    found, patterns = models(), Patterns(allowed)
    if model in Patterns(found.visible(patterns)):
        assert found.find(model, patterns) == found.find(model)
    else:
        with pytest.raises(ModelNotFound):
            found.find(model, patterns)


def test_an_anonymous_policy_allows_all() -> None:
    assert Policy().models is None
