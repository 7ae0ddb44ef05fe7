"""How busy an engine says it is: the pages on which engines tell it, read into one `Load`.

What each tells, and where (read in the sources of vLLM 0.32 and SGLang 0.5.23, seen on a running vLLM 0.32 and llama.cpp):

    vllm       /metrics                 gauges, one series for each engine core behind the server
    sglang     /v1/loads?include=core   JSON, one entry for each data-parallel rank; where there is none, /metrics
    llamacpp   /slots, /metrics         JSON, one entry a slot; the calls that wait are a gauge (`--metrics`)

Counts of several series are added up, shares of memory averaged. What a page leaves out stays unknown. A page that a server
does not have is not an error, a page that cannot be read is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, TypeVar

import msgspec

from tidegate.config import HttpEngineConfig
from tidegate.egress.exchange import Client, Headers
from tidegate.egress.open import open_client
from tidegate.engines.openai import OpenAIEngine, read_whole
from tidegate.errors import UpstreamError
from tidegate.kernel.exposition import NotExposition, Sample, known, read
from tidegate.ports import Host
from tidegate.types import Load

PAGE_TIMEOUT_S = 2.0
MAX_PAGE_BYTES = 2**20
_MAX_CONNECTIONS = 2
_NO_SUCH_PAGE = frozenset({404, 405, 501})
_MOST = 2**53  # a float counts no further


class Pages:
    """What a server tells about itself beside its API, on connections that no call waits for.

    The pages are found below the engine's URL without its last `/v1`.
    """

    def __init__(self, config: HttpEngineConfig, headers: Headers) -> None:
        root = config.model_copy(update={"url": config.url.removesuffix("/v1")})
        self._client: Client = open_client(root, max_connections=_MAX_CONNECTIONS)
        self._headers = headers

    async def get(self, path: str) -> bytes | None:
        """A page; None where the server has none of this name.

        Raises UpstreamError and its children: no answer within two seconds, another status, more than 1 MiB.
        """
        target = self._client.target("GET", path, self._headers)
        exchange = await self._client.send(target, [], b"", PAGE_TIMEOUT_S)
        try:
            body = await read_whole(exchange, MAX_PAGE_BYTES)
        finally:
            await exchange.close()
        if exchange.status in _NO_SUCH_PAGE:
            return None
        if exchange.status != 200:
            raise UpstreamError(f"the engine answered /{path} with status {exchange.status}")
        return body

    async def close(self) -> None:
        """Drop every connection."""
        await self._client.close()


class TellingEngine(OpenAIEngine):
    """An OpenAI-compatible server that has pages about itself."""

    async def open(self, host: Host) -> None:
        """See `OpenAIEngine.open`."""
        await super().open(host)
        self._pages = Pages(self._config, self._own_headers())

    async def close(self) -> None:
        """Drop every connection."""
        await super().close()
        await self._pages.close()


# ------------------------------------------------------------------------------------------------------------ vLLM, SGLang


def read_vllm(page: bytes, otherwise: Load) -> Load:
    """The gauges of vLLM's /metrics. With its log of statistics switched off they are missing: `otherwise` then."""
    return _from_gauges(
        page,
        otherwise,
        running="vllm:num_requests_running",
        waiting="vllm:num_requests_waiting",
        kv_usage="vllm:kv_cache_usage_perc",
    )


def read_sglang_metrics(page: bytes, otherwise: Load) -> Load:
    """The gauges of SGLang's /metrics (`--enable-metrics`).

    All processes of a tensor- or pipeline-parallel group run the same calls; only the first of each group counts.
    """
    return _from_gauges(
        page,
        otherwise,
        running="sglang:num_running_reqs",
        waiting="sglang:num_queue_reqs",
        kv_usage="sglang:token_usage",
        counts=_first_of_its_group,
    )


def _first_of_its_group(sample: Sample) -> bool:
    return all(sample.labels.get(rank, "0") == "0" for rank in ("tp_rank", "pp_rank", "moe_ep_rank"))


class _Rank(msgspec.Struct):
    """One data-parallel rank as SGLang's /v1/loads tells it, of the section `core` what is read."""

    num_running_reqs: float | None = None
    num_waiting_reqs: float | None = None
    token_usage: float | None = None
    max_running_requests: float | None = None


class _Loads(msgspec.Struct):
    loads: list[_Rank]


def read_sglang_loads(page: bytes) -> Load:
    """SGLang's /v1/loads. Its slots are the calls that all ranks together may run at once."""
    ranks = _decode(_LOADS, page).loads
    running = [rank.num_running_reqs for rank in ranks if rank.num_running_reqs is not None]
    waiting = [rank.num_waiting_reqs for rank in ranks if rank.num_waiting_reqs is not None]
    usage = [rank.token_usage for rank in ranks if rank.token_usage is not None]
    # 0 is what it says before it knows.
    room = [rank.max_running_requests for rank in ranks if rank.max_running_requests]
    return Load(
        running=_count(running) or 0,
        waiting=_count(waiting),
        kv_usage=_share(usage),
        slots=_count(room) or None,
    )


# --------------------------------------------------------------------------------------------------------------- llama.cpp


_Tokens = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]


class _Slot(msgspec.Struct):
    """One slot of a llama.cpp server. `n_prompt_tokens` counts what was generated too; older versions do not tell it."""

    is_processing: bool
    n_ctx: _Tokens = 0
    n_prompt_tokens: _Tokens | None = None


def read_llamacpp(slots: bytes | None, metrics: bytes | None, otherwise: Load) -> Load:
    """llama.cpp's /slots and /metrics, of which either can be switched off."""
    gauges = Load()
    if metrics is not None:
        gauges = _from_gauges(
            metrics, otherwise, running="llamacpp:requests_processing", waiting="llamacpp:requests_deferred"
        )
    if slots is None:
        return gauges if metrics is not None else otherwise
    found = _decode(_SLOTS, slots)
    busy = [slot for slot in found if slot.is_processing]
    context = sum(slot.n_ctx for slot in found)
    told = context > 0 and all(slot.n_prompt_tokens is not None for slot in busy)
    return Load(
        running=len(busy),
        waiting=gauges.waiting,
        kv_usage=min(1.0, sum(slot.n_prompt_tokens or 0 for slot in busy) / context) if told else None,
        slots=len(found) or None,
    )


# ------------------------------------------------------------------------------------------------------------------ common


def _from_gauges(
    page: bytes,
    otherwise: Load,
    *,
    running: str,
    waiting: str,
    kv_usage: str = "",
    counts: Callable[[Sample], bool] = lambda _: True,
) -> Load:
    values = _values(page, frozenset({running, waiting, kv_usage}), counts)
    busy = _count(values[running])
    if busy is None:
        return otherwise
    return Load(running=busy, waiting=_count(values[waiting]), kv_usage=_share(values[kv_usage]))


def _values(
    page: bytes, names: frozenset[str], counts: Callable[[Sample], bool]
) -> Mapping[str, list[float]]:
    """By name, the values that are numbers. A series that comes twice is a mistake of the server's; the last one holds."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {name: {} for name in names}
    try:
        for sample in read(page.decode(), names - {""}):
            if counts(sample):
                found[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    except (NotExposition, UnicodeDecodeError) as error:
        raise UpstreamError(f"the engine's page of metrics cannot be read: {error}") from error
    return {name: known(iter(series.values())) for name, series in found.items()}


_Told = TypeVar("_Told", _Loads, list[_Slot])
_LOADS = msgspec.json.Decoder(_Loads)
_SLOTS = msgspec.json.Decoder(list[_Slot])


def _decode(decoder: msgspec.json.Decoder[_Told], page: bytes) -> _Told:
    try:
        return decoder.decode(page)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamError(f"the engine's page about its load cannot be read: {error}") from error


def _count(values: Iterable[float]) -> int | None:
    """The sum, or None of nothing."""
    told = list(values)
    return int(min(sum(max(0.0, value) for value in told), _MOST)) if told else None


def _share(values: Iterable[float]) -> float | None:
    """The mean, between 0 and 1, or None of nothing."""
    told = list(values)
    return min(1.0, max(0.0, sum(told) / len(told))) if told else None
