"""Requests and answers between the supervisor and one worker, as JSON lines over a socket pair. Both sides may ask.

The socket has no name in the file system, so only these two processes can use it. When one of them ends, the other sees
the end of the stream at once.
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
"""Handlers by the name of the question. A handler gets the question's JSON.

If a handler raises ConfigError, the other side's `ask` raises it too. Any other exception becomes Failed there.
"""


class NoAnswer(Exception):
    """A question got no answer. The message says why."""


class Gone(NoAnswer):
    """The other process has ended, or has not answered in time."""


class Failed(NoAnswer):
    """The other process runs, but its handler raised an exception. Its log has the details."""


class _Refused(msgspec.Struct):
    source: str
    problems: list[Problem]


class _Message(msgspec.Struct, omit_defaults=True):
    """A question, or with an empty `ask` the answer to the question with this id. Id 0 means that no answer is expected."""

    id: int = 0
    ask: str = ""
    body: msgspec.Raw = _NULL
    refused: _Refused | None = None
    failed: str = ""


_DECODER = msgspec.json.Decoder(_Message)


class Line:
    """One side of the connection. The owner has to spawn `listen`. `gone` is true once the other side has ended."""

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
        """Make a line over one end of a socket pair."""
        reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_LINE_BYTES)
        return cls(reader, writer, handlers, spawn)

    async def listen(self) -> None:
        """Receive the questions and answers of the other side until it has ended."""
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
        """Ask a question and return the answer's JSON. Raises NoAnswer, and ConfigError if the other side raised it."""
        if self.gone:
            raise Gone("the process has ended")
        number = next(self._ids)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        self._send(_Message(number, what, _raw(body)))
        try:
            async with asyncio.timeout(within_s):
                message = await asked
        except TimeoutError as error:
            raise Gone(f"the process did not answer within {within_s:g} s") from error
        finally:
            self._asked.pop(number, None)
        if message.refused is not None:
            raise ConfigError(message.refused.source, message.refused.problems)
        if message.failed:
            raise Failed(message.failed)
        return message.body

    def tell(self, what: str, body: object = None) -> None:
        """Send a question that needs no answer."""
        self._send(_Message(0, what, _raw(body)))

    async def _reply(self, question: _Message) -> None:
        # No exception of a handler may leave this task: `spawn` may belong to the task group in which all calls run.
        (body,) = await asyncio.gather(self._answered(question), return_exceptions=True)
        if isinstance(body, ConfigError):
            answer = _Message(question.id, refused=_Refused(body.source, body.problems))
        elif isinstance(body, BaseException):
            log.error("'%s' cannot be answered", question.ask, exc_info=body)
            # The exception's message may hold secrets, so only the log gets it.
            found = f"'{question.ask}' cannot be answered: {type(body).__name__}; the process's log says more"
            answer = _Message(question.id, failed=found)
        else:
            answer = _Message(question.id, body=body)
        if question.id:
            self._send(answer)

    async def _answered(self, question: _Message) -> msgspec.Raw:
        handler = self._handlers.get(question.ask)
        if handler is None:
            raise LookupError(f"there is no handler for '{question.ask}'")
        return _raw(await handler(question.body))

    def _send(self, message: _Message) -> None:
        if not self.gone:
            self._writer.write(msgspec.json.encode(message) + b"\n")


def _raw(body: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(body))
