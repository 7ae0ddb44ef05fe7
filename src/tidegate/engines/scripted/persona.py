"""Engines that a scripted server can imitate beyond OpenAI's API: the load pages and refusals of vLLM, SGLang or llama.cpp.

The formats are exact. The figures are the scripted server's own: its calls in flight, its slots, and a made-up cache,
whose usage is the share of busy slots. The number of waiting calls is always 0, because a call without a free slot is
refused. The formats were taken from the sources of vLLM 0.32 and SGLang 0.5.23, and from a running vLLM 0.32 and
llama.cpp.
"""

from __future__ import annotations

import enum

import msgspec

from tidegate.engines.scripted.wire import Performance, respond

_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_EVENTS = b"text/event-stream; charset=utf-8"
_TOKENS = 65_536  # the size of the made-up cache
_SLOT_TOKENS = 2048
_VLLM_LABELS = '{engine="0",model_name="scripted"}'
_SGLANG_LABELS = '{engine_type="unified",model_name="scripted",moe_ep_rank="0",pp_rank="0",tp_rank="0"}'

_VLLM_BUSY = msgspec.json.encode(
    {
        "error": {
            "message": "The engine is currently busy and cannot accept new requests. Please try again later or on a"
            " different instance.",
            "type": "Service Unavailable",
            "param": None,
            "code": 503,
        }
    }
)


class Persona(enum.Enum):
    """The imitated engine. `openai` is the plain API, which has no load page."""

    OPENAI = "openai"
    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMACPP = "llamacpp"


def page(persona: Persona, path: str, *, running: int, slots: int | None) -> Performance | None:
    """Return the engine's page at a path, or None if it has no such page."""
    usage = min(1.0, running / slots) if slots else 0.0
    match persona, path:
        case Persona.VLLM, "/metrics":
            gauges = {
                "num_requests_running": running,
                "num_requests_waiting": 0,
                "kv_cache_usage_perc": usage,
            }
            return _metrics("vllm", gauges, _VLLM_LABELS)
        case Persona.SGLANG, "/metrics":
            gauges = {"num_running_reqs": running, "num_queue_reqs": 0, "token_usage": usage}
            return _metrics("sglang", gauges, _SGLANG_LABELS)
        case Persona.SGLANG, "/v1/loads":
            return respond(200, _sglang_loads(running, slots, usage))
        case Persona.LLAMACPP, "/metrics":
            return _metrics("llamacpp", {"requests_processing": running, "requests_deferred": 0}, "")
        case Persona.LLAMACPP, "/slots":
            return respond(200, _llamacpp_slots(running, slots))
        case _:
            return None


def refusal(persona: Persona, *, stream: bool) -> Performance | None:
    """Return the engine's own response to a call without a free slot, or None if it has none. It has no Retry-After."""
    if persona is Persona.VLLM:
        return respond(503, _VLLM_BUSY)
    if persona is Persona.SGLANG:
        full = {"object": "error", "message": "The request queue is full.", "param": None, "code": 503}
        if not stream:
            return respond(503, msgspec.json.encode({**full, "type": "503"}))
        error = msgspec.json.encode({"error": {**full, "type": "SERVICE_UNAVAILABLE"}})
        return respond(200, b"data: " + error + b"\n\ndata: [DONE]\n\n", kind=_EVENTS)
    return None


def _metrics(prefix: str, gauges: dict[str, float], labels: str) -> Performance:
    lines = [
        f"# HELP {prefix}:{name} Scripted.\n# TYPE {prefix}:{name} gauge\n{prefix}:{name}{labels} {float(value)}\n"
        for name, value in gauges.items()
    ]
    return respond(200, "".join(lines).encode(), kind=_TEXT)


def _sglang_loads(running: int, slots: int | None, usage: float) -> bytes:
    core = {
        "dp_rank": 0,
        "num_running_reqs": running,
        "num_waiting_reqs": 0,
        "num_used_tokens": int(usage * _TOKENS),
        "max_total_num_tokens": _TOKENS,
        "max_running_requests": slots or 0,
        "token_usage": usage,
    }
    return msgspec.json.encode(
        {
            "timestamp": "2026-01-01T00:00:00+00:00",
            "version": "0.5.23",
            "num_accelerators": 1,
            "loads": [core],
        }
    )


def _llamacpp_slots(running: int, slots: int | None) -> bytes:
    busy = {"is_processing": True, "n_ctx": _SLOT_TOKENS, "n_prompt_tokens": _SLOT_TOKENS // 2}
    idle = {"is_processing": False, "n_ctx": _SLOT_TOKENS}
    return msgspec.json.encode(
        [{"id": number, **(busy if number < running else idle)} for number in range(slots or max(running, 1))]
    )
