"""The engine for any server with the OpenAI API over HTTP. The kinds `vllm`, `sglang` and `llamacpp` derive from it.

A request is rebuilt from the call's fields. An answer is passed on as the bytes that the engine sent, and is read once to
check that it is complete. Only this module translates an engine's HTTP failures into the gateway's errors.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from io import BytesIO
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import urlsplit

import msgspec

from tidegate.budget import UNCOUNTED_BYTES
from tidegate.config import DEFAULT_PROBE, HttpEngineConfig, OpenAIConfig
from tidegate.egress.exchange import Client, Exchange, Headers, Target
from tidegate.egress.open import open_client, own_headers
from tidegate.engines import fields
from tidegate.engines.answers import EventStream, Odd, check_whole, read_answer, uncounted
from tidegate.engines.encoded import decoded_exchange
from tidegate.engines.large import in_parts
from tidegate.engines.preview import MASK, Outgoing
from tidegate.engines.refusals import MAX_ERROR_BYTES, Explanation, explanation, judge, wait_s
from tidegate.errors import GatewayError, UpstreamError, UpstreamUnreachable
from tidegate.ports import Clock, Host
from tidegate.types import ENGINE_ENDPOINTS, Abilities, Ask, Batch, Capabilities, Endpoint, Load, Piece, Room

# Some servers send these in place of 200: created, accepted, non-authoritative information (RFC 9110, 15.3).
_AS_GOOD_AS_200 = frozenset({200, 201, 202, 203})
PROBE_S = 5.0
# One for the regular probe, and one for a reload that probes at the same time.
PROBE_CONNECTIONS = 2
# The step by which the reserved room grows for an answer of unknown length.
STEP_BYTES = 2**20
# The most memory that an answer needs beyond its own size, for the slice that is being sent to the client.
IN_TRANSIT_BYTES = 256 * 1024


_ENCODER = msgspec.json.Encoder()
NOTHING: Mapping[str, msgspec.Raw] = MappingProxyType({})
_JSON: Headers = [(b"content-type", b"application/json")]
_PROXIED = "it goes through the engine's proxy, whose credentials, if there are any, are sent beside it"


class OpenAIEngine:
    """One OpenAI-compatible server. Satisfies `Engine`."""

    Config: ClassVar[type[HttpEngineConfig]] = OpenAIConfig
    FIELDS: ClassVar[Mapping[Endpoint, frozenset[str]]] = fields.OPENAI
    SPELLING: ClassVar[str] = "openai"
    RESERVES_ANSWER: ClassVar[bool] = True
    KEEPS_CHUNKED: ClassVar[bool] = True

    def __init__(self, config: HttpEngineConfig) -> None:
        self._config = config
        more = frozenset(config.allow_fields)
        self.capabilities = Capabilities(
            {endpoint: names | more for endpoint, names in self.FIELDS.items()},
            stream_usage=config.sends_usage,
            can=Abilities(reserves_answer=self.RESERVES_ANSWER),
            spelling=self.SPELLING,
        )
        self.odd: Odd = uncounted
        self._running = 0
        self._client: Client
        self._targets: dict[Endpoint, Target]
        self._clock: Clock
        self._host: Host

    async def open(self, host: Host) -> None:
        """Prepare the connection pool. No request is sent."""
        self._clock, self._host = host.clock, host
        self._client = open_client(self._config, keeps_chunked=self.KEEPS_CHUNKED)
        headers = _JSON + self._own_headers()
        self._targets = {
            endpoint: self._client.target("POST", endpoint.value, headers, once=True)
            for endpoint in ENGINE_ENDPOINTS
        }
        self._probe = None
        if place := self._config.probe_at:
            # Probes have connections of their own, so that an engine that is busy with calls still counts as reachable.
            base, path = place
            self._prober = open_client(
                self._config.model_copy(update={"url": base}), max_connections=PROBE_CONNECTIONS
            )
            self._probe = self._prober.target("GET", path, self._own_headers())

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()
        if self._probe is not None:
            await self._prober.close()

    async def ready(self) -> bool:
        """Return whether the server answers. Most statuses are accepted, because not every server can list its models.

        Raises UpstreamError if there is no answer, for a 401 (see `upstream.status`), and for a proxy's 407. If `probe` is
        set to a path other than the default, also raises UpstreamError for a status of 500 or more.
        """
        if self._probe is None:
            return True
        exchange = await self._prober.send(self._probe, [], b"", PROBE_S)
        await exchange.close()
        status, path = exchange.status, self._config.probe
        if status in (401, 407) or (status >= 500 and path != DEFAULT_PROBE):
            error = UpstreamError(f"answered the probe, GET {path}, with status {status}")
            error.upstream.status = status
            raise error
        return True

    async def load(self) -> Load:
        """Return the number of this gateway's calls at the engine. The plain API does not report a load."""
        return Load(running=self._running)

    async def count_tokens(self, ask: Ask) -> int | None:
        """Return None: the plain API cannot count tokens."""
        del ask
        return None

    def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        """See `Engine.stream`."""
        return self.send(ask, self.fields(ask))

    async def send(self, ask: Ask, fields: Mapping[str, msgspec.Raw]) -> AsyncGenerator[Batch, None]:
        """Send a request of these fields and yield the answer; see `Engine.stream`."""
        body = in_parts(fields) if ask.is_large else _ENCODER.encode(fields)
        self._running += 1
        exchange = events = None
        try:
            exchange = await self._client.send(
                self._targets[ask.endpoint], ask.onward, body, ask.deadline - self._clock()
            )
            if exchange.status != 200 or b"content-encoding" in dict(exchange.headers):
                exchange = await self._usable(exchange)
            if not ask.stream:
                data = await read_whole(exchange, self._config.max_response_bytes, ask.room)
                yield [self._whole(ask, data)]
                return
            events = EventStream(
                max_event_bytes=self._config.max_response_bytes,
                says_why=self._config.sends_finish_reason,
                odd=self.odd,
                judged=self.translate,
            )
            while not events.ended and (data := await exchange.read()):
                if batch := events.feed(data):
                    yield batch
            if not events.ended and (batch := events.last()):
                yield batch
            events.finish(ask.choices)
        except GatewayError as error:
            self._locate(error, ask.endpoint.value, exchange)
            raise
        finally:
            self._running -= 1
            if exchange is not None:
                await exchange.close(expect_end=events is not None and events.done)

    async def _usable(self, exchange: Exchange) -> Exchange:
        """Return the exchange with its body decompressed. Raises the error for a refusal by the engine."""
        found = decoded_exchange(exchange)
        if found is not exchange:
            self.odd("encoding")
        if found.status not in _AS_GOOD_AS_200:
            raise await self._refused(found)
        if found.status != 200:
            self.odd("status")
        return found

    def _whole(self, ask: Ask, data: bytes) -> Piece:
        """Read an answer that is not streamed. Raises UpstreamError, or the error that the body reports."""
        answer = read_answer(data, large=len(data) > UNCOUNTED_BYTES, odd=self.odd, judged=self.translate)
        # Embeddings have no choices. A body with vectors may be large, so it is not searched for an error.
        if answer.choices is None and not (ask.endpoint is Endpoint.EMBEDDINGS and b'"embedding"' in data):
            check_whole(data, self.translate, needs_choices=ask.endpoint is not Endpoint.EMBEDDINGS)
        return Piece(data, answer)

    def fields(self, ask: Ask) -> Mapping[str, msgspec.Raw]:
        """Return the fields to send: those of the ask, and for some kinds further fields of the gateway's own."""
        return ask.fields

    def body(self, ask: Ask, more: Mapping[str, msgspec.Raw] = NOTHING) -> bytes:
        """Return the request body for the engine, with the fields of `fields` and `more`."""
        return _ENCODER.encode({**self.fields(ask), **more})

    def outgoing(self, ask: Ask, more: Mapping[str, msgspec.Raw] = NOTHING) -> Outgoing:
        """See `Preview`. The HTTP client adds the first two headers and the last one."""
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
        return own_headers(self._config)

    async def _refused(self, exchange: Exchange) -> GatewayError:
        """Return the error for an answer with a status other than 2xx. Its body may be incomplete."""
        headers = dict(exchange.headers)
        told = explanation(await _read_some(exchange, MAX_ERROR_BYTES))
        return self.translate(exchange.status, told, wait_s(headers, self._host.wall()))

    def translate(
        self, status: int | None, told: Explanation, retry_after_s: float | None = None
    ) -> GatewayError:
        """Return the gateway's error for an engine's explanation. `status` is None for an error inside a 200.

        Kinds of engines override this to handle errors of their own.
        """
        return judge(status, told, retry_after_s)

    def _locate(self, error: GatewayError, path: str, exchange: Exchange | None) -> None:
        """Add the place of the failure to an error, for the log, and mask the gateway's credentials."""
        if isinstance(error, UpstreamUnreachable) and isinstance(error.__cause__, TimeoutError):
            error.cause = (
                f"timed out after {self._config.timeouts.connect_ms / 1000:g} s without a connection"
            )
        error.cause = self._without_secrets(error.cause)
        error.message = self._without_secrets(error.message)
        found = error.upstream
        found.url = f"{self._config.url}/{path}"
        if exchange is not None:
            found.status = exchange.status
            headers = dict(exchange.headers)
            ids = (headers[name] for name in _REQUEST_IDS if name in headers)
            found.request_id = next(ids, b"")[:_MAX_ID].decode("latin-1")

    def _without_secrets(self, text: str) -> str:
        """Mask the gateway's credentials in an engine's message, because some engines repeat the key that they refuse."""
        for _, value in self._own_headers():
            secret = value.removeprefix(b"Bearer ").decode("latin-1")
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, MASK)
        return text


_SHORTEST_SECRET = 4
# Headers with the request id of an engine, a provider or a proxy in front of them. The most useful one comes first.
_REQUEST_IDS = (
    b"x-request-id",
    b"request-id",
    b"apim-request-id",
    b"x-amzn-requestid",
    b"x-ms-request-id",
    b"cf-ray",
)
_MAX_ID = 128


async def _read_some(exchange: Exchange, limit: int) -> bytes:
    """Return at most `limit` bytes of a body, fewer if the connection fails."""
    body = b""
    with suppress(UpstreamError):
        while len(body) < limit and (data := await exchange.read()):
            body += data
    return body[:limit]


async def read_whole(exchange: Exchange, limit: int, room: Room | None = None) -> bytes:
    """Return the rest of an answer's body. Waits until `room` can be reserved for it.

    Raises UpstreamError if the body is longer than `limit` bytes, without reading it if its `content-length` is too large.
    """
    length = dict(exchange.headers).get(b"content-length", b"")
    promised = int(length) if length.isdigit() and len(length) < 20 else 0
    body = BytesIO()  # grows in place; joining a list would hold the answer twice
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
    """Return the bytes to reserve for an answer of which `size` bytes have arrived.

    If the length is known, reserve the whole answer; otherwise round `size` up to the next step. Add room for a slice that
    is being sent.
    """
    known = promised if size <= promised else (size // STEP_BYTES + 1) * STEP_BYTES
    return known + min(known, IN_TRANSIT_BYTES)
