"""The embedder engine: it answers `/v1/embeddings` with the runtime's own `Embedder`, without a server.

This module decides which inputs are accepted and how vectors are encoded in the answer. The model, its batches and its
limits belong to the `Embedder`. Wire format: https://platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from array import array
from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec

from tidegate.config import EmbedderConfig
from tidegate.engines import fields
from tidegate.errors import BadRequest, DeadlineExceeded
from tidegate.ports import Embedder, Host
from tidegate.types import Answer, Ask, Batch, Capabilities, Endpoint, Load, Piece, TokenCounts

MAX_INPUTS: Final = 2048  # OpenAI's limit

INPUT: Final = msgspec.json.Decoder(str | list[str])
ENCODING: Final = msgspec.json.Decoder(Literal["float", "base64"] | None)
DIMENSIONS: Final = msgspec.json.Decoder(int | None)


class EmbedderEngine:
    """An `Engine` for embeddings. It gets the embedder in `open`. The model is loaded by the first call."""

    Config: ClassVar[type[EmbedderConfig]] = EmbedderConfig

    capabilities = Capabilities(fields={Endpoint.EMBEDDINGS: fields.OPENAI[Endpoint.EMBEDDINGS]})

    def __init__(self, config: EmbedderConfig) -> None:
        self._config = config
        self._host: Host | None = None
        self._running = 0

    async def open(self, host: Host) -> None:
        self._host = host

    async def close(self) -> None:
        self._host = None

    async def ready(self) -> bool:
        """Return whether the engine is open. It needs no further preparation."""
        return self._host is not None

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        """Yield the whole answer as one piece.

        Raises BadRequest for input that cannot be embedded, DeadlineExceeded, and what the embedder raises.
        """
        host = self._opened()
        texts = read_input(ask)
        as_base64 = read_options(ask, host.embedder.dimensions)
        self._running += 1
        try:
            async with asyncio.timeout(ask.deadline - host.clock()):
                vectors = await host.embedder.embed(texts)
                # Off the event loop, because counting and encoding 2,048 texts takes long.
                prompt_tokens = await asyncio.to_thread(count, host.embedder, texts)
                body = await asyncio.to_thread(render, ask.model, vectors, prompt_tokens, as_base64=as_base64)
        except TimeoutError as error:
            raise DeadlineExceeded("The deadline passed before the embeddings were made") from error
        finally:
            self._running -= 1
        yield [Piece(data=body, answer=Answer(usage=TokenCounts(prompt_tokens=prompt_tokens)))]

    async def load(self) -> Load:
        return Load(running=self._running)

    async def count_tokens(self, ask: Ask) -> int | None:
        """Return the number of tokens of all inputs together."""
        return await asyncio.to_thread(count, self._opened().embedder, read_input(ask))

    def _opened(self) -> Host:
        assert self._host is not None, "open() comes first"
        return self._host


def decode(decoder: msgspec.json.Decoder[Any], ask: Ask, name: str, expected: str) -> Any:
    try:
        return decoder.decode(ask.fields[name])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"'{name}' must be {expected}", param=name) from error


def read_input(ask: Ask) -> list[str]:
    """Return the texts to embed. Raises BadRequest for an empty list, too many texts or an empty text, as OpenAI does."""
    if "input" not in ask.fields:
        raise BadRequest("'input' is missing; it must be a string or a list of strings", param="input")
    value = decode(INPUT, ask, "input", "a string or a list of strings; token ids are not accepted")
    texts: list[str] = [value] if isinstance(value, str) else value
    if not texts:
        raise BadRequest("'input' is an empty list; send at least one string", param="input")
    if len(texts) > MAX_INPUTS:
        raise BadRequest(f"'input' has {len(texts)} texts; at most {MAX_INPUTS} are accepted", param="input")
    if not all(texts):
        raise BadRequest("'input' contains an empty string; leave it out", param="input")
    return texts


def read_options(ask: Ask, dimensions: int) -> bool:
    """Return whether vectors are sent as base64. Raises BadRequest for an unknown format or unsupported dimensions."""
    encoding = None
    if "encoding_format" in ask.fields:
        encoding = decode(ENCODING, ask, "encoding_format", "'float' or 'base64'")
    if "dimensions" in ask.fields:
        expected = f"{dimensions}: vectors of '{ask.model}' cannot be shortened"
        if decode(DIMENSIONS, ask, "dimensions", expected) not in {None, dimensions}:
            raise BadRequest(f"'dimensions' must be {expected}", param="dimensions")
    return encoding == "base64"


def count(embedder: Embedder, texts: Sequence[str]) -> int:
    """Count the tokens of all texts, on the calling thread."""
    return sum(map(embedder.count_tokens, texts))


def render(model: str, vectors: Sequence[Sequence[float]], prompt_tokens: int, *, as_base64: bool) -> bytes:
    """Return the body of the answer. Each vector is encoded separately: all 2,048 at once would hold the GIL for 40 ms."""
    items = b",".join(encode(index, vector, as_base64=as_base64) for index, vector in enumerate(vectors))
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    tail = msgspec.json.encode({"model": model, "usage": usage})
    return b'{"object":"list","data":[' + items + b"]," + tail[1:]


def encode(index: int, vector: Sequence[float], *, as_base64: bool) -> bytes:
    """Encode one vector as OpenAI's embedding object. In base64, the numbers are little-endian float32."""
    embedding: str | list[float]
    if as_base64:
        floats = array("f", vector)
        if sys.byteorder == "big":
            floats.byteswap()
        embedding = base64.b64encode(floats).decode()
    else:
        embedding = list(vector)
    return msgspec.json.encode({"object": "embedding", "index": index, "embedding": embedding})
