"""What rails have in common that ask a service: the way from a text to requests, and from answers to one verdict.

A subclass says what it asks and what an answer means: see `RemoteRail.asks` and `RemoteRail.read`. An answer in another
format than the service's is an error of the rail, never a judgement.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from tidegate.egress.exchange import Headers
from tidegate.ports import Services, TextViews
from tidegate.rails.asked.asking import NoAnswer, no_verdict
from tidegate.rails.asked.hazards import OTHER
from tidegate.rails.asked.remembered import Remembered
from tidegate.rails.remote.service import RemoteConfig, Service
from tidegate.types import Hold, RailFacts, Scene, Surface, Verdict

T = TypeVar("T")
USUAL_MS = 100.0
"""How long a service on the internet takes for a short text."""
BOTH: Final = frozenset({Surface.INPUT, Surface.OUTPUT})
_KIND = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
ENCODER = msgspec.json.Encoder()


class Asked(NamedTuple):
    """One request: its path below the URL of the service, its body, and the text that the answer is about.

    `category` is that of an objection, where what is asked says it and not the answer.
    """

    path: str
    body: bytes
    text: str
    category: str = ""


def facts(kind: str, *, usual: Collection[Surface] = BOTH, **more: Any) -> RailFacts:
    """Return the facts of a rail that asks a service about texts of every surface."""
    return RailFacts(
        kind,
        "1",
        frozenset(Surface),
        tier=2,
        hold=Hold("sentence"),
        usual_ms=USUAL_MS,
        usual=frozenset(usual),
        **more,
    )


class RemoteRail(ABC):
    """A rail that asks a service. Satisfies `ports.Check` and `ports.Opened`."""

    about: RailFacts
    method = "POST"

    def __init__(self, config: RemoteConfig, headers: Headers | None = None) -> None:
        """`headers` is as for `Service`."""
        self._service = Service(config, headers)
        self._cache_s = config.cache_s
        self._remembered: Remembered

    async def open(self, services: Services) -> None:
        """See `Opened`."""
        self._remembered = Remembered(services.clock, self._cache_s)
        await self._service.open(services)

    async def close(self) -> None:
        """See `Opened`."""
        await self._service.close()

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        """Ask the service about a text."""
        try:
            asked = self.asks(views, scene)
        except NoAnswer as error:
            return no_verdict(str(error))
        if len(asked) == 1:
            return await self._verdict(asked[0], scene)
        return merged(await asyncio.gather(*(self._verdict(one, scene) for one in asked)))

    @abstractmethod
    def asks(self, views: TextViews, scene: Scene) -> Sequence[Asked]:
        """Return the requests about a text. Raises NoAnswer if the service cannot be asked about it."""

    @abstractmethod
    def read(self, answer: bytes, asked: Asked) -> Verdict:
        """Return the verdict that an answer means. Raises NoAnswer for one in another format."""

    async def headers(self, asked: Asked, scene: Scene) -> Headers:
        """Return the headers that only this request has, such as a signature. Raises NoAnswer."""
        del asked, scene
        return []

    async def _verdict(self, asked: Asked, scene: Scene) -> Verdict:
        key = self._remembered.key_of(
            [scene.caller.organisation, asked.path, asked.body.decode(), asked.text, asked.category]
        )
        verdict = self._remembered.get(key)
        if verdict is None:
            try:
                headers = await self.headers(asked, scene)
                answer = await self._service.post(asked.path, asked.body, scene, headers, method=self.method)
                verdict = self.read(answer, asked)
            except NoAnswer as error:
                return no_verdict(str(error))
            self._remembered.put(key, verdict)
        return verdict


def merged(verdicts: Sequence[Verdict]) -> Verdict:
    """Return one verdict for several on parts of a text: the first objection, else the first failure, else a pass."""
    for one in (*(each for each in verdicts if not each.error), *verdicts):
        if not one.passed:
            return one
    scores: dict[str, float] = {}
    for name, score in (each for one in verdicts for each in one.scores):
        scores[name] = max(score, scores.get(name, 0.0))
    return Verdict(
        True, score=max((one.score for one in verdicts), default=0.0), scores=tuple(scores.items())
    )


def objection(names: Sequence[str], score: float = 1.0, **more: Any) -> Verdict:
    """Return a verdict that objects under some categories, the first of which counts most."""
    category = names[0] if names else "unsafe"
    return Verdict(False, category=category, score=score, reason=", ".join(dict.fromkeys(names)), **more)


def named(labels: Collection[str], names: Mapping[str, str]) -> list[str]:
    """Return our categories for the labels of a service, each once. A label that nobody knows is `other`."""
    return list(dict.fromkeys(names.get(label, OTHER) for label in labels))


def kind_of_span(label: str) -> str:
    """Return the kind of a span for the label of a service. It becomes the mask, so it is a plain word in capitals."""
    kind = label.upper().replace("-", "_")
    return kind if _KIND.fullmatch(kind) else "FOUND"


def decoded(answer: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return an answer in the format of its service. Raises NoAnswer for another one."""
    try:
        return decoder.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer("the answer of the service is not in its format") from error
