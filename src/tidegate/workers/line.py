"""Questions and answers between the supervisor and one worker: JSON lines over a socket pair. Both sides may ask.

The socket has no name in the file system: only the two processes hold it, and each sees at once when the other is gone.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

import msgspec

from tidegate.errors import ConfigError, Problem
from tidegate.ports import Spawn

MAX_LINE_BYTES = 64 * 2**20
_NULL = msgspec.Raw(b"null")

log = logging.getLogger(__name__)

Handlers = Mapping[str, Callable[[bytes], Awaitable[object]]]
"""Who answers, by the question's name, given its JSON. A ConfigError goes to the asker; all else raised makes it Failed."""


class NoAnswer(Exception):
    """A question without an answer; the message says why."""


class Gone(NoAnswer):
    """The other process has ended, or does not answer."""


class Failed(NoAnswer):
    """The other process is there, but what it did for the answer has failed; its log says how."""


class _Refused(msgspec.Struct):
    source: str
    problems: list[Problem]


class _Message(msgspec.Struct, omit_defaults=True):
    """`ask` empty: the answer to the question with this id. Id 0: a question that wants no answer."""

    id: int = 0
    ask: str = ""
    body: msgspec.Raw = _NULL
    refused: _Refused | None = None
    failed: str = ""


_DECODER = msgspec.json.Decoder(_Message)


class Line:
    """One side of the connection. Its owner spawns `listen`. `gone`: the other side is no more."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Handlers, spawn: Spawn
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handlers = handlers
        self._spawn = spawn
        self._ids = count(1)
        self._asked: dict[int, asyncio.Future[_Message]] = {}
        self.gone = False

    @classmethod
    async def over(cls, connection: socket.socket, handlers: Handlers, spawn: Spawn) -> Line:
        """A line over one end of a socket pair."""
        reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_LINE_BYTES)
        return cls(reader, writer, handlers, spawn)

    async def listen(self) -> None:
        """Take in what the other side asks and answers, until it is gone."""
        try:
            while (line := await self._reader.readline()).endswith(b"\n"):
                message = _DECODER.decode(line)
                if message.ask:
                    self._spawn(self._reply(message), name=f"answer {message.ask}")
                elif (asked := self._asked.pop(message.id, None)) is not None and not asked.done():
                    asked.set_result(message)
        except ConnectionError:
            pass
        finally:
            self.gone = True
            self._writer.close()
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(Gone("the process has ended"))

    async def ask(self, what: str, body: object = None, *, within_s: float) -> msgspec.Raw:
        """The answer, as JSON. Raises NoAnswer, and ConfigError when the other side does."""
        if self.gone:
            raise Gone("the process has ended")
        number = next(self._ids)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send(_Message(number, what, _raw(body)))
        try:
            async with asyncio.timeout(within_s):
                message = await asked
        except TimeoutError as error:
            raise Gone(f"the process does not answer within {within_s:g} s") from error
        finally:
            self._asked.pop(number, None)
        if message.refused is not None:
            raise ConfigError(message.refused.source, message.refused.problems)
        if message.failed:
            raise Failed(message.failed)
        return message.body

    def tell(self, what: str, body: object = None) -> None:
        """Ask without waiting for an answer."""
        self._send(_Message(0, what, _raw(body)))

    async def _reply(self, question: _Message) -> None:
        # Whatever answering raises ends here: `spawn` may be that of the group in which all calls run.
        (body,) = await asyncio.gather(self._answered(question), return_exceptions=True)
        if isinstance(body, ConfigError):
            answer = _Message(question.id, refused=_Refused(body.source, body.problems))
        elif isinstance(body, BaseException):
            log.error("'%s' cannot be answered", question.ask, exc_info=body)
            # What it says may hold secrets: it is for the log alone.
            found = f"'{question.ask}' cannot be answered: {type(body).__name__}; the process's log says more"
            answer = _Message(question.id, failed=found)
        else:
            answer = _Message(question.id, body=body)
        if question.id:
            self._send(answer)

    async def _answered(self, question: _Message) -> msgspec.Raw:
        handler = self._handlers.get(question.ask)
        if handler is None:
            raise LookupError(f"nobody here answers '{question.ask}'")
        return _raw(await handler(question.body))

    def _send(self, message: _Message) -> None:
        if not self.gone:
            self._writer.write(msgspec.json.encode(message) + b"\n")


def _raw(body: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(body))
