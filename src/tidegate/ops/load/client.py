"""Sends one request and times its answer. The client works with any server that has OpenAI's chat completions API."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from tidegate.egress.exchange import Client, Exchange, Headers
from tidegate.engines.openai import read_whole
from tidegate.engines.refusals import explanation
from tidegate.errors import GatewayError, UpstreamBusy, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from tidegate.kernel.sse import EventTooLarge, SseReader
from tidegate.ops.load.prompts import Prompt
from tidegate.ops.load.sample import Sample
from tidegate.ports import Clock

_MAX_BODY_BYTES = 16 * 2**20
_MAX_DETAIL = 300
_NEWER_LIMIT = "max_completion_tokens"
_NOTHING = msgspec.Raw(b"null")
_EMPTY = (b"null", b"[]")


class Asker(Protocol):
    """Sends a prompt that was due at `due` and returns a sample. Failures of the server are in the sample, never raised."""

    async def ask(self, prompt: Prompt, due: float, *, keep: bool = False) -> tuple[Sample, str]: ...


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = _NOTHING

    @property
    def carries(self) -> bool:
        return bool(
            self.content
            or self.reasoning_content
            or self.reasoning
            or self.refusal
            or bytes(self.tool_calls) not in _EMPTY
        )


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    message: _Delta | None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = _NOTHING


class _Failed(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that all requests share.

    `fields` are further fields of every body. `timeout_s` is the longest time for an answer.
    """

    model: str
    stream: bool = True
    timeout_s: float = 120.0
    headers: Headers = []
    fields: dict[str, Any] = {}


class ChatClient:
    """Sends requests to one server. Satisfies `Asker`. The latency includes the time to make a connection, if any."""

    def __init__(self, client: Client, ask: Ask, *, clock: Clock) -> None:
        kind = [(b"content-type", b"application/json"), *ask.headers]
        self._target = client.target("POST", "chat/completions", kind)
        self._client = client
        self._clock = clock
        self._timeout_s = ask.timeout_s
        self._stream = ask.stream
        options = {"stream": True, "stream_options": {"include_usage": True}} if ask.stream else {}
        self._fields: dict[str, Any] = {"model": ask.model, **options, **ask.fields}
        self._limit = "max_tokens"
        self._decode = msgspec.json.Decoder(_Event).decode

    async def ask(self, prompt: Prompt, due: float, *, keep: bool = False) -> tuple[Sample, str]:
        """See `Asker.ask`. With `keep`, the answer's text is returned too."""
        sample, text = await self._ask(prompt, due, keep=keep)
        if sample.error == "http_400" and self._limit == "max_tokens" and _NEWER_LIMIT in sample.detail:
            # Some models accept the limit only by its newer name, and their message says so. The first request, a probe,
            # shows this.
            self._limit = _NEWER_LIMIT
            return await self._ask(prompt, due, keep=keep)
        return sample, text

    async def _ask(self, prompt: Prompt, due: float, *, keep: bool) -> tuple[Sample, str]:
        body: dict[str, Any] = {**self._fields, "messages": prompt.messages}
        if prompt.max_tokens is not None:
            body[self._limit] = prompt.max_tokens
        encoded = msgspec.json.encode(body)
        sample = Sample(due=due)
        text: list[str] = []
        whole = False
        sample.sent = self._clock()
        try:
            exchange = await self._client.send(self._target, [], encoded, self._timeout_s)
            try:
                await self._receive(exchange, sample, text if keep else None)
                whole = True
            finally:
                await exchange.close(expect_end=whole)
        except _Failed as error:
            sample.error, sample.detail = error.kind, error.detail[:_MAX_DETAIL]
        except UpstreamError as error:
            sample.error, sample.detail = _kind(error), error.message
        except UpstreamBusy as error:
            sample.error, sample.detail = "no_connection", error.message
        sample.done = self._clock()
        return sample, "".join(text)

    async def _receive(self, exchange: Exchange, sample: Sample, text: list[str] | None) -> None:
        if exchange.status != 200:
            raise _refused(exchange.status, await read_whole(exchange, _MAX_BODY_BYTES))
        if self._stream:
            await self._read_stream(exchange, sample, text)
        else:
            self._take(await read_whole(exchange, _MAX_BODY_BYTES), sample, text, now=None)
        if not sample.counted:
            sample.output_tokens = len(sample.contents)

    async def _read_stream(self, exchange: Exchange, sample: Sample, text: list[str] | None) -> None:
        reader = SseReader()
        while data := await exchange.read():
            now = self._clock()
            try:
                events = reader.feed(data)
            except EventTooLarge as error:
                raise _Failed("bad_answer", str(error)) from error
            for event in events:
                if event.data == b"[DONE]":
                    return
                if event.data is not None:
                    self._take(event.data, sample, text, now=now)
        if reader.rest.lstrip().startswith(b"{") and not sample.contents:
            found = reader.rest[:_MAX_DETAIL].decode(errors="replace")
            raise _Failed("not_a_stream", f"a JSON answer where a stream was asked for: {found}")
        raise _Failed("truncated", "the stream ended without [DONE]")

    def _take(self, data: bytes, sample: Sample, text: list[str] | None, *, now: float | None) -> None:
        try:
            event = self._decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Failed("bad_answer", f"{error}: {data[:120]!r}") from error
        if bytes(event.error) not in _EMPTY:
            raise _Failed("error_event", bytes(event.error).decode(errors="replace"))
        for choice in event.choices:
            delta = choice.delta or choice.message
            if delta is not None and delta.carries:
                if now is not None:
                    sample.contents.append(now)
                if text is not None and delta.content:
                    text.append(delta.content)
        if event.usage is not None:
            _count(event.usage, sample)


def _count(usage: _Usage, sample: Sample) -> None:
    sample.prompt_tokens = usage.prompt_tokens or 0
    details = usage.prompt_tokens_details
    sample.cached_tokens = (details.cached_tokens or 0) if details is not None else 0
    if usage.completion_tokens is not None:
        sample.output_tokens, sample.counted = usage.completion_tokens, True


def _refused(status: int, body: bytes) -> _Failed:
    """Return the failure for a refusal: its kind, such as `http_429`, and the server's message."""
    said = explanation(body)
    # Servers that do not use OpenAI's format, such as those with `{"detail": [...]}`, are quoted.
    message = said.message or body[:_MAX_DETAIL].decode(errors="replace") or "no message"
    code = f" ({said.code})" if said.code not in (None, status) else ""
    return _Failed(f"http_{status}", f"{message}{code}")


def _kind(error: GatewayError) -> str:
    if isinstance(error, UpstreamUnreachable):
        return "no_connection"
    return "timeout" if isinstance(error, UpstreamTimeout) else "broken_off"
