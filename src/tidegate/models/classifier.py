"""Runs a text classifier of the operator's in this process: an ONNX file and its tokenizer, in a thread of its own.

A model reads at most `WINDOW_TOKENS` at once. A longer text is read in windows that overlap, and the probability of its
most suspicious window counts. Importing this module is cheap: onnxruntime, tokenizers and numpy are imported with `open`.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tidegate.models.files import open_session
from tidegate.ports import Clock

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WINDOW_TOKENS: Final = 512
OVERLAP_TOKENS: Final = 64
"""How many tokens two windows share, so that no short instruction is cut in half."""
MOST_WAITING: Final = 64
"""How many texts may wait for the thread."""
_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class Busy(Exception):
    """Too many texts wait for the model, or there was no time left for all of a text."""


class Unusable(Exception):
    """The model gave no probability."""


class Classifier:
    """A model that tells labels apart. It reports the probability of the last one."""

    def __init__(self, model: Path, tokenizer: Path, *, threads: int, respaced: bool, clock: Clock) -> None:
        """`respaced` is as for `respaced_by`. `threads` compute one window."""
        self._model, self._tokenizer_path = model, tokenizer
        self._threads = threads
        self._respaced = respaced
        self._clock = clock
        self._waiting = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="classifier")
        self._tokenizer: Any
        self._plain: Any = None
        self._session: Any
        self._takes: set[str]

    async def open(self) -> None:
        """Load the model, and run it once. Raises ValueError for files that cannot be used."""
        with ExitStack() as undo:
            undo.callback(self._pool.shutdown, wait=False)
            await self._loaded(self._load_tokenizer, self._tokenizer_path)
            await self._loaded(self._load_model, self._model)
            undo.pop_all()

    async def _loaded(self, load: Callable[[Path], None], path: Path) -> None:
        job = asyncio.get_running_loop().run_in_executor(self._pool, load, path)
        await asyncio.wait([job])
        if error := job.exception():
            why = str(error) if isinstance(error, Unusable) else f"it raised {type(error).__name__}"
            raise ValueError(f"{path} cannot be used: {why}") from error

    async def close(self) -> None:
        """Wait for the window that is being read, and free the model."""
        await asyncio.to_thread(partial(self._pool.shutdown, cancel_futures=True))
        self._session = None

    async def probability(self, text: str, until: float) -> float:
        """Return the probability of the last label. Raises Busy, also at the time `until`, and Unusable."""
        if self._waiting >= MOST_WAITING:
            raise Busy("too many texts wait for the model")
        stopped = threading.Event()
        self._waiting += 1
        try:
            read = partial(self._read, text, until, stopped)
            return await asyncio.get_running_loop().run_in_executor(self._pool, read)
        finally:
            self._waiting -= 1
            stopped.set()

    def _load_tokenizer(self, path: Path) -> None:
        if not path.is_file():
            raise Unusable("there is no such file")
        tokenizers: Any = import_module("tokenizers")  # on first use: saves memory if never used
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(WINDOW_TOKENS, stride=OVERLAP_TOKENS)
        if self._respaced:
            self._plain = tokenizers.Tokenizer.from_file(str(path))
            self._plain.no_padding()
            self._plain.no_truncation()

    def _load_model(self, path: Path) -> None:
        if not path.is_file():
            raise Unusable("there is no such file")
        self._session = open_session(path, self._threads)
        self._takes = {one.name for one in self._session.get_inputs()}
        if "input_ids" not in self._takes or not self._takes <= _INPUTS:
            raise Unusable(
                f"it takes {', '.join(sorted(self._takes))}, and a classifier of texts takes input_ids"
            )
        self._window(self._tokenizer.encode("hello").ids)

    def _read(self, text: str, until: float, stopped: threading.Event) -> float:
        most = 0.0
        if self._plain is not None:
            text = respaced_by(self._plain, text)
        for ids in windows(self._tokenizer, text):
            if stopped.is_set() or self._clock() >= until:
                raise Busy("the text is too long for the time of the rail")
            most = max(most, self._window(ids))
        return most

    def _window(self, ids: Sequence[int]) -> float:
        import numpy as np  # noqa: PLC0415 - on first use: saves memory if never used

        row = np.array([ids], np.int64)
        given = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        found = self._session.run(None, {name: given[name] for name in self._takes})[0]
        logits = np.asarray(found, np.float64).reshape(-1)
        if np.shape(found)[:1] != (1,) or logits.size < 2:
            raise Unusable("it gave no probabilities of two labels or more")
        chances = np.exp(logits - logits.max())
        chance = float(chances[-1] / chances.sum())
        if not math.isfinite(chance):
            raise Unusable("it gave no number")
        return chance


def windows(tokenizer: Tokenizer, text: str) -> Iterator[list[int]]:
    """Yield the tokens of a text, in windows. The tokenizer truncates."""
    found = tokenizer.encode(text)
    yield found.ids
    for more in found.overflowing:
        yield more.ids


def respaced_by(tokenizer: Tokenizer, text: str) -> str:
    """Return a text with blanks only where words end, such as `ignore this` for `i g n o r e  t h i s`.

    The text is cut into tokens without its blanks, and a blank stands before a token if one stood there in the text. The
    idea is that of LlamaFirewall in PurpleLlama. The tokenizer does not truncate.
    """
    places = [at for at, letter in enumerate(text) if not letter.isspace()]
    letters = "".join(text[at] for at in places)
    found: list[str] = []
    last = 0
    for start, end in tokenizer.encode(letters, add_special_tokens=False).offsets:
        begin = max(start, last)
        if end <= begin:
            continue
        if places[begin] > 0 and text[places[begin] - 1].isspace():
            found.append(" ")
        # What the tokenizer has left out stands before its next token.
        found.append(letters[last:end])
        last = end
    return "".join(found) + letters[last:]
