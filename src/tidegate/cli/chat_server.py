"""The server of a chat: any server with the OpenAI API. It is asked for one answer at a time.

TTFT is the time from the request (connecting included) to the first event with text. ITL is the mean gap between the events
with text. Both are measured in this client, so they include the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from tidegate.config import HttpEngineConfig
from tidegate.egress.exchange import Exchange, Headers
from tidegate.egress.open import open_client
from tidegate.engines.openai import read_whole
from tidegate.engines.refusals import MAX_ERROR_BYTES, explanation
from tidegate.errors import UpstreamError, UpstreamUnreachable
from tidegate.kernel.sse import Event, EventTooLarge, SseReader
from tidegate.ports import Clock
from tidegate.types import Answer, Usage

MAX_LIST_BYTES = 4 * 2**20
MAX_ANSWER_BYTES = 64 * 2**20
_ANSWER = msgspec.json.Decoder(Answer)


class ChatFailed(Exception):
    """There is no complete answer. `message` is the server's message if it sent one. `code` is the server's error code."""

    def __init__(
        self, message: str, *, code: str | None = None, status: int | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.param = param

    def __str__(self) -> str:
        """Return the message, with the status and the code if there are any."""
        known = " ".join(str(part) for part in (self.status, self.code) if part is not None)
        return f"{self.message} ({known})" if known else self.message


class Turn(msgspec.Struct):
    """One answer as it arrives. Its times are in seconds of the clock, and 0 means not yet."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    asked_at: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0
    ended_at: float = 0.0
    events: int = 0

    @property
    def ttft_s(self) -> float | None:
        """Seconds from the request to the first text."""
        return self.first_at - self.asked_at if self.events else None

    @property
    def itl_s(self) -> float | None:
        """Mean seconds between the events with text after the first."""
        return (self.last_at - self.first_at) / (self.events - 1) if self.events > 1 else None

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens per second after the first token. None if the server reports no tokens, or if all text arrived at once."""
        took_s = self.last_at - self.first_at
        if self.usage is None or self.usage.completion_tokens < 2 or took_s <= 0:
            return None
        return (self.usage.completion_tokens - 1) / took_s


Show = Callable[[str, bool], None]
"""Called with a part of an answer, and whether it is reasoning. The text is not trusted: see `kernel/plain.py`."""


class ChatServer:
    """One server. Close it at the end."""

    def __init__(self, config: HttpEngineConfig, clock: Clock) -> None:
        self.url = config.url
        self._clock = clock
        self._client = open_client(config)
        self._total_s = config.timeouts.total_ms / 1000
        own: Headers = [(b"user-agent", b"tidegate-chat")]
        if config.api_key is not None:
            own.append((b"authorization", b"Bearer " + config.api_key.get_secret_value().encode()))
        json = (b"content-type", b"application/json")
        self._chat = self._client.target("POST", "chat/completions", [json, *own])
        self._models = self._client.target("GET", "models", own)

    async def close(self) -> None:
        """Drop every connection."""
        await self._client.close()

    async def models(self) -> list[str]:
        """Return the names of the models that the server lists, in its order. Raises ChatFailed."""
        try:
            exchange = await self._client.send(self._models, [], b"", self._total_s)
            try:
                await _must_be_ok(exchange)
                body = await read_whole(exchange, MAX_LIST_BYTES)
            finally:
                await exchange.close()
            return [model.id for model in msgspec.json.decode(body, type=_List).data]
        except UpstreamError as error:
            raise self._failed(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ChatFailed(f"{self.url}/models is not a list of models in OpenAI's format") from error

    async def ask(self, request: Mapping[str, Any], turn: Turn, show: Show) -> None:
        """Stream the answer to a request into `turn`, and pass every part to `show`. Return once the answer is complete.

        Servers differ in two fields. If the server refuses one of them, the request is changed and sent once more. Raises
        ChatFailed.
        """
        fields = {**request, "stream": True, "stream_options": {"include_usage": True}}
        while True:
            turn.asked_at = self._clock()
            try:
                return await self._ask(fields, turn, show)
            except UpstreamError as error:
                raise self._failed(error) from error
            except ChatFailed as refused:
                other = _otherwise(fields, refused)
                if other is None:
                    raise
                fields = other
            finally:
                turn.ended_at = self._clock()

    async def _ask(self, fields: Mapping[str, Any], turn: Turn, show: Show) -> None:
        body = msgspec.json.encode(fields)
        exchange = await self._client.send(self._chat, [], body, self._total_s)
        done = False
        try:
            await _must_be_ok(exchange)
            if b"text/event-stream" not in dict(exchange.headers).get(b"content-type", b""):
                # This server does not stream.
                self._take(_read(await read_whole(exchange, MAX_ANSWER_BYTES)), turn, show)
            else:
                reader = SseReader()
                while not done and (data := await exchange.read()):
                    for event in _events(reader, data):
                        done = done or event.data == b"[DONE]"
                        if not done and event.data is not None:
                            self._take(_read(event.data), turn, show)
        finally:
            await exchange.close(expect_end=done)
        if not turn.finish_reason:
            raise ChatFailed("the answer broke off: the server never said that it was complete")

    def _take(self, answer: Answer, turn: Turn, show: Show) -> None:
        if answer.usage is not None:
            turn.usage = answer.read_usage()
        for choice in answer.choices or ():
            if choice.index:
                continue
            for text, is_reasoning in _parts(choice.delta or choice.message):
                turn.last_at = self._clock()
                turn.first_at = turn.first_at or turn.last_at
                turn.events += 1
                if is_reasoning:
                    turn.reasoning += text
                else:
                    turn.text += text
                show(text, is_reasoning)
            turn.finish_reason = choice.finish_reason or turn.finish_reason

    def _failed(self, error: UpstreamError) -> ChatFailed:
        """Convert an error of the HTTP client, whose message calls the server an engine."""
        said = error.message.replace("the engine", "the server")
        if isinstance(error, UpstreamUnreachable):
            return ChatFailed(f"no server answers at {self.url}: {said}")
        return ChatFailed(said)


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


async def _must_be_ok(exchange: Exchange) -> None:
    """Check that the status is 200. Otherwise raise ChatFailed with the server's message."""
    if exchange.status == 200:
        return
    told = explanation(await read_whole(exchange, MAX_ERROR_BYTES))
    message = told.message or "the server refused, without a reason; is this the URL of its API, up to /v1?"
    wait = dict(exchange.headers).get(b"retry-after", b"")
    if exchange.status in (429, 503) and wait.isdigit():
        message += f"; it says to try again in {int(wait)} s"
    code = str(told.code) if told.code is not None else None
    raise ChatFailed(message, code=code, status=exchange.status, param=told.param)


def _events(reader: SseReader, data: bytes) -> list[Event]:
    try:
        return reader.feed(data)
    except EventTooLarge as error:
        raise ChatFailed(f"the server's stream is unusable: {error}") from error


def _read(data: bytes) -> Answer:
    try:
        answer = _ANSWER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ChatFailed("the server sent something that is not an answer in OpenAI's format") from error
    if answer.error is not None:
        told = explanation(msgspec.json.encode({"error": answer.error}))
        code = str(told.code) if told.code is not None else None
        raise ChatFailed(told.message or "the server reported an error in its answer", code=code)
    return answer


def _parts(delta: Any) -> Iterator[tuple[str, bool]]:
    """Yield the visible parts of one event: text, and whether it is reasoning."""
    if delta is None:
        return
    for found, is_reasoning in (
        (delta.reasoning_content or delta.reasoning, True),
        (delta.content, False),
        (delta.refusal, False),
    ):
        if isinstance(found, str) and found:
            yield found, is_reasoning


def _otherwise(fields: Mapping[str, Any], refused: ChatFailed) -> dict[str, Any] | None:
    """Return the request without the field that the server refused, or with its other name. None if that cannot help."""
    if refused.status not in (400, 422):
        return None
    said = f"{refused.param} {refused.message}"
    if "stream_options" in said and "stream_options" in fields:
        return {name: value for name, value in fields.items() if name != "stream_options"}
    if "max_completion_tokens" in said and "max_tokens" in fields:
        return {("max_completion_tokens" if name == "max_tokens" else name): fields[name] for name in fields}
    return None
