"""The stage `route`: finds the deployments that can serve a call and puts them in the order to try them.

A model name matches a configured model of the same name, or else the longest configured prefix (`gpt-*`). Deployments that
cannot take the request are left out first. Ready deployments come before those that are not ready, and among each of
these the least busy comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.call import Call
from tidegate.dispatch.deployments import Deployment, Group, Models
from tidegate.errors import BadRequest, GatewayError, NotSupported
from tidegate.kernel.nearest import nearest


class Route:
    """Orders the deployments that can serve a call. It takes no seat and no permit."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._turn = 0

    def __call__(self, call: Call) -> None:
        """Set the call's groups, the best one first. Raises ModelNotFound, NotSupported, BadRequest."""
        able = self._able(call)
        if len(able) > 1:
            # The list is rotated by one for each call, so that equally busy deployments take turns: the sort is stable.
            self._turn += 1
            first = self._turn % len(able)
            able = sorted(able[first:] + able[:first], key=_busyness)
        call.groups = (Group(call.route, able, "load" if len(able) > 1 else "only"),)

    def foretell(self, call: Call) -> str:
        """Set the groups and describe them as if all engines were idle and ready. Raises what the stage raises."""
        able = self._able(call)
        call.groups = (Group(call.route, able, "load" if len(able) > 1 else "only"),)
        matched = "" if call.route == call.model else f", which matches '{call.route}'"
        of = f" (the first of {len(able)}; the least busy is taken)" if len(able) > 1 else ""
        return f"model '{call.model}'{matched}: engine '{able[0].engine_name}'{of}"

    def _able(self, call: Call) -> list[Deployment]:
        deployments = deployments_of(call, self._models)
        able = [one for one in deployments if takes(call, one)]
        if not able:
            raise _nearest_refusal(call, deployments)
        return able


def deployments_of(call: Call, models: Models) -> Sequence[Deployment]:
    """Return the deployments of a call's model, and note them in the call. Raises ModelNotFound."""
    if not call.deployments:
        call.route, call.deployments = models.find(call.model, call.policy.models)
    return call.deployments


def _busyness(deployment: Deployment) -> tuple[bool, int]:
    seats, standing = deployment.seats, deployment.standing
    return (not seats.ready or (standing is not None and standing.out), seats.in_flight + seats.waiting)


def takes(call: Call, deployment: Deployment) -> bool:
    """Whether a deployment can serve a call."""
    allowed = deployment.engine.capabilities.fields.get(call.endpoint)
    return allowed is not None and call.fields.keys() <= allowed


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
