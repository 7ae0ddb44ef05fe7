"""Which model on which engine serves the call; the engine's slot is taken here, at dispatch.

A name matches a configured model exactly, or the longest configured prefix (`gpt-*`). Of several deployments the one with
the fewest calls in flight and in line serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.errors import BadRequest, ModelNotFound, NotSupported
from tidegate.ports import Clock
from tidegate.types import Call, Deployment


class Models:
    """The configured models, by name and by prefix."""

    def __init__(self, deployments: Mapping[str, Sequence[Deployment]]) -> None:
        self._exact = {name: found for name, found in deployments.items() if not name.endswith("*")}
        prefixes = (name for name in deployments if name.endswith("*"))
        self._prefixes = [(name[:-1], name) for name in sorted(prefixes, key=len, reverse=True)]
        self._deployments = deployments

    @property
    def names(self) -> list[str]:
        """What clients may ask for."""
        return sorted(self._deployments)

    def find(self, model: str) -> tuple[str, Sequence[Deployment]]:
        """The configured name that a model matches, and its deployments. Raises ModelNotFound."""
        if found := self._exact.get(model):
            return model, found
        for prefix, name in self._prefixes:
            if model.startswith(prefix):
                return name, self._deployments[name]
        raise ModelNotFound(f"There is no model '{model}'; there are: {', '.join(self.names)}", param="model")


class Route:
    """The stage `route`."""

    def __init__(self, models: Models, clock: Clock) -> None:
        self._models = models
        self._clock = clock

    async def __call__(self, call: Call) -> None:
        """Choose a deployment and take a slot of its engine. Raises ModelNotFound, NotSupported, BadRequest, Overloaded."""
        call.route, deployments = self._models.find(call.model)
        deployment = _least_busy(deployments)
        _admit(call, deployment)
        call.deployment = deployment
        slots, now = deployment.slots, self._clock()
        await slots.take(call.deadline - now)
        call.exit.push(slots.give_back)
        call.waited_s = self._clock() - now


def _least_busy(deployments: Sequence[Deployment]) -> Deployment:
    if len(deployments) == 1:
        return deployments[0]
    return min(deployments, key=lambda deployment: deployment.slots.in_flight + deployment.slots.waiting)


def _admit(call: Call, deployment: Deployment) -> None:
    allowed = deployment.engine.capabilities.fields.get(call.endpoint)
    if allowed is None:
        raise NotSupported(
            f"The model '{call.model}' does not serve /v1/{call.endpoint.value}", param="model"
        )
    if not call.fields.keys() <= allowed:
        name = min(call.fields.keys() - allowed)
        raise BadRequest(
            f"The field '{name}' is not accepted for the model '{call.model}'; leave it out",
            param=name,
        )
