"""Reads the gateway's metrics during a drill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from tidegate.egress.exchange import Client, Target
from tidegate.engines.openai import read_whole
from tidegate.errors import GatewayError
from tidegate.kernel import exposition
from tidegate.kernel.exposition import NotExposition, Sample
from tidegate.ops.drill.figures import EngineNow, Now
from tidegate.ops.drill.processes import Engine

WITHIN_S = 2.0
_MOST_BYTES = 4 * 2**20
_IN_FLIGHT, _LIMIT = "tidegate_engine_in_flight", "tidegate_engine_limit"
_RETRIES, _BREAKER = "tidegate_engine_retries_total", "tidegate_engine_breaker"
_WAITING, _QUEUE, _FAILOVERS = (
    "tidegate_queue_size",
    "tidegate_queue_state",
    "tidegate_engine_failovers_total",
)
_NAMES = (_IN_FLIGHT, _LIMIT, _RETRIES, _BREAKER, _WAITING, _QUEUE, _FAILOVERS)

Samples = Mapping[str, list[Sample]]


class Watch:
    """Asks the gateway for its metrics, with a key that may read them."""

    def __init__(self, client: Client, key: str) -> None:
        """`client` reaches the gateway's root."""
        self._client = client
        self._target: Target = client.target("GET", "metrics", [(b"authorization", f"Bearer {key}".encode())])

    async def look(self, at_s: float, engines: Iterable[Engine]) -> Now | None:
        """Return the state of the gateway and its engines, or None if the gateway does not tell it."""
        try:
            exchange = await self._client.send(self._target, [], b"", WITHIN_S)
            try:
                body = await read_whole(exchange, _MOST_BYTES)
            finally:
                await exchange.close()
            return read(body.decode(), at_s, engines) if exchange.status == 200 else None
        except (GatewayError, NotExposition, UnicodeDecodeError):
            return None


def read(text: str, at_s: float, engines: Iterable[Engine]) -> Now:
    """Read the metrics. What they do not have stays unknown. Raises NotExposition."""
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in exposition.read(text, _NAMES):
        found[sample.name].append(sample)
    return Now(
        at_s=at_s,
        engines=[_engine(engine, found) for engine in engines],
        waiting=int(_sum(found[_WAITING])),
        queue=next((one.labels.get("state", "") for one in found[_QUEUE] if one.value), ""),
        failovers=_total(found[_FAILOVERS]),
    )


def _engine(engine: Engine, found: Samples) -> EngineNow:
    own = {
        name: [one for one in found.get(name, ()) if one.labels.get("engine") == engine.name]
        for name in _NAMES
    }
    breakers = [one.labels.get("state", "") for one in own[_BREAKER] if one.value]
    return EngineNow(
        name=engine.name,
        state=engine.state,
        in_flight=int(_sum(own[_IN_FLIGHT])),
        limit=_total(own[_LIMIT]),
        requests=engine.requests,
        breaker=breakers[0] if breakers else "",
        # A counter without a sample for this engine is 0 if the gateway has the counter at all.
        retries=_total(own[_RETRIES]) if own[_RETRIES] or not found.get(_RETRIES) else 0,
    )


def _sum(samples: Iterable[Sample]) -> float:
    return sum(exposition.known(one.value for one in samples))


def _total(samples: list[Sample]) -> int | None:
    return int(_sum(samples)) if samples else None
