"""The embedding model all-MiniLM-L6-v2 in this process, in a thread of its own (see `batching`).

Importing this module is cheap: onnxruntime, tokenizers and numpy are imported with the first text.
`models/minilm/README.md` describes the model's files and its measurements.
"""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tidegate.models.batching import Batching, Sizes
from tidegate.models.files import Session, checked, fed, open_session
from tidegate.ports import Clock

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FOLDER: Final = Path(__file__).parent / "minilm"
MAX_TOKENS: Final = 256  # the length the original model was trained for and cuts at, [CLS] and [SEP] included
# Longer texts are cut before tokenizing, which would cost time: 256 tokens of prose are about 1,200 characters.
MAX_CHARACTERS: Final = 32_768
_NAME: Final = "embedding model"

Vector: TypeAlias = "array[float]"


class Tokens(NamedTuple):
    """A text as token ids."""

    ids: list[int]


class MiniLm:
    """Sentence embeddings by all-MiniLM-L6-v2 (int8). Satisfies `Embedder`; every vector is an `array('f')` of length one.

    Texts are cut at 256 tokens, as the original model does. Texts in the same run change each other's vectors slightly,
    because the int8 ranges are computed per run: the cosine to the vector of the text run alone is 0.99 on average and was
    0.96 at worst when measured.

    `threads` is the number of threads for one run. `max_batch` limits the texts of a batch. `max_batch_tokens` limits the
    tokens of a run, padding included; a longer text runs alone. `max_queue` limits the texts that wait. `runs` and
    `embedded` count the model runs and the texts.
    """

    model = "all-minilm-l6-v2"
    dimensions = 384

    def __init__(
        self,
        *,
        threads: int = 1,
        max_batch: int = 16,
        max_batch_tokens: int = 512,
        max_queue: int = 1024,
        folder: Path = FOLDER,
        clock: Clock = time.monotonic,
    ) -> None:
        self._encoder = _Encoder(folder, threads)
        sizes = Sizes(max_batch, max_batch * MAX_TOKENS, max_batch_tokens, max_queue)
        self._batching = Batching(self._encoder, sizes, clock)

    @property
    def runs(self) -> int:
        """How often the model ran."""
        return self._batching.runs

    @property
    def embedded(self) -> int:
        """How many texts have vectors."""
        return self._batching.rows

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the vectors of `texts`, in the same order.

        Raises ValueError for an empty list or a text with a lone surrogate, Overloaded when too many texts wait, and
        UpstreamError when the model cannot be loaded or run. Cancelling the call removes its texts from the queue.
        """
        if not texts:
            raise ValueError("no texts to embed")
        for text in texts:
            # A lone surrogate would fail the whole batch, with the texts of other calls.
            text[:MAX_CHARACTERS].encode()
        results = await asyncio.wrap_future(self._batching.submit(texts).future)
        return [vector for (vector,) in results]

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of the whole text, [CLS] and [SEP] included. The model itself sees only 256.

        The first use loads the tokenizer. The work is done on the calling thread and takes some milliseconds for 10,000
        characters. Raises UpstreamError when the tokenizer cannot be loaded.
        """
        return len(self._encoder.tokenizer().encode(text).ids)

    async def close(self) -> None:
        """Refuse waiting calls, wait for the running batch, and free the model. Later, `embed` raises Overloaded."""
        await self._batching.close()


class _Encoder:
    """The model itself. Satisfies `batching.Model`."""

    name = _NAME

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self._lock = (
            threading.Lock()
        )  # guards the next two attributes: callers count tokens on threads of theirs
        self._tokenizer: Tokenizer | None = None
        self._session: Session | None = None

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer, which neither pads nor cuts. Raises UpstreamError if it cannot be loaded."""
        with self._lock:
            if self._tokenizer is None:
                from tokenizers import Tokenizer  # noqa: PLC0415 - on first use: saves memory if never used

                self._tokenizer = Tokenizer.from_file(str(checked(self._folder, "tokenizer.json", _NAME)))
            return self._tokenizer

    def load(self) -> None:
        self.tokenizer()
        self._opened()

    def rows(self, text: str) -> Sequence[Tokens]:
        """Return the token ids for the model: at most MAX_TOKENS, with [SEP] at the end even if the text is cut."""
        ids = self.tokenizer().encode(text[:MAX_CHARACTERS]).ids
        return [Tokens(ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]])]

    def run(self, rows: Sequence[Tokens]) -> Sequence[Vector]:
        (vectors,) = self._opened().run(["embedding"], fed([one.ids for one in rows]))
        return [array("f", vector.tobytes()) for vector in vectors]

    def unload(self) -> None:
        with self._lock:
            self._session = self._tokenizer = None

    def _opened(self) -> Session:
        with self._lock:
            if self._session is None:
                self._session = open_session(checked(self._folder, "model.int8.onnx", _NAME), self._threads)
            return self._session
