"""Reads the pages on which engines report how busy they are into a `Load`.

The pages of each kind (from the sources of vLLM 0.32 and SGLang 0.5.23, and from a running vLLM 0.32 and llama.cpp):

    vllm       /metrics                 gauges, one series for each engine core behind the server
    sglang     /v1/loads?include=core   JSON, one entry for each data-parallel rank; if there is no such page, /metrics
    llamacpp   /slots, /metrics         JSON, one entry for each slot; the number of waiting calls is a gauge (`--metrics`)

Counts of several series are added up, and shares of memory are averaged. Values that a page leaves out stay unknown. A
page that the server does not have is not an error. A page that cannot be read is an error.
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
_MOST = 2**53  # larger whole numbers are not exact as floats


class Pages:
    """The pages that a server has about itself. They are fetched on connections that no call uses.

    Their paths are relative to the engine's URL without its last `/v1`.
    """

    def __init__(self, config: HttpEngineConfig, headers: Headers) -> None:
        root = config.model_copy(update={"url": config.url.removesuffix("/v1")})
        self._client: Client = open_client(root, max_connections=_MAX_CONNECTIONS)
        self._headers = headers

    async def get(self, path: str) -> bytes | None:
        """Return the page at `path`, or None if the server has no such page.

        Raises UpstreamError or a subclass if there is no answer within two seconds, for any other status, and for a page
        of more than 1 MiB.
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
        """Close every connection."""
        await self._client.close()


class TellingEngine(OpenAIEngine):
    """An OpenAI-compatible server that has pages about itself."""

    async def open(self, host: Host) -> None:
        """See `OpenAIEngine.open`."""
        await super().open(host)
        self._pages = Pages(self._config, self._own_headers())

    async def close(self) -> None:
        """Close every connection."""
        await super().close()
        await self._pages.close()


# ------------------------------------------------------------------------------------------------------------ vLLM, SGLang


def read_vllm(page: bytes, otherwise: Load) -> Load:
    """Read the gauges of vLLM's /metrics. Return `otherwise` if they are missing, as with `--disable-log-stats`."""
    return _from_gauges(
        page,
        otherwise,
        running="vllm:num_requests_running",
        waiting="vllm:num_requests_waiting",
        kv_usage="vllm:kv_cache_usage_perc",
    )


def read_sglang_metrics(page: bytes, otherwise: Load) -> Load:
    """Read the gauges of SGLang's /metrics (`--enable-metrics`). Return `otherwise` if they are missing.

    All processes of a tensor- or pipeline-parallel group run the same calls, so only the first of each group is counted.
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
    """One data-parallel rank in SGLang's /v1/loads, with the needed fields of the section `core`."""

    num_running_reqs: float | None = None
    num_waiting_reqs: float | None = None
    token_usage: float | None = None
    max_running_requests: float | None = None


class _Loads(msgspec.Struct):
    loads: list[_Rank]


def read_sglang_loads(page: bytes) -> Load:
    """Read SGLang's /v1/loads. The slots are the calls that all ranks together may run at once."""
    ranks = _decode(_LOADS, page).loads
    running = [rank.num_running_reqs for rank in ranks if rank.num_running_reqs is not None]
    waiting = [rank.num_waiting_reqs for rank in ranks if rank.num_waiting_reqs is not None]
    usage = [rank.token_usage for rank in ranks if rank.token_usage is not None]
    # SGLang reports 0 until it knows the number.
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
    """One slot of a llama.cpp server. `n_prompt_tokens` includes generated tokens; older versions do not report it."""

    is_processing: bool
    n_ctx: _Tokens = 0
    n_prompt_tokens: _Tokens | None = None


def read_llamacpp(slots: bytes | None, metrics: bytes | None, otherwise: Load) -> Load:
    """Read llama.cpp's /slots and /metrics. Either is None if it is switched off; return `otherwise` if both are."""
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
    """Return the values of each gauge, without NaN. If a series is repeated by mistake, its last value counts."""
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
    """Return the sum, or None if there are no values."""
    told = list(values)
    return int(min(sum(max(0.0, value) for value in told), _MOST)) if told else None


def _share(values: Iterable[float]) -> float | None:
    """Return the mean, limited to 0 to 1, or None if there are no values."""
    told = list(values)
    return min(1.0, max(0.0, sum(told) / len(told))) if told else None
