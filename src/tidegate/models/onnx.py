"""Runs the embedding model all-MiniLM-L6-v2 in this process, off the event loop, with texts of several calls in a batch.

One worker thread owns the model. While the thread runs a batch, the texts of other calls wait in a queue. Then the thread
takes the next batch, one text from each call in turn, so that a long list never delays a short one. The thread never waits
for a batch to fill. Importing this module is cheap: onnxruntime, tokenizers and numpy are imported with the first text.

`models/minilm/README.md` describes the model's files and its measurements.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from tidegate.errors import GatewayError, Overloaded, UpstreamError
from tidegate.ports import Clock

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FOLDER: Final = Path(__file__).parent / "minilm"
MAX_TOKENS: Final = 256  # the length the original model was trained for and cuts at, [CLS] and [SEP] included
# Longer texts are cut before tokenizing, which would cost time: 256 tokens of prose are about 1,200 characters.
MAX_CHARACTERS: Final = 32_768

Vector: TypeAlias = "array[float]"


class Session(Protocol):
    """The only method of `onnxruntime.InferenceSession` that this module uses."""

    def run(self, output_names: list[str], input_feed: dict[str, Any]) -> list[Any]: ...


class Request:
    """The texts and results of one `embed` call. The caller's thread and the worker thread share it."""

    __slots__ = ("future", "missing", "taken", "texts", "vectors")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.taken = 0
        self.missing = len(texts)
        self.vectors: list[Vector] = [array("f")] * len(texts)
        # Pending until the last vector is there, so that a cancelled call can be detected at any time.
        self.future: Future[list[Vector]] = Future()

    @property
    def waiting(self) -> int:
        """The number of texts that no batch has taken yet."""
        return len(self.texts) - self.taken

    def put(self, place: int, vector: Vector) -> None:
        """Set the vector of one place. The last missing vector answers the caller."""
        self.vectors[place] = vector
        self.missing -= 1
        if not self.missing and self.future.set_running_or_notify_cancel():
            self.future.set_result(self.vectors)

    def fail(self, error: GatewayError) -> None:
        """Answer the caller with an error, unless the caller already has an answer."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Text(NamedTuple):
    """One text of one request, identified by its index in the request's list."""

    request: Request
    place: int


class Tokens(NamedTuple):
    """A text as token ids."""

    ids: list[int]
    text: Text


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
        self.runs = 0
        self.embedded = 0
        self._threads = threads
        self._max_batch = max_batch
        self._max_batch_tokens = max_batch_tokens
        self._max_queue = max_queue
        self._folder = folder
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minilm")
        self._lock = threading.Lock()  # guards the next six attributes
        self._queue: deque[Request] = deque()
        self._waiting = 0
        self._batch: list[Text] = []
        self._busy = False
        self._closed = False
        self._text_s = 0.002  # seconds per text in the last batch
        self._load_lock = threading.Lock()  # guards the next two attributes
        self._tokenizer: Tokenizer | None = None
        self._session: Session | None = None

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
        request = Request(texts)
        with self._lock:
            if self._closed:
                raise Overloaded("The embedding model is closed", retry_after_s=1)
            if self._waiting >= self._max_queue:
                wait_s = self._waiting * self._text_s
                raise Overloaded("Too many texts wait for the embedding model", retry_after_s=wait_s)
            self._queue.append(request)
            self._waiting += len(texts)
        self._start()
        return await asyncio.wrap_future(request.future)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of the whole text, [CLS] and [SEP] included. The model itself sees only 256.

        The first use loads the tokenizer. The work is done on the calling thread and takes some milliseconds for 10,000
        characters. Raises UpstreamError when the tokenizer cannot be loaded.
        """
        return len(self._load_tokenizer().encode(text).ids)

    async def close(self) -> None:
        """Refuse waiting calls, wait for the running batch, and free the model. Later, `embed` raises Overloaded."""
        with self._lock:
            self._closed = True
            refused = list(self._queue)
            self._queue.clear()
            self._waiting = 0
        for request in refused:
            request.fail(Overloaded("The embedding model was closed", retry_after_s=1))
        await asyncio.to_thread(self._pool.shutdown)
        with self._load_lock:
            self._session = self._tokenizer = None

    def _start(self) -> None:
        with self._lock:
            if self._busy or self._closed or not self._queue:
                return
            self._busy = True
            job = self._pool.submit(self._work)
        # Outside the lock: if the job is already done, the callback runs at once.
        job.add_done_callback(self._after)

    def _work(self) -> None:
        """Embed one batch, in the worker thread. An exception reaches `_after` through the job's future."""
        batch = self._collect()
        if not batch:
            return
        tokenizer, session = self._load_tokenizer(), self._load_session()
        began = self._clock()
        tokens = [Tokens(encode(tokenizer, text.request.texts[text.place]), text) for text in batch]
        for group in self._groups(sorted(tokens, key=lambda one: len(one.ids))):
            vectors = run(session, [one.ids for one in group])
            self.runs += 1
            self.embedded += len(group)
            for one, vector in zip(group, vectors, strict=True):
                one.text.request.put(one.text.place, vector)
        with self._lock:
            self._text_s = (self._clock() - began) / len(batch)

    def _after(self, job: Future[None]) -> None:
        """Answer the calls of a failed batch with an error, then start the next batch."""
        with self._lock:
            batch, self._batch = self._batch, []
            self._busy = False
        if error := job.exception():
            words = error.message if isinstance(error, GatewayError) else "The embedding model failed"
            for text in batch:
                failure = UpstreamError(
                    words
                )  # one per caller, since each raise adds to the exception's traceback
                failure.__cause__ = error
                text.request.fail(failure)
        self._start()

    def _collect(self) -> list[Text]:
        batch: list[Text] = []
        with self._lock:
            while self._queue and len(batch) < self._max_batch:
                request = self._queue.popleft()
                if request.future.done():  # cancelled, or failed with another batch
                    self._waiting -= request.waiting
                    continue
                batch.append(Text(request, request.taken))
                request.taken += 1
                self._waiting -= 1
                if request.waiting:
                    self._queue.append(request)
            self._batch = batch
        return batch

    def _groups(self, tokens: list[Tokens]) -> Iterator[list[Tokens]]:
        """Divide texts that are sorted by length into runs of at most `max_batch_tokens`, padding included."""
        group: list[Tokens] = []
        for one in tokens:
            if group and len(one.ids) * (len(group) + 1) > self._max_batch_tokens:
                yield group
                group = []
            group.append(one)
        yield group

    def _load_tokenizer(self) -> Tokenizer:
        with self._load_lock:
            if self._tokenizer is None:
                from tokenizers import Tokenizer  # noqa: PLC0415 - on first use: saves memory if never used

                self._tokenizer = Tokenizer.from_file(str(checked(self._folder, "tokenizer.json")))
            return self._tokenizer

    def _load_session(self) -> Session:
        with self._load_lock:
            if self._session is None:
                self._session = open_session(checked(self._folder, "model.int8.onnx"), self._threads)
            return self._session


def checked(folder: Path, name: str) -> Path:
    """Return the path of a model file after checking it against SHA256SUMS. Raises UpstreamError if it is not that file."""
    try:
        sums = (folder / "SHA256SUMS").read_text().splitlines()
        with (folder / name).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UpstreamError(f"The embedding model is incomplete: {name} cannot be read") from error
    if f"{sha256}  {name}" not in sums:
        raise UpstreamError(f"The embedding model is damaged: {name} does not have the sha256 in SHA256SUMS")
    return folder / name


def open_session(model: Path, threads: int) -> Session:
    """Open a session that computes with `threads` threads and does not spin between runs.

    The session reads the file itself. Passed as bytes, the model would be in memory twice (62 MiB instead of 40).
    """
    # Imported on first use, which saves memory in a gateway that never embeds. The package has no types, hence Any.
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the token ids for the model: at most MAX_TOKENS, with [SEP] at the end even if the text is cut."""
    ids = tokenizer.encode(text[:MAX_CHARACTERS]).ids
    return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]


def run(session: Session, texts: list[list[int]]) -> list[Vector]:
    """Run the model once. Shorter texts are padded to the longest one."""
    import numpy as np  # noqa: PLC0415 - on first use: saves memory in a gateway that never embeds

    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    (vectors,) = session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
    return [array("f", vector.tobytes()) for vector in vectors]
