"""Where a call can go: the models that clients may ask for, and the engines that serve each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tidegate.dispatch.seats import Seats
from tidegate.dispatch.standing import Standing
from tidegate.errors import ModelNotFound
from tidegate.kernel.nearest import nearest
from tidegate.kernel.patterns import Patterns
from tidegate.ports import Engine

# What a message names: so many models, and so much of what a client sent.
SHOWN = 20
LONGEST_ECHO = 200


class Deployment(msgspec.Struct, frozen=True):
    """A model on an engine. `model` is the engine's own name for it; None: the name that the client asked for.

    `standing` counts what its calls show of the gateway's rights; None: that is of no interest.
    """

    engine_name: str
    engine: Engine
    seats: Seats
    model: str | None = None
    standing: Standing | None = None


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

    def visible(self, allowed: Patterns | None) -> list[str]:
        """What a caller may ask for and will find: `allowed` are the models of the caller's policy, None for all."""
        if allowed is None:
            return self.names
        return sorted({seen for name in self._deployments for seen in allowed.within(name)})

    def find(self, model: str, allowed: Patterns | None = None) -> tuple[str, Sequence[Deployment]]:
        """The configured name that a model matches, and its deployments. Raises ModelNotFound.

        A model that is not among the `allowed` ones is not found, as if it were not configured.
        """
        if allowed is None or model in allowed:
            if found := self._exact.get(model):
                return model, found
            for prefix, name in self._prefixes:
                if model.startswith(prefix):
                    return name, self._deployments[name]
        raise ModelNotFound(_unknown(model, self.visible(allowed)), param="model")


def _unknown(model: str, names: Sequence[str]) -> str:
    """Why there is no such model, and what there is. `names` are those that the caller may know of."""
    meant = nearest(model, (name for name in names if not name.endswith("*")))
    guess = f" did you mean '{meant}'?" if meant else ""
    more = ", …" if len(names) > SHOWN else ""
    return f"There is no model '{model[:LONGEST_ECHO]}';{guess} there are: {', '.join(names[:SHOWN]) or 'none'}{more}"
