"""Any server that speaks the OpenAI API over HTTP. The kinds `vllm`, `sglang` and `llamacpp` refine it.

Requests go out rebuilt from the call's fields; answers come back as the bytes the engine sent, read once to know that they
are whole. What the engine says in HTTP is translated into our errors here and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec

from tidegate.budget import UNCOUNTED_BYTES
from tidegate.config import HttpEngineConfig, OpenAIConfig
from tidegate.egress.exchange import Client, Exchange, Headers, Target
from tidegate.egress.open import open_client
from tidegate.engines import fields
from tidegate.engines.large import check_utf8, decode_large, in_parts
from tidegate.engines.preview import MASK, Outgoing
from tidegate.errors import (
    GatewayError,
    NotSupported,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)
from tidegate.kernel.sse import EventTooLarge, SseReader
from tidegate.ports import Clock, Host
from tidegate.types import Answer, Ask, Batch, Capabilities, Endpoint, Load, Piece, Room

MAX_ERROR_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 60.0
PROBE_S = 5.0
# By so much the room grows for an answer that does not say how long it is.
STEP_BYTES = 2**20
# What is held of an answer beside itself, at the most: the slice that is under way to the client.
IN_TRANSIT_BYTES = 256 * 1024


class Explanation(msgspec.Struct):
    """Why an engine refused, as far as it said so in a form we know."""

    message: str | None = None
    param: str | None = None
    code: Any = None


class _Refusal(msgspec.Struct):
    error: Explanation | str | None = None
    message: str | None = None
    detail: str | None = None


_ANSWER = msgspec.json.Decoder(Answer)
_REFUSAL = msgspec.json.Decoder(_Refusal)
_ENCODER = msgspec.json.Encoder()
NOTHING: Mapping[str, msgspec.Raw] = MappingProxyType({})
_JSON: Headers = [(b"content-type", b"application/json")]
_PROXIED = (
    "it goes through the engine's proxy: the HTTP client for that orders the headers its own way and adds `accept: */*`,"
    " `user-agent: tidegate` and the proxy's credentials, if there are any"
)


class OpenAIEngine:
    """One OpenAI-compatible server. Satisfies `Engine`."""

    Config: ClassVar[type[HttpEngineConfig]] = OpenAIConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.OPENAI

    def __init__(self, config: HttpEngineConfig) -> None:
        self._config = config
        more = frozenset(config.allow_fields)
        self.capabilities = Capabilities({endpoint: names | more for endpoint, names in self.FIELDS.items()})
        self._running = 0
        self._client: Client
        self._targets: dict[Endpoint, Target]
        self._clock: Clock

    async def open(self, host: Host) -> None:
        """Prepare the connection pool; no request is sent."""
        self._clock = host.clock
        self._client = open_client(self._config)
        headers = _JSON + self._own_headers()
        self._targets = {
            endpoint: self._client.target("POST", endpoint.value, headers, once=True) for endpoint in Endpoint
        }
        self._models = self._client.target("GET", "models", self._own_headers())

    async def close(self) -> None:
        """Drop every connection."""
        await self._client.close()

    async def ready(self) -> bool:
        """Whether the server answers and takes our credentials. Not every server can list its models."""
        try:
            exchange = await self._client.send(self._models, [], b"", PROBE_S)
            try:
                await read_whole(exchange, self._config.max_response_bytes)
            finally:
                await exchange.close()
        except GatewayError:
            return False
        return exchange.status < 500 and exchange.status not in (401, 403)

    async def load(self) -> Load:
        """The plain API does not tell, but how many of this gateway's own calls it has is known."""
        return Load(running=self._running)

    async def count_tokens(self, ask: Ask) -> int | None:
        """None: the plain API cannot count."""
        del ask
        return None

    def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        """See `Engine.stream`."""
        return self.send(ask, self.fields(ask))

    async def send(self, ask: Ask, fields: Mapping[str, msgspec.Raw]) -> AsyncGenerator[Batch, None]:
        """Send a request of these fields and yield the answer; see `Engine.stream`."""
        body = in_parts(fields) if ask.is_large else _ENCODER.encode(fields)
        self._running += 1
        exchange, events = None, EventStream()
        try:
            exchange = await self._client.send(
                self._targets[ask.endpoint], ask.onward, body, ask.deadline - self._clock()
            )
            if exchange.status != 200:
                raise await self._refused(exchange)
            if not ask.stream:
                data = await read_whole(exchange, self._config.max_response_bytes, ask.room)
                answer = read_answer(data, large=len(data) > UNCOUNTED_BYTES)
                if answer.choices is None and ask.endpoint is not Endpoint.EMBEDDINGS:
                    raise UpstreamError("the engine sent an answer without choices")
                yield [Piece(data, answer)]
                return
            while not events.done and (data := await exchange.read()):
                if batch := events.feed(data):
                    yield batch
            events.finish(ask.choices)
        finally:
            self._running -= 1
            if exchange is not None:
                await exchange.close(expect_end=events.done)

    def fields(self, ask: Ask) -> Mapping[str, msgspec.Raw]:
        """The fields that this kind of engine gets: those of the ask, and perhaps its own."""
        return ask.fields

    def body(self, ask: Ask, more: Mapping[str, msgspec.Raw] = NOTHING) -> bytes:
        """The request body for the engine: its `fields` and `more`."""
        return _ENCODER.encode({**self.fields(ask), **more})

    def outgoing(self, ask: Ask, more: Mapping[str, msgspec.Raw] = NOTHING) -> Outgoing:
        """See `Preview`. The first two and the last header are the HTTP client's."""
        url, body = self._config.url, self.body(ask, more)
        secrets = {name for name, _ in self._own_headers()}
        headers = [
            (b"host", urlsplit(url).netloc.encode()),
            (b"accept-encoding", b"identity"),
            *_JSON,
            *self._own_headers(),
            *ask.onward,
            (b"content-length", b"%d" % len(body)),
        ]
        shown = [
            (name.decode("latin-1"), MASK if name in secrets else value.decode("latin-1"))
            for name, value in headers
        ]
        notes = [_PROXIED] if self._config.proxy else []
        return Outgoing("POST", f"{url}/{ask.endpoint.value}", shown, msgspec.Raw(body), notes)

    def _own_headers(self) -> Headers:
        headers = [
            (name.lower().encode(), value.get_secret_value().encode())
            for name, value in self._config.headers.items()
        ]
        if self._config.api_key is not None:
            headers.append((b"authorization", b"Bearer " + self._config.api_key.get_secret_value().encode()))
        return headers

    async def _refused(self, exchange: Exchange) -> GatewayError:
        """The error that stands for an answer other than 200."""
        status, headers = exchange.status, dict(exchange.headers)
        told = explanation(await read_whole(exchange, MAX_ERROR_BYTES))
        return self.translate(status, told, headers.get(b"retry-after"))

    def translate(self, status: int, told: Explanation, retry_after: bytes | None) -> GatewayError:
        """An answer other than 200 as our error; kinds that use statuses in their own way refine this."""
        return translate(status, told, retry_after=retry_after)


def translate(status: int, told: Explanation, *, retry_after: bytes | None = None) -> GatewayError:
    """An engine's status as our error. Only what the client can mend is told in the engine's own words."""
    if status in (429, 503):
        # By its length first: Python refuses to read a number of more than 4,300 digits.
        seconds = retry_after if retry_after and retry_after.isdigit() else b"1"
        wait = int(seconds) if len(seconds) < 10 else MAX_RETRY_AFTER_S
        return UpstreamBusy("the engine has no capacity left", retry_after_s=min(wait, MAX_RETRY_AFTER_S))
    if status in _ENGINE_SIDE:
        kind, message = _ENGINE_SIDE[status]
        return kind(message)
    if 400 <= status < 500:
        return UpstreamRejected(
            told.message or "the engine rejected the request", status=status, param=told.param
        )
    return UpstreamError(f"the engine failed with status {status}")


_ENGINE_SIDE: Mapping[int, tuple[type[GatewayError], str]] = MappingProxyType(
    {
        402: (UpstreamError, "the engine's operator has no credit left there"),
        401: (UpstreamError, "the engine refused the gateway's credentials"),
        403: (UpstreamError, "the engine refused the gateway's credentials"),
        407: (UpstreamError, "the proxy refused the gateway's credentials"),
        404: (UpstreamError, "the engine does not know this model or endpoint"),
        408: (UpstreamTimeout, "the engine timed out"),
        504: (UpstreamTimeout, "the engine timed out"),
        501: (NotSupported, "the engine does not support this"),
    }
)


def explanation(body: bytes) -> Explanation:
    """Message and field name out of the error bodies that engines send: `{"error": {…}}`, `{"error": "…"}` or bare."""
    try:
        found = _REFUSAL.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Explanation()
    error = found.error
    if isinstance(error, str):
        return Explanation(message=error)
    return error or Explanation(message=found.message or found.detail)


def read_answer(data: bytes, *, large: bool = False) -> Answer:
    """The part of an engine's JSON that the gateway reads. Raises UpstreamError unless all of it is valid JSON.

    `large` leaves long texts unparsed: see `large.py`.
    """
    try:
        answer = decode_large(data) if large else _ANSWER.decode(data)
        check_utf8(data)
    except msgspec.ValidationError as error:
        raise UpstreamError(f"the engine sent an answer of another form than OpenAI's: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamError("the engine sent an answer that is not valid JSON") from error
    if answer.error is not None:
        raise _error_in_answer(answer.error)
    return answer


def _error_in_answer(error: Any) -> GatewayError:
    try:
        told = explanation(_ENCODER.encode({"error": error}))
    except RecursionError:  # just not too deep to be read
        told = Explanation()
    if isinstance(told.code, int) and 400 <= told.code < 600:
        return translate(told.code, told)
    return UpstreamError("the engine reported an error in its answer")


async def read_whole(exchange: Exchange, limit: int, room: Room | None = None) -> bytes:
    """The rest of an answer's body, as soon as there is room for it.

    Raises UpstreamError where it is longer than `limit` bytes, before it is read where its length says so.
    """
    length = dict(exchange.headers).get(b"content-length", b"")
    promised = int(length) if length.isdigit() and len(length) < 20 else 0
    body = BytesIO()  # it grows in place; a list and a join would hold the answer twice
    size, at_least = 0, promised
    while at_least <= limit:
        if at_least > UNCOUNTED_BYTES and room is not None:
            await room.take(_needed(size, promised))
        data = await exchange.read()
        if not data:
            return body.getvalue()
        size += len(data)
        at_least = max(at_least, size)
        body.write(data)
    raise UpstreamError(f"the engine's answer is larger than {limit} bytes")


def _needed(size: int, promised: int) -> int:
    """Room for an answer of which `size` bytes are here: for all of it where its length is known, else some steps ahead."""
    known = promised if size <= promised else (size // STEP_BYTES + 1) * STEP_BYTES
    return known + min(known, IN_TRANSIT_BYTES)


class EventStream:
    """An answer that arrives as server-sent events. Complete means: every choice that began has said why it ended.

    Neither `[DONE]` nor the end of the connection proves that; some engines send both after breaking off.
    """

    def __init__(self) -> None:
        self.done = False
        self._reader = SseReader()
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    def feed(self, data: bytes) -> Batch:
        """The pieces in these bytes, up to `[DONE]`. Raises UpstreamError for what is not an answer."""
        batch: Batch = []
        try:
            events = self._reader.feed(data)
        except EventTooLarge as error:
            raise UpstreamError(f"the engine's stream is unusable: {error}") from error
        for event in events:
            if event.data is None:
                continue
            if event.data == b"[DONE]":
                self.done = True
                break
            answer = read_answer(event.data)
            if event.name == b"error":
                raise UpstreamError("the engine reported an error in its answer")
            for choice in answer.choices or ():
                # Some engines write "" where they mean null.
                (self._ended if choice.finish_reason else self._begun).add(choice.index)
            batch.append(Piece(event.data, answer, event.raw))
        return batch

    def finish(self, choices: int) -> None:
        """Call at the end of the stream. Raises UpstreamError unless the answer is complete.

        `choices` is how many were asked for: an engine may make fewer, but then it has to say that it is done.
        """
        # Some engines leave out the last line end.
        if not self.done and self._reader.rest.strip(b"\r\n") not in (b"", b"data: [DONE]"):
            raise UpstreamError("the engine's stream broke off inside an event")
        whole = bool(self._ended) and self._begun <= self._ended
        if not whole or (not self.done and len(self._ended) < choices):
            raise UpstreamError("the engine's stream ended before its answer was complete")
