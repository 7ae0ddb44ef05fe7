"""Each engine gets the form in the fields that its kind enforces, whatever the client's spelling."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from plain_engine import PlainEngine

from tidegate.call import Call
from tidegate.config import StructureConfig
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.dispatch.seats import Seats
from tidegate.engines import fields
from tidegate.errors import BadRequest
from tidegate.http.apis import openai
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.asking import ask_for
from tidegate.stages.demanded import DEMANDING
from tidegate.stages.route import Route
from tidegate.types import Abilities, Ask, Batch, Capabilities, Endpoint, Exit

FIELDS = {"openai": fields.OPENAI, "vllm": fields.VLLM, "sglang": fields.SGLANG, "llamacpp": fields.LLAMACPP}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
GRAMMAR = 'root ::= "a" | "b"'


class Of(PlainEngine):
    def __init__(self, kind: str) -> None:
        self.capabilities = Capabilities(FIELDS[kind], spelling=kind)

    def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        raise AssertionError(f"{ask.call_id} is only routed")


def deployment(kind: str, can: Abilities = Abilities()) -> Deployment:  # noqa: B008 - frozen
    return Deployment(kind, Of(kind), Seats(), can=can)


def routed(
    *deployments: Deployment, endpoint: Endpoint = Endpoint.CHAT, check: bool = True, **demand: Any
) -> Call:
    text: dict[str, Any] = (
        {"messages": [{"role": "user", "content": "hi"}]} if endpoint is Endpoint.CHAT else {"prompt": "hi"}
    )
    raw = json.dumps({"model": "m", **text, **demand}).encode()
    call = Call(id="i", endpoint=endpoint, exit=Exit(), arrived_at=0.0, received_at=0.0, deadline=60.0)
    openai.read(raw, call)
    rules = {"m": StructureConfig(check=check)}
    Route(Models({"m": deployments}), OutputEstimate(), rules)(call)
    return call


def told(kind: str, endpoint: Endpoint = Endpoint.CHAT, **demand: Any) -> dict[str, Any]:
    """The fields about the form that an engine gets."""
    one = deployment(kind)
    asked = ask_for(routed(one, endpoint=endpoint, **demand), one)
    assert asked.fields.keys() <= FIELDS[kind][endpoint]
    return {name: json.loads(bytes(raw)) for name, raw in asked.fields.items() if name in DEMANDING}


SCHEMAS = [
    {"response_format": FORMAT},
    {"structured_outputs": {"json": SCHEMA}},
    {"guided_json": SCHEMA},
    {"json_schema": SCHEMA},
]


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("demand", SCHEMAS, ids=lambda demand: next(iter(demand)))
def test_a_schema_reaches_every_engine(kind: str, demand: dict[str, Any]) -> None:
    ((name, value),) = told(kind, **demand).items()
    found = {
        "response_format": lambda: value["json_schema"]["schema"],
        "structured_outputs": lambda: value["json"],
        "json_schema": lambda: value,
    }[name]()
    assert found == SCHEMA


@pytest.mark.parametrize("demand", SCHEMAS[1:], ids=lambda demand: next(iter(demand)))
def test_a_schema_reaches_completions_of_engines_that_enforce_it(demand: dict[str, Any]) -> None:
    assert told("vllm", Endpoint.COMPLETIONS, **demand) == {"structured_outputs": {"json": SCHEMA}}
    assert told("llamacpp", Endpoint.COMPLETIONS, **demand) == {"json_schema": SCHEMA}
    assert json.loads(told("sglang", Endpoint.COMPLETIONS, **demand)["json_schema"]) == SCHEMA
    assert told("openai", Endpoint.COMPLETIONS, **demand) == {}


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (
            {"guided_regex": "[ab]"},
            {"vllm": {"structured_outputs": {"regex": "[ab]"}}, "sglang": {"regex": "[ab]"}},
        ),
        ({"regex": "[ab]"}, {"llamacpp": {"grammar": "root ::= [ab]"}, "openai": {}}),
        ({"guided_choice": ["a", "b"]}, {"sglang": {"regex": "(a|b)"}, "llamacpp": {"grammar": GRAMMAR}}),
        (
            {"ebnf": GRAMMAR},
            {"vllm": {"structured_outputs": {"grammar": GRAMMAR}}, "llamacpp": {"grammar": GRAMMAR}},
        ),
        ({"grammar": GRAMMAR}, {"sglang": {"ebnf": GRAMMAR}, "openai": {}}),
        ({"guided_regex": "(?=a)a"}, {"llamacpp": {}}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_patterns_choices_and_grammars_too(demand: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {kind: told(kind, **demand) for kind in expected} == expected


def test_what_an_engine_understands_keeps_its_bytes() -> None:
    one = deployment("vllm")
    call = routed(one, response_format=FORMAT)
    assert ask_for(call, one).fields is call.fields


def test_a_call_goes_to_deployments_that_enforce_its_form() -> None:
    call = routed(deployment("openai"), deployment("vllm"), guided_regex="[ab]")
    assert [one.engine_name for group in call.groups for one in group.deployments] == ["vllm"]


def test_a_model_that_follows_no_schema_is_not_told_of_it_and_checked_all_the_same() -> None:
    one = deployment("openai", Abilities(schemas=False))
    call = routed(one, response_format=FORMAT)
    assert "response_format" not in ask_for(call, one).fields
    assert call.demand is not None
    assert call.demand.checker is not None


def test_without_the_check_a_field_that_nobody_enforces_is_refused() -> None:
    with pytest.raises(BadRequest, match="guided_regex"):
        routed(deployment("openai"), check=False, guided_regex="[ab]")
    with pytest.raises(BadRequest, match="follows a schema"):
        routed(deployment("openai", Abilities(schemas=False)), check=False, response_format=FORMAT)


@pytest.mark.parametrize(
    ("demand", "param"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 5}}}},
            "response_format",
        ),
        ({"guided_choice": "a"}, "guided_choice"),
        ({"guided_regex": "("}, "guided_regex"),
        ({"response_format": FORMAT, "guided_json": SCHEMA}, "guided_json"),
    ],
)
def test_a_form_that_cannot_be_is_refused_by_name(demand: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        routed(deployment("vllm"), **demand)
    assert (raised.value.param or "").startswith(param)
