"""The models that clients may request, and the deployments of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from tidegate.dispatch.health import Health
from tidegate.dispatch.seats import Seats
from tidegate.dispatch.standing import Standing
from tidegate.errors import ModelNotFound
from tidegate.kernel.nearest import nearest
from tidegate.kernel.patterns import Patterns
from tidegate.ports import Engine

# Limits of an error message: the number of models listed, and the characters of the client's model name.
SHOWN = 20
LONGEST_ECHO = 200


class Abilities(msgspec.Struct, frozen=True):
    """What a deployment can do: call tools, see images, follow a JSON schema, and read prompts up to a length.

    `context_tokens` is the most tokens of a prompt and its answer together; None if that is not known.
    """

    tools: bool = True
    vision: bool = True
    schema: bool = True
    context_tokens: int | None = None


ABLE = Abilities()
"""The abilities of a deployment about which nothing is known: it is asked, and may refuse."""


class Deployment(msgspec.Struct, frozen=True):
    """A model on an engine.

    `model` is the engine's name for the model. If it is None, the engine gets the name that the client sent. `standing`
    counts the calls that the engine refused with 401 or 403. If it is None, such calls are not counted.

    `weight` is the deployment's share of the work, relative to the others of its tier. A deployment of a later `tier` is
    asked only when no deployment of an earlier one is left. `tags` are names that policies may ask for. `health` has what
    its calls met; None if that is not counted.
    """

    engine_name: str
    engine: Engine
    seats: Seats
    model: str | None = None
    standing: Standing | None = None
    weight: float = 1.0
    tier: int = 0
    tags: frozenset[str] = frozenset()
    can: Abilities = ABLE
    health: Health | None = None

    def is_out(self, now: float) -> bool:
        """Whether calls should go elsewhere now, if they can."""
        return self.health is not None and self.health.is_out(now)


class Group(msgspec.Struct, frozen=True):
    """Deployments that a call may go to, the best one first: one tier of one model.

    `model` is the configured name. `why` is the reason why the first deployment is the first one.
    """

    model: str
    deployments: Sequence[Deployment]
    why: str
    tier: int = 0


class Fallbacks(msgspec.Struct, frozen=True):
    """The names of the models that serve a model's calls when its own deployments fail, in order.

    `on_context` are for prompts that are too long for it, `on_refusal` for requests whose content its engine refuses.
    """

    models: tuple[str, ...] = ()
    on_context: tuple[str, ...] = ()
    on_refusal: tuple[str, ...] = ()


NO_FALLBACKS = Fallbacks()


def seats_of(deployments: Sequence[Deployment]) -> list[Seats]:
    """Return the seats of the deployments' engines, those of each engine once."""
    return list(dict.fromkeys(one.seats for one in deployments))


class Models:
    """The configured models, by name and by prefix."""

    def __init__(
        self,
        deployments: Mapping[str, Sequence[Deployment]],
        fallbacks: Mapping[str, Fallbacks] = MappingProxyType({}),
    ) -> None:
        """`fallbacks` has the other models that may serve the calls of some models."""
        self.fallbacks = fallbacks
        self._exact = {name: found for name, found in deployments.items() if not name.endswith("*")}
        prefixes = (name for name in deployments if name.endswith("*"))
        self._prefixes = [(name[:-1], name) for name in sorted(prefixes, key=len, reverse=True)]
        self._deployments = deployments

    @property
    def names(self) -> list[str]:
        """The configured names and prefixes, sorted."""
        return sorted(self._deployments)

    def visible(self, allowed: Patterns | None) -> list[str]:
        """Return the names that a caller may request. `allowed` are the models of the caller's policy; None allows all."""
        if allowed is None:
            return self.names
        return sorted({seen for name in self._deployments for seen in allowed.within(name)})

    def find(self, model: str, allowed: Patterns | None = None) -> tuple[str, Sequence[Deployment]]:
        """Return the configured name that matches `model`, with its deployments. Raises ModelNotFound.

        A model that is not among the `allowed` ones is not found, as if it were not configured.
        """
        if allowed is None or model in allowed:
            if found := self._exact.get(model):
                return model, found
            for prefix, name in self._prefixes:
                if model.startswith(prefix):
                    return name, self._deployments[name]
        raise ModelNotFound(unknown(model, self.visible(allowed)), param="model")

    def named(self, name: str) -> list[Deployment]:
        """Return the deployments of a configured model, each with the name that its engine has to be told."""
        return [
            one if one.model is not None else msgspec.structs.replace(one, model=name)
            for one in self._exact.get(name, ())
        ]


def unknown(model: str, names: Sequence[str]) -> str:
    """Return the message for an unknown model. It lists `names`, the models that the caller may use."""
    meant = nearest(model, (name for name in names if not name.endswith("*")))
    guess = f" did you mean '{meant}'?" if meant else ""
    more = ", …" if len(names) > SHOWN else ""
    return f"There is no model '{model[:LONGEST_ECHO]}';{guess} there are: {', '.join(names[:SHOWN]) or 'none'}{more}"
