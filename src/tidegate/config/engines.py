"""The section `engines`: the settings of every engine, and those of each built-in kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tidegate.config import urls
from tidegate.config.connections import DEFAULT_CONNECTIONS, ConnectionConfig, TimeoutsConfig
from tidegate.config.files import check_file, check_gguf
from tidegate.config.settings import Settings


class BreakerConfig(Settings):
    """When calls go to other deployments, because those of a model on this engine fail.

    The last deployment of a model is never given up.
    """

    failure_rate: float = Field(
        default=0.5, gt=0, le=1, description="Part of the calls of the last 30 s that may fail."
    )
    min_calls: int = Field(default=10, gt=0, description="Number of calls before that part means anything.")
    failures_in_a_row: int = Field(
        default=5, gt=0, description="So many failures in a row are too many in any case."
    )
    slow_first_byte_ms: int | None = Field(
        default=None,
        gt=0,
        description="A stream counts as slow if its first byte takes longer. Four fifths of the calls may not be slow.",
    )
    open_s: float = Field(
        default=5,
        gt=0,
        description="Time without calls, after which one call probes the engine; doubled after"
        " each failed probe, up to two minutes.",
    )


class EngineConfig(Settings):
    """The settings of every engine. An engine in another package subclasses this to add its own."""

    kind: str = Field(description="The adapter: see the list of engines.")
    max_in_flight: int | None = Field(
        default=None,
        gt=0,
        description="Largest number of calls that the engine gets at once; further calls wait in line. Default: the number"
        " that the engine reports.",
    )
    reserved_seats: int = Field(
        default=0,
        ge=0,
        description="Seats that are reserved for the gateway's own calls, such as judges. Clients never get them.",
    )

    breaker: BreakerConfig = Field(
        default=BreakerConfig(), description="When calls go to other deployments, because calls here fail."
    )
    adapts: bool = Field(
        default=True,
        description="Whether the engine gets fewer calls than `max_in_flight` while it cannot keep up: while its first"
        " bytes are late, its own queue grows, or it answers 429 or 503. It needs a number in `max_in_flight`.",
    )

    @model_validator(mode="after")
    def _a_seat_for_clients(self) -> Self:
        if self.max_in_flight is not None and self.reserved_seats >= self.max_in_flight:
            raise ValueError(
                f"reserved_seats, {self.reserved_seats}, must be less than max_in_flight, {self.max_in_flight}:"
                " clients would get no seat"
            )
        return self

    def seats(self, slots: int | None) -> int | None:
        """Return how many calls the engine gets at once, or None for no limit. The engine reports the number `slots`."""
        return self.max_in_flight or slots


DEFAULT_PROBE, NO_PROBE = "models", "none"


class HttpEngineConfig(ConnectionConfig, EngineConfig):
    """An engine behind a URL."""

    url: str = Field(
        description="Base URL, up to and including `/v1`.", examples=["http://127.0.0.1:8000/v1"]
    )
    allow_fields: tuple[str, ...] = Field(
        default=(), description="Request fields to pass on in addition to those of the kind."
    )
    probe: str = Field(
        default=DEFAULT_PROBE,
        description="Path that is requested every 2 s to see whether the engine is ready. The path is relative to `url`, or"
        " to the server if it begins with `/`, such as `/health`. With `none`, the engine counts as ready without a probe."
        " The engine is ready after any answer, except after three 401 in a row and, for a path other than `models`, after"
        " a status over 499.",
    )
    max_connections: int = Field(
        default=DEFAULT_CONNECTIONS,
        gt=0,
        description="Largest number of connections to this engine; further calls wait in line. If `max_in_flight` is larger"
        " than this default, it is the default instead.",
    )
    max_response_bytes: int = Field(
        default=64 * 2**20,
        gt=0,
        description="Largest answer that is not streamed, and largest event of a stream.",
    )
    sends_finish_reason: bool = Field(
        default=True,
        description="`false` for an engine that sends no `finish_reason`. `[DONE]` then marks a stream as complete.",
    )
    sends_usage: bool = Field(
        default=True,
        description="`false` for an engine that refuses `stream_options`. The tokens of its streams are then estimated.",
    )
    continues: bool = Field(
        default=False,
        description="Whether the engine takes `continue_final_message`, and so can go on with an answer that has broken off"
        " elsewhere. It has to, for models with `continues: true`.",
    )

    @property
    def probe_at(self) -> tuple[str, str] | None:
        """The base URL and the path below it that a probe requests. None if there is no probe."""
        if self.probe == NO_PROBE:
            return None
        if self.probe.startswith("/"):
            parts = urlsplit(self.url)
            return f"{parts.scheme}://{parts.netloc}", self.probe[1:]
        return self.url, self.probe

    @field_validator("probe", mode="before")
    @classmethod
    def _probe_off(cls, probe: Any) -> Any:
        return NO_PROBE if probe is None or probe is False else probe

    @field_validator("probe")
    @classmethod
    def _probe_path(cls, probe: str) -> str:
        if not re.fullmatch(r"/?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", probe) or not probe or "://" in probe:
            raise ValueError(
                "must be a path, such as models or /health, or none for an engine that is not to be probed"
            )
        return probe

    @model_validator(mode="before")
    @classmethod
    def _a_connection_for_every_seat(cls, given: object) -> object:
        if not isinstance(given, dict) or "max_connections" in given:
            return cast("object", given)
        settings = cast("dict[str, Any]", given)
        seats = settings.get("max_in_flight")
        more = isinstance(seats, int) and seats > DEFAULT_CONNECTIONS
        return {**settings, "max_connections": seats} if more else settings

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        return urls.check(url)

    def seats(self, slots: int | None) -> int | None:
        """See `EngineConfig.seats`. Each call needs a connection, so there are never more seats than connections."""
        return min(super().seats(slots) or self.max_connections, self.max_connections)


class OpenAIConfig(HttpEngineConfig):
    """Any server that speaks the OpenAI API."""


class VllmConfig(HttpEngineConfig):
    """A vLLM server. Its own request fields are passed on too."""

    sends_priority: bool = Field(
        default=False,
        description="Whether calls are sent with the number of their class. Set it to `true` for a server that runs with"
        " `--scheduling-policy priority`. Without this option, some versions of vLLM refuse such calls.",
    )


class SglangConfig(HttpEngineConfig):
    """An SGLang server. Its own request fields are passed on too."""

    sends_priority: bool = Field(
        default=True,
        description="Whether calls are sent with the number of their class. A server without"
        " `--enable-priority-scheduling` ignores it. Set it to `false` for one that runs with"
        " `--abort-on-priority-when-disabled`, or with `--schedule-low-priority-values-first`.",
    )


class LlamaCppConfig(HttpEngineConfig):
    """A llama.cpp server that you run. Its own request fields are passed on too."""


class LoraConfig(Settings):
    """One LoRA adapter of the embedded engine."""

    path: Path = Field(description="GGUF file of the adapter.")
    scale: float = Field(default=1.0, description="Weight of the adapter.")

    @model_validator(mode="after")
    def _there(self) -> Self:
        check_gguf(check_file(self.path))
        return self


MIN_SLOT_TOKENS = 256  # with less, llama.cpp refuses nearly every prompt


class EmbeddedConfig(EngineConfig):
    """llama.cpp as a child process of the gateway. It needs no server."""

    model_path: Path | None = Field(
        default=None, description="A GGUF file. Default: the installed SmolLM2-135M-Instruct."
    )
    slots: int = Field(default=4, gt=0, le=64, description="Calls served at once.")
    context_tokens: int = Field(
        default=8192,
        gt=0,
        description="Context of all slots together. Each slot gets an equal part, at least 256 tokens.",
    )
    threads: int | None = Field(
        default=None, gt=0, description="Threads that generate tokens. Default: cores - 1."
    )
    batch_threads: int | None = Field(
        default=None, gt=0, description="Threads that process prompts. Default: cores."
    )
    cache_ram_mib: int = Field(
        default=128,
        ge=0,
        description="Memory in MiB for prompts that are kept in addition to those in slots.",
    )
    speculation: Literal["none", "ngram"] = Field(
        default="none", description="Speculative decoding: `ngram` speeds up repetitive text."
    )
    lora: tuple[LoraConfig, ...] = Field(default=(), description="Adapters that are loaded at the start.")
    share_prefixes: bool = Field(
        default=True, description="Process a system prompt once, and copy the result to the other slots."
    )
    start_timeout_ms: int = Field(default=60_000, gt=0, description="Time to load the model.")
    timeouts: TimeoutsConfig = Field(
        default=TimeoutsConfig(), description="How long the engine may be silent."
    )

    @field_validator("model_path")
    @classmethod
    def _model_there(cls, path: Path | None) -> Path | None:
        return path and check_gguf(check_file(path))

    @model_validator(mode="after")
    def _room_in_every_slot(self) -> Self:
        if self.context_tokens < self.slots * MIN_SLOT_TOKENS:
            raise ValueError(
                f"context_tokens, {self.context_tokens}, is divided by slots, {self.slots}: that leaves"
                f" {self.context_tokens // self.slots} for a call, and at least {MIN_SLOT_TOKENS} are needed:"
                f" set context_tokens to {self.slots * MIN_SLOT_TOKENS} or more, or set fewer slots"
            )
        return self


class EmbedderConfig(EngineConfig):
    """Embeddings by all-MiniLM-L6-v2 in the gateway's process. It needs no server."""


class ScriptedConfig(EngineConfig):
    """Scripted answers without a model, to test and demonstrate timing and faults."""

    ttft_ms: float = Field(default=0, ge=0, description="Time to the first token.")
    itl_ms: float = Field(default=0, ge=0, description="Time between tokens.")
    tokens: int = Field(default=16, ge=0, description="Tokens in an answer.")
    text: str | None = Field(default=None, description="Text of the answer. Default: made-up words.")
    answers: Mapping[str, str] = Field(
        default={},
        description="Other texts of answers, by words: the first whose words are in the last message or in the prompt, in"
        " any case, is the answer. So an engine can stand in for a guard model.",
    )
    fault: str | None = Field(
        default=None, description="A fault and the token at which it happens, such as `reset@10`."
    )
    slots: int | None = Field(default=None, gt=0, description="Calls served at once. Default: no limit.")
