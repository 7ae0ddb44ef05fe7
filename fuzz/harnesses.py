"""What is fuzzed: each harness takes any bytes and calls what the gateway itself calls with such bytes.

A harness returns for input that was read and for input that was refused as it must be: a request with a 4xx, an engine's
answer with an UpstreamError. Anything else it lets through, and what is wrong without an exception it raises as a Finding.
Nothing here needs atheris: the same functions replay what was found, in the tests.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from exchanges import answer_to
from front import Front

from tidegate.call import Call
from tidegate.config import LlamaCppConfig, OpenAIConfig, VllmConfig, parse_text
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.dispatch.seats import Seats
from tidegate.engines.answers import EventStream, check_whole, read_answer
from tidegate.engines.embedded.prefixes import trail_of
from tidegate.engines.embedder import read_input
from tidegate.engines.llamacpp import LlamaCppEngine
from tidegate.engines.openai import OpenAIEngine
from tidegate.engines.refusals import explanation, wait_s
from tidegate.engines.scripted.script import Script, read_ask, script_for
from tidegate.engines.vllm import VllmEngine
from tidegate.errors import BadRequest, ConfigError, GatewayError
from tidegate.http.apis import openai
from tidegate.http.apis.large import read_large
from tidegate.http.apis.outline import LONGEST_BYTES, MOST_FIELDS, Limits
from tidegate.kernel import sse
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.asking import ask_for
from tidegate.stages.route import Route
from tidegate.types import Answer, Endpoint, Exit

MAX_BYTES = 64 * 1024
LIMIT_S = 0.050
"""The most CPU time that input of MAX_BYTES may take."""
PARTS = 64
"""Input arrives in at most so many reads."""


class Finding(Exception):
    """The gateway did something wrong, and said nothing."""


class Watch:
    """CPU seconds spent on the gateway's own work: `with watch:` around each piece of it."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *error: object) -> None:
        self.spent_s += time.process_time() - self._began


Harness = Callable[[bytes, Watch], None]


@contextmanager
def open_harnesses(most: int = PARTS) -> Iterator[dict[str, Harness]]:
    """Every harness by name; none waits for time or for anybody else. Input is cut into `most` parts at most."""
    loop = asyncio.new_event_loop()
    front = loop.run_until_complete(Front.open())

    def on_loop(harness: Callable[[bytes, Watch], Coroutine[Any, Any, None]]) -> Harness:
        return lambda data, watch: loop.run_until_complete(harness(data, watch))

    async def edge_harness(data: bytes, watch: Watch) -> None:
        problem = await front.talk(in_parts(data, most), watch)
        if problem is not None:
            raise Finding(problem)

    try:
        yield {
            "chat": lambda data, watch: request(Endpoint.CHAT, data, watch),
            "completions": lambda data, watch: request(Endpoint.COMPLETIONS, data, watch),
            "embeddings": lambda data, watch: request(Endpoint.EMBEDDINGS, data, watch),
            "answer": whole_answer,
            "refusal": refusal,
            "events": lambda data, watch: events(data, watch, most),
            "response": on_loop(lambda data, watch: response(data, watch, most)),
            "edge": on_loop(edge_harness),
            "config": configuration,
        }
    finally:
        loop.run_until_complete(front.close())
        loop.close()


def in_parts(data: bytes, most: int = PARTS) -> list[bytes]:
    """The input after its first byte, cut into parts as long as that byte says; 0 leaves it whole."""
    size, rest = data[:1], data[1:]
    step = max(size[0], -(-len(rest) // most)) if size and size[0] else max(1, len(rest))
    return [rest[begin : begin + step] for begin in range(0, len(rest), step)]


# --------------------------------------------------------------------------------------------------- requests of clients

_ENGINES = (
    OpenAIEngine(OpenAIConfig(kind="openai", url="http://127.0.0.1:9/v1")),
    VllmEngine(VllmConfig(kind="vllm", url="http://127.0.0.1:9/v1")),
    LlamaCppEngine(LlamaCppConfig(kind="llamacpp", url="http://127.0.0.1:9/v1")),
)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def request(endpoint: Endpoint, data: bytes, watch: Watch) -> None:
    """A request body: parsed, admitted, and made the body for each kind of engine."""
    try:
        with watch:
            call = Call(
                id="req_1", endpoint=endpoint, exit=Exit(), arrived_at=0.0, received_at=0.0, deadline=60.0
            )
            openai.read(data, call)
    except BadRequest as error:
        _must_be_told(error)
        _in_steps(endpoint, data, None)
        return
    _in_steps(endpoint, data, call)
    for engine in _ENGINES:
        try:
            with watch:
                call.deployments = ()
                Route(Models({"*": [Deployment("upstream", engine, Seats())]}), OutputEstimate())(call)
                body = engine.body(ask_for(call, call.groups[0].deployments[0]))
        except BadRequest as error:
            _must_be_told(error)
            continue
        # Every stream is asked for its token counts, whatever the client wants of `stream_options`.
        own = {"stream_options"} if call.stream else set[str]()
        sent, given = _FIELDS.decode(body), call.fields
        if {name: sent[name] for name in sent.keys() - own} != {
            name: given[name] for name in given.keys() - own
        }:
            raise Finding("the engine gets other fields than the client sent")
        _must_be_json(body)
    _read_in_process(call, watch)


def _in_steps(endpoint: Endpoint, data: bytes, expected: Call | None) -> None:
    """The same body read as a large one is; `expected` None for one that is refused."""
    call = Call(id="req_2", endpoint=endpoint, exit=Exit(), arrived_at=0.0, received_at=0.0, deadline=60.0)
    try:
        for _ in read_large(data, call, Limits()):
            pass
    except BadRequest as error:
        _must_be_told(error)
        # Two limits hold for large bodies alone.
        too_many_fields = f"more than {MOST_FIELDS} fields" in error.message
        if expected is not None and len(data) <= LONGEST_BYTES and not too_many_fields:
            raise Finding(f"refused only where it is read in steps: {error.message}") from error
        return
    if expected is None:
        raise Finding("refused only where it is read in one go")
    if {name: bytes(raw) for name, raw in call.fields.items()} != {
        name: bytes(raw) for name, raw in expected.fields.items()
    }:
        raise Finding("other fields where it is read in steps")


def _read_in_process(call: Call, watch: Watch) -> None:
    """What engines in the gateway's own process read of a request."""
    try:
        with watch:
            if call.endpoint is Endpoint.CHAT:
                trail_of(call.fields["messages"])
            if call.endpoint is Endpoint.EMBEDDINGS:
                read_input(call)
    except BadRequest as error:
        _must_be_told(error)
    try:
        with watch:
            script_for(Script(), read_ask(msgspec.json.encode(call.fields)))
    except BadRequest as error:
        _must_be_told(error)


def _must_be_told(error: GatewayError) -> None:
    if not 400 <= error.status < 500:
        raise Finding(f"the client's mistake is a {error.status}")
    json.loads(error.body())


def _must_be_json(body: bytes) -> None:
    try:
        json.loads(body)
    except RecursionError:
        return
    except ValueError as error:
        if "integer string conversion" not in str(error):  # Python's own limit
            raise Finding(f"the engine gets what is not JSON: {error}") from error


# --------------------------------------------------------------------------------------------------- answers of engines


def whole_answer(data: bytes, watch: Watch) -> None:
    """A body with status 200 that is not streamed."""
    with watch:
        try:
            answer = read_answer(data)
            if answer.choices is None:
                check_whole(data)
        except GatewayError as error:
            error.body()
            return
        _account(answer)


def refusal(data: bytes, watch: Watch) -> None:
    """An answer with another status: two bytes choose it, a line is `Retry-After`, the rest is the body."""
    status = 300 + int.from_bytes(data[:2], "big") % 300
    retry_after, _, body = data[2:].partition(b"\n")
    with watch:
        told = explanation(body)
        wait = wait_s({b"retry-after": retry_after, b"retry-after-ms": retry_after}, 0)
        errors = [engine.translate(given, told, wait) for engine in _ENGINES for given in (status, None)]
    for error in errors:
        json.loads(error.body())
        error.headers()
        if not 400 <= error.status < 600:
            raise Finding(f"the engine's {status} is a {error.status}")


def _account(answer: Answer) -> None:
    usage = answer.read_usage()
    if usage is not None:
        float(usage.prompt_tokens + usage.completion_tokens + usage.cached_tokens)
    for choice in answer.choices or ():
        choice.has_content()


def events(data: bytes, watch: Watch, most: int = PARTS) -> None:
    """A stream: no byte is lost, and however it is cut the same is understood."""
    parts, stream = in_parts(data, most), data[1:]
    with watch:
        told = _understood(parts)
    if told != _understood([stream]):
        raise Finding("the same stream, cut otherwise, is another answer")
    reader, whole = sse.SseReader(), sse.SseReader()
    found = [event for part in parts for event in reader.feed(part)]
    if b"".join(event.raw for event in found) + reader.rest != stream:
        raise Finding("the reader lost bytes")
    if _said(found) != _said(whole.feed(stream)):
        raise Finding("the same stream, cut otherwise, is other events")
    again = sse.SseReader().feed(sse.encode(stream))
    if [event.data for event in again] != [stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")]:
        raise Finding("data that was framed is read as other data")


def _said(found: list[sse.Event]) -> list[tuple[bytes, bytes]]:
    return [(event.name, event.data) for event in found if event.data is not None]


def _understood(parts: list[bytes]) -> tuple[list[bytes], str]:
    """The data of the pieces before the end, and how it ended. What came before an error in one read is not counted."""
    stream, pieces = EventStream(), []
    try:
        for part in parts:
            for piece in stream.feed(part):
                _account(piece.answer)
                pieces.append(piece.data)
            if stream.ended:
                break
        if not stream.ended:
            pieces += [piece.data for piece in stream.last()]
        stream.finish(1)
    except GatewayError as error:
        error.body()
        return [], type(error).__name__
    return pieces, "whole"


async def response(data: bytes, watch: Watch, most: int = PARTS) -> None:
    """HTTP from an engine: however it is cut, the same answer or the same failure."""
    told = await answer_to(in_parts(data, most), watch)
    if told != await answer_to([data[1:]], Watch()):
        raise Finding("the same response, cut otherwise, is another answer")


# --------------------------------------------------------------------------------------------------------- configurations


def configuration(data: bytes, watch: Watch) -> None:
    """A configuration file. Its time is not judged: the operator waits, not the clients."""
    del watch
    try:
        parse_text(data.decode("utf-8", errors="replace"), source="the harness")
    except ConfigError as error:
        if not error.problems:
            raise Finding("a configuration is refused without a reason") from error
