"""The form that a request demands of its answer, and the fields in which each engine is told of it.

A request may demand a form in the spelling of any engine. An engine gets it in its own spelling. One that cannot enforce it
gets the request without the field, if the gateway checks the answer: `structured.py` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tidegate.call import Call, Demand
from tidegate.config import StructureConfig
from tidegate.dispatch.deployments import Deployment
from tidegate.errors import BadRequest
from tidegate.structure.asked import FIELDS, Shape, asked, respelled
from tidegate.structure.checker import checker_of
from tidegate.structure.tools import stray_results, tools_of
from tidegate.types import Endpoint

TOOLS = "tools"
DEMANDING = FIELDS | {TOOLS}
"""The fields that can demand a form. A request with none of them costs one look at its names."""
USUAL = StructureConfig()
STRUCTURE = b"x-tidegate-structure"
"""The header that says what became of the form that the request demands."""
JUDGE = "judge:"
"""The beginning of the purposes of judges. Their answers are not repaired: text around a verdict may say the opposite."""
EDITED = "edited"
"""The outcome of an answer that a person has edited. Its form is not checked: the person decides what leaves."""


def demand_of(call: Call, rules: StructureConfig) -> Demand | None:
    """Return what a request demands, under the settings of its model. Raises BadRequest that names the field."""
    if call.endpoint is Endpoint.EMBEDDINGS:
        return None
    shape = asked(call.fields)
    tools = None
    if rules.check and TOOLS in call.fields:
        tools = tools_of(call.fields)
        if not call.is_large and (stray := stray_results([one.raw for one in call.messages])):
            raise BadRequest(f"{stray}; send the call too, or leave the result out", param="messages")
    if shape is None and tools is None:
        return None
    if call.purpose.startswith(JUDGE):
        rules = rules.model_copy(update={"repair": False})
    checker = checker_of(shape) if rules.check and shape is not None else None
    return Demand(shape, TOOLS if shape is None else shape.field, rules, checker, tools)


def fields_for(call: Call, deployment: Deployment) -> Mapping[str, msgspec.Raw]:
    """Return the fields of a request for one deployment, with the form in the spelling of its engine."""
    demand = call.demand
    if demand is None or demand.shape is None:
        return call.fields
    spelled = _spelled(call, demand.shape, deployment)
    if spelled is not None:
        return spelled
    if not demand.rules.check:
        return call.fields
    return {name: raw for name, raw in call.fields.items() if name != demand.shape.field}


def enforces(call: Call, deployment: Deployment) -> bool:
    """Return whether the engine is told of the form that a request demands."""
    demand = call.demand
    return demand is None or demand.shape is None or _spelled(call, demand.shape, deployment) is not None


def enforcing(call: Call, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
    """Return the deployments whose engines are told of the form, or all if there are none."""
    found = [one for one in deployments if enforces(call, one)]
    return found if 0 < len(found) < len(deployments) else deployments


def note_outcome(call: Call, demand: Demand, outcome: str) -> None:
    """Note what became of the form that a request demands, in place of what was noted before."""
    demand.outcome = outcome
    headers = call.reply_headers
    headers[:] = [one for one in headers if one[0] != STRUCTURE]
    headers.append((STRUCTURE, outcome.encode("ascii")))


def described(call: Call, deployment: Deployment) -> str:
    """Return what becomes of the form that a request demands, for people."""
    demand = call.demand
    assert demand is not None, "the caller has looked"
    if demand.shape is None:
        return "checks the arguments of tool calls"
    told = fields_for(call, deployment).keys() & FIELDS
    to = f"as '{min(told)}'" if told else "not, since it cannot enforce it"
    said = f"the engine is told of the form ({demand.shape.kind} in '{demand.field}') {to}"
    if demand.checker is None:
        return f"{said}; the answer is not checked"
    if not call.stream:
        return f"{said}; the answer is checked"
    if demand.rules.hold == "whole":
        return f"{said}; the stream is held until its end is checked"
    left = demand.checker.unsupported
    return f"{said}; the stream is checked as it arrives" + (f", and at its end {left}" if left else "")


def _spelled(call: Call, shape: Shape, deployment: Deployment) -> Mapping[str, msgspec.Raw] | None:
    """Return the fields with the form in a spelling that the engine takes, or None if there is none."""
    capabilities = deployment.engine.capabilities
    allowed = capabilities.fields.get(call.endpoint)
    if allowed is None or (not deployment.can.schemas and shape.kind != "json_object"):
        return None
    for spelling in dict.fromkeys((capabilities.spelling, "openai")):
        fields = respelled(call.fields, shape, spelling)
        told = (fields.keys() - call.fields.keys()) or (fields.keys() & {shape.field})
        if told and told <= allowed:
            return fields
    return None
