"""The embedded engine: a llama.cpp server that the gateway runs itself and uses over HTTP like any other server.

The gateway is the server's only client. So this engine can do more than the HTTP adapter: it chooses the slot of every
call, and it copies a system prompt that one slot has read into other slots before they need it. `llama.py` decides which
process keeps the server alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import ClassVar

import msgspec
from pydantic import SecretStr

from tidegate.config import EmbeddedConfig, HttpEngineConfig, LlamaCppConfig
from tidegate.egress.exchange import Client
from tidegate.egress.open import open_client
from tidegate.engines import fields
from tidegate.engines.answers import Odd, uncounted
from tidegate.engines.embedded.llama import Llama, OwnLlama
from tidegate.engines.embedded.prefixes import SlotBook, SlotShare, Trail, trail_of
from tidegate.engines.embedded.server import Served
from tidegate.engines.llamacpp import LlamaCppEngine
from tidegate.engines.preview import Outgoing
from tidegate.errors import Again, GatewayError, UpstreamError
from tidegate.ports import Host
from tidegate.types import Abilities, Ask, Batch, Capabilities, Endpoint, Load

CONTROL_TIMEOUT_S = 10.0
NOTICED_WITHIN_S = 0.2
_ENCODER = msgspec.json.Encoder()
_JSON = [(b"content-type", b"application/json")]


class _Templated(msgspec.Struct):
    prompt: str


class _Tokenized(msgspec.Struct):
    tokens: list[int]


class _Adapter(LlamaCppEngine):
    CONTEXT_IS: ClassVar[str] = "the setting `context_tokens` divided by `slots`"


def _adapter(url: str, key: SecretStr, config: EmbeddedConfig) -> _Adapter:
    return _Adapter(LlamaCppConfig(kind="llamacpp", url=url, api_key=key, timeouts=config.timeouts))


class _Connection:
    """The connections to one run of the server. A restart of the server needs a new object."""

    def __init__(self, served: Served, config: EmbeddedConfig) -> None:
        self.served = served
        key = SecretStr(served.api_key)
        self.root = HttpEngineConfig(kind="llamacpp", url=served.url, api_key=key, timeouts=config.timeouts)
        self.adapter = _adapter(f"{served.url}/v1", key, config)
        self.control: Client = open_client(self.root)
        self._headers = [*_JSON, (b"authorization", b"Bearer " + served.api_key.encode())]

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request to the server's control API and return status and body. Raises UpstreamError."""
        target = self.control.target("POST", path.lstrip("/"), self._headers)
        exchange = await self.control.send(target, [], body, CONTROL_TIMEOUT_S)
        try:
            parts = b""
            while data := await exchange.read():
                parts += data
            return exchange.status, parts
        finally:
            await exchange.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.control.close()
        await self.adapter.close()


class EmbeddedEngine:
    """llama.cpp as a child process. Satisfies `Engine`. `open` starts the server, unless a running `llama` is given."""

    Config: ClassVar[type[EmbeddedConfig]] = EmbeddedConfig

    def __init__(self, config: EmbeddedConfig, *, llama: Llama | None = None) -> None:
        self._config = config
        self._llama = llama or OwnLlama(config)
        chat, completions = Endpoint.CHAT, Endpoint.COMPLETIONS
        self.capabilities = Capabilities(
            {chat: fields.LLAMACPP[chat], completions: fields.LLAMACPP[completions]},
            stream_usage=True,
            # llama.cpp ends an answer where the context ends.
            can=Abilities(
                vision=False, context_tokens=config.context_tokens // config.slots, reserves_answer=False
            ),
            spelling="llamacpp",
        )
        self.odd: Odd = uncounted
        self._host: Host
        self._share: SlotShare
        self._connection: _Connection
        self._switching = asyncio.Lock()

    async def open(self, host: Host) -> None:
        """Start the server if this engine owns it, and wait until it serves.

        Raises ConfigError for a model that llama.cpp cannot use, and UpstreamError if the server does not start.
        """
        self._host = host
        await self._llama.open(host)
        self.capabilities = msgspec.structs.replace(self.capabilities, slots=len(self._llama.slots))
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._llama.close)
            self._connection = await self._connect()
            undo.pop_all()
        self._share = SlotShare(
            SlotBook(self._llama.slots),
            self._control,
            Path(self._llama.served.slot_dir),
            clock=host.clock,
            spawn=host.spawn,
        )

    async def close(self) -> None:
        """Close the connections, and stop the server if this engine owns it."""
        await self._connection.close()
        await self._llama.close()

    async def ready(self) -> bool:
        """Return True if the server serves. Raises UpstreamError with the reason otherwise."""
        if not self._llama.ready:
            raise UpstreamError(
                "llama.cpp is not running: it is starting for the first time, or again after it ended"
            )
        return True

    async def load(self) -> Load:
        """Return the server's load, which includes other workers' calls, and this process's slots. Raises UpstreamError."""
        if not self._llama.ready:
            raise UpstreamError("the engine is starting")
        found = await (await self._current()).adapter.load()
        return msgspec.structs.replace(found, slots=len(self._llama.slots))

    async def count_tokens(self, ask: Ask) -> int | None:
        """Count the tokens of a chat exactly, with the server's own template and tokenizer.

        Returns None for requests other than chats, and while the server is down.
        """
        if "messages" not in ask.fields:
            return None
        try:
            _, body = await self._control(
                "/apply-template", _ENCODER.encode({"messages": ask.fields["messages"]})
            )
            prompt = msgspec.json.decode(body, type=_Templated).prompt
            question = {"content": prompt, "add_special": True, "parse_special": True}
            _, body = await self._control("/tokenize", _ENCODER.encode(question))
            return len(msgspec.json.decode(body, type=_Tokenized).tokens)
        except (GatewayError, msgspec.DecodeError):
            return None

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        """See `Engine.stream`. If the server dies before its first batch, the error allows a retry at this engine."""
        await self._llama.await_ready(ask.deadline)
        run, begun = self._llama.served, False
        try:
            async with aclosing(self._ask(ask)) as pieces:
                async for batch in pieces:
                    begun = True
                    yield batch
        except UpstreamError as error:
            if not begun and await self._has_died(run, ask.deadline):
                error.again = Again.SAME
            raise

    def outgoing(self, ask: Ask) -> Outgoing:
        """See `Preview`. The server is the gateway's own llama.cpp, whose port and key are chosen when it starts."""
        adapter = _adapter("http://127.0.0.1:0/v1", SecretStr("made at the start"), self._config)
        told = adapter.outgoing(ask, _slot(self._llama.slots[0]))
        return msgspec.structs.replace(told, notes=list(_CHOSEN_LATER))

    async def _has_died(self, run: Served, deadline: float) -> bool:
        """Return whether this run of the server has ended. This is noticed up to 0.2 s after its connections break."""
        until = min(deadline, self._host.clock() + NOTICED_WITHIN_S)
        while self._llama.ready and self._llama.served == run:
            if self._host.clock() >= until:
                return False
            await asyncio.sleep(NOTICED_WITHIN_S / 10)
        return True

    async def _ask(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        connection = await self._current()
        generation = connection.served.generation
        async with self._share.lease(self._trail(ask), generation, width=ask.choices) as lease:
            adapter = connection.adapter
            fields = {**adapter.fields(ask), **_slot(lease.slot)}
            async with aclosing(adapter.send(ask, fields)) as pieces:
                async for batch in pieces:
                    lease.read = True
                    yield batch

    def _trail(self, ask: Ask) -> Trail:
        """Return the trail of the call's prompt, including the other fields that change the prompt."""
        if not self._config.share_prefixes or ask.is_large or "messages" not in ask.fields:
            return Trail()
        shaping = b"".join(bytes(ask.fields[name]) for name in _SHAPING if name in ask.fields)
        return trail_of(ask.fields["messages"], setting=shaping)

    async def _current(self) -> _Connection:
        if self._connection.served != self._llama.served:
            async with self._switching:
                if self._connection.served != self._llama.served:
                    previous, self._connection = self._connection, await self._connect()
                    await previous.close()
        return self._connection

    async def _connect(self) -> _Connection:
        connection = _Connection(self._llama.served, self._config)
        connection.adapter.odd = self.odd
        await connection.adapter.open(self._host)
        return connection

    async def _control(self, path: str, body: bytes) -> tuple[int, bytes]:
        if not self._llama.ready:
            raise UpstreamError("the engine is starting")
        return await (await self._current()).post(path, body)


def _slot(number: int) -> dict[str, msgspec.Raw]:
    return {"id_slot": msgspec.Raw(b"%d" % number)}


_CHOSEN_LATER = (
    "the server is the gateway's own llama.cpp, a child process; its port, shown as 0, is chosen when it starts",
    "`id_slot` is chosen for each call: the free slot that has already read most of the call's prompt",
)
_SHAPING = ("tools", "tool_choice", "response_format", "functions", "function_call")
