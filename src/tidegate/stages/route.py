"""The stage `route`: finds the deployments that can serve a call and puts them in the order to try them.

A model name matches a configured model of the same name, or else the longest configured prefix (`gpt-*`). Deployments that
the caller's policy does not allow, and those that cannot serve the request, are left out first, before any engine is asked:
no engine refuses what another one can do. `dispatch/choice.py` puts the others in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tidegate.call import Call
from tidegate.config import StructureConfig
from tidegate.dispatch.choice import Choice
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.errors import BadRequest, GatewayError, NotSupported
from tidegate.kernel.fairqueue import INPUT, OUTPUT
from tidegate.kernel.nearest import nearest
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.demanded import DEMANDING, USUAL, demand_of, enforcing, fields_for
from tidegate.stages.needs import expected_tokens, prompt_tokens
from tidegate.stages.prefix import key_of
from tidegate.stages.wants import able_of, why_not


class Route:
    """Orders the deployments that can serve a call. It takes no seat and no permit."""

    def __init__(
        self,
        models: Models,
        lengths: OutputEstimate,
        structures: Mapping[str, StructureConfig] = MappingProxyType({}),
    ) -> None:
        """`lengths` knows how long answers are. `structures` has the setting `structure` by the name of a model."""
        self._models = models
        self._structures = structures
        self._lengths = lengths
        self._choices = {
            name: Choice(name, found, affinity=models.affinities.get(name, "none"))
            for name, found in models.items()
        }
        shared = [
            one.seats for choice in self._choices.values() if choice.has_several for one in choice.deployments
        ]
        self._weighed = {
            name
            for name, choice in self._choices.items()
            if any(one.seats is seats for one in choice.deployments for seats in shared)
        }
        """The models whose calls count for a choice by load, be it that of another model on the same engine."""

    def __call__(self, call: Call) -> None:
        """Set the call's groups, the best one first. Raises ModelNotFound, NotSupported, BadRequest."""
        deployments = call.deployments or deployments_of(call, self._models)
        choice, work = self._choices[call.route], 0
        if not DEMANDING.isdisjoint(call.fields):
            call.demand = demand_of(call, self._structures.get(call.route, USUAL))
        able = _able(call, choice, deployments)
        if call.route in self._weighed:
            work = INPUT * prompt_tokens(call) + OUTPUT * expected_tokens(call, self._lengths)
            if call.place is not None:
                call.place.work = work
        key = None if choice.affinity == "none" else key_of(call, choice.affinity)
        call.groups = choice.groups(able, key, work)

    def foretell(self, call: Call) -> str:
        """Set the groups and describe them as if all engines were idle and ready. Raises what the stage raises."""
        deployments = deployments_of(call, self._models)
        choice = self._choices[call.route]
        call.demand = demand_of(call, self._structures.get(call.route, USUAL))
        able = _able(call, choice, deployments)
        call.groups = groups = choice.groups(able)
        matched = "" if call.route == call.model else f", which matches '{call.route}'"
        first = groups[0].deployments
        of = f" (the first of {len(able)})" if len(able) > 1 else ""
        told = f"model '{call.model}'{matched}: engine '{first[0].engine_name}'{of}"
        out = [f"'{one.engine_name}' ({why})" for one, why in self._left_out(call, able)]
        return f"{told}; left out: {', '.join(out)}" if out else told

    def _left_out(self, call: Call, able: Sequence[Deployment]) -> list[tuple[Deployment, str]]:
        """The deployments that are left out, with the reasons."""
        allowed, found = deployments_of(call, self._models), list[tuple[Deployment, str]]()
        for one in self._choices[call.route].deployments:
            if any(one is other for other in able):
                continue
            if not any(one is other for other in allowed):
                missing = sorted(call.policy.tags - one.tags)
                found.append((one, f"the policy '{call.policy.name}' asks for the tag '{missing[0]}'"))
            elif takers(call, [one]):
                found.append((one, why_not(call, one)))
            else:
                found.append((one, _nearest_refusal(call, [one]).message))
        return found


def _able(call: Call, choice: Choice, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
    """Return those of the deployments that can serve a call; if all can, this very sequence."""
    able = takers(call, deployments)
    if not able:
        raise _nearest_refusal(call, deployments)
    found = deployments if len(able) == len(deployments) else able
    found = able_of(call, found) if choice.restricts else found
    return found if call.demand is None else enforcing(call, found)


def deployments_of(call: Call, models: Models) -> Sequence[Deployment]:
    """Return the deployments of a call's model, and note them in the call. Raises ModelNotFound."""
    if not call.deployments:
        call.route, call.deployments = models.find(call.model, call.policy.models, call.policy.tags)
    return call.deployments


def takers(call: Call, deployments: Sequence[Deployment]) -> list[Deployment]:
    """Return the deployments whose engines serve the endpoint of a call and accept all of its fields."""
    endpoint, names = call.endpoint, call.fields.keys()
    found: list[Deployment] = []
    for one in deployments:
        allowed = one.engine.capabilities.fields.get(endpoint)
        if allowed is not None and (names <= allowed or fields_for(call, one).keys() <= allowed):
            found.append(one)
    return found


def _nearest_refusal(call: Call, deployments: Sequence[Deployment]) -> GatewayError:
    """The refusal of the deployment that comes nearest: one that serves the endpoint names the field."""
    for deployment in deployments:
        if (allowed := deployment.engine.capabilities.fields.get(call.endpoint)) is not None:
            name = min(call.fields.keys() - allowed)
            return BadRequest(_advice(call, name, allowed), param=name)
    return NotSupported(f"The model '{call.model}' does not serve /v1/{call.endpoint.value}", param="model")


def _advice(call: Call, name: str, allowed: frozenset[str]) -> str:
    meant = nearest(name, sorted(allowed - call.fields.keys()))
    mend = f"did you mean '{meant}'?" if meant else "leave it out"
    return f"The field '{name}' is not accepted for the model '{call.model}'; {mend}"
