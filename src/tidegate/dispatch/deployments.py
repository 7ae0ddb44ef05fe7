"""The models that clients may request, and the deployments of each model."""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import quote

import msgspec

from tidegate.dispatch.health import Health
from tidegate.dispatch.seats import Seats
from tidegate.dispatch.standing import Standing
from tidegate.errors import ModelNotFound
from tidegate.kernel.nearest import nearest
from tidegate.kernel.patterns import Patterns
from tidegate.ports import Engine
from tidegate.types import ABLE, Abilities

# Limits of an error message: the number of models listed, and the characters of the client's model name.
SHOWN = 20
LONGEST_ECHO = 200
# What stands in a header as it is, of a configured name.
_IN_HEADER = "*/:@+"


NO_TAGS: frozenset[str] = frozenset()


class Deployment(msgspec.Struct, frozen=True):
    """A model on an engine.

    `model` is the engine's name for the model. If it is None, the engine gets the name that the client sent. `standing`
    counts the calls that the engine refused with 401 or 403. If it is None, such calls are not counted.

    `weight` is the deployment's share of the work, relative to the others of its tier. A deployment of a later `tier` is
    asked only when no deployment of an earlier one is left. `tags` are names that policies may ask for. `can` says what
    the engine can do with the model. `shown` is how clients are told the engine's name; it is empty if they are not.
    `health` has what its calls met; None if that is not counted. `continues` says whether the engine can go on with an
    answer that has broken off.
    """

    engine_name: str
    engine: Engine
    seats: Seats
    model: str | None = None
    standing: Standing | None = None
    weight: float = 1.0
    tier: int = 0
    tags: frozenset[str] = NO_TAGS
    can: Abilities = ABLE
    shown: str = ""
    health: Health | None = None
    continues: bool = False

    def is_out(self, now: float) -> bool:
        """Whether calls should go elsewhere now, if they can, because calls here fail."""
        return self.health is not None and self.health.is_out(now)

    @property
    def out(self) -> bool:
        """Whether calls should try other deployments first, because this one would probably fail."""
        return not self.seats.ready or (self.standing is not None and self.standing.out)

    @property
    def load(self) -> float:
        """The work in tokens that the engine has to do, per weight."""
        seats = self.seats
        return (seats.work + seats.others_work) * seats.pressure / self.weight


class Group(msgspec.Struct, frozen=True):
    """Deployments that a call may go to, the best one first: one tier of one model.

    `model` is the configured name. `why` is the reason why the first deployment is the first one. `told` is the header of
    the reply if the first engine call is that to the first deployment.
    """

    model: str
    deployments: Sequence[Deployment]
    why: str
    tier: int = 0
    told: tuple[bytes, bytes] | None = None


def in_header(name: str) -> str:
    """Return a configured name as it can stand in a header."""
    return quote(name, safe=_IN_HEADER)


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
        affinities: Mapping[str, str] = MappingProxyType({}),
        fallbacks: Mapping[str, Fallbacks] = MappingProxyType({}),
        continued: Collection[str] = (),
        hedged: Collection[str] = (),
    ) -> None:
        """`affinities` has the setting `affinity` by the name of a model; `none` for those that are left out.

        `fallbacks` has the other models that may serve the calls of some models. `continued` are the names of those whose
        answers may be continued after they have broken off, `hedged` those with hedging.
        """
        self.affinities = affinities
        self.fallbacks = fallbacks
        self.continued = frozenset(continued)
        self.hedged = frozenset(hedged)
        self._exact = {name: found for name, found in deployments.items() if not name.endswith("*")}
        prefixes = (name for name in deployments if name.endswith("*"))
        self._prefixes = [(name[:-1], name) for name in sorted(prefixes, key=len, reverse=True)]
        self._deployments = deployments
        self._tagged: dict[tuple[str, frozenset[str]], Sequence[Deployment]] = {}

    @property
    def names(self) -> list[str]:
        """The configured names and prefixes, sorted."""
        return sorted(self._deployments)

    def items(self) -> ItemsView[str, Sequence[Deployment]]:
        """The configured names and prefixes with their deployments."""
        return self._deployments.items()

    def visible(self, allowed: Patterns | None, tags: frozenset[str] = NO_TAGS) -> list[str]:
        """Return the names that a caller may request.

        `allowed` are the models of the caller's policy; None allows all. `tags` are those that a deployment has to have.
        """
        names = [name for name in self.names if not tags or self.tagged(name, tags)]
        if allowed is None:
            return names
        return sorted({seen for name in names for seen in allowed.within(name)})

    def find(
        self, model: str, allowed: Patterns | None = None, tags: frozenset[str] = NO_TAGS
    ) -> tuple[str, Sequence[Deployment]]:
        """Return the configured name that matches `model`, with its deployments that have all the tags.

        Raises ModelNotFound. A model that is not among the `allowed` ones is not found, as if it were not configured. So is
        one without a deployment that has the tags.
        """
        if allowed is None or model in allowed:
            name = self._name_of(model)
            if name and (found := self.tagged(name, tags) if tags else self._deployments[name]):
                return name, found
        raise ModelNotFound(unknown(model, self.visible(allowed, tags)), param="model")

    def tagged(self, name: str, tags: frozenset[str]) -> Sequence[Deployment]:
        """Return the deployments of a configured name that have all the tags."""
        found = self._tagged.get((name, tags))
        if found is None:
            every = self._deployments[name]
            having = [one for one in every if tags <= one.tags]
            found = self._tagged[name, tags] = every if len(having) == len(every) else having
        return found

    def _name_of(self, model: str) -> str:
        if model in self._exact:
            return model
        return next((name for prefix, name in self._prefixes if model.startswith(prefix)), "")

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
