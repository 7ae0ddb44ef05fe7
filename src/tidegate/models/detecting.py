"""The detector: one encoder with a head for each thing that it tells, in this process, in a thread of its own.

A text is read in windows of 128 tokens that overlap by 16. Of a long text, three are read: the first, the last and one
between them, which is the most suspicious one by the statistics. Beside a text, what is encoded in it is read, and what
`guessed` makes of nonsense and `glued` of words without blanks. The probability of a head is the highest over all windows.
One pass of the model serves all heads, and all who ask for the same text: see `passes`.

Importing this module is cheap: onnxruntime, tokenizers and numpy are imported with `load`, or with the first text.
`models/detector/README.md` describes the model.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet

import msgspec

from tidegate.errors import UpstreamError
from tidegate.kernel.text import Views
from tidegate.models.batching import Batching, Request, Sizes
from tidegate.models.embedding import FOLDER as MINILM
from tidegate.models.files import Session, checked, fed, open_session
from tidegate.models.glued import Costs, costs_of, divided
from tidegate.models.guessed import guessed_reading
from tidegate.models.passes import Passes
from tidegate.models.windows import Suspicion, Window, chosen, cut_long_words, windows_of
from tidegate.ports import Clock, TextViews

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tidegate.models.statistics.model import Statistics as Words

FOLDER: Final = Path(__file__).parent / "detector"
MOST_WINDOWS: Final = 3
"""How many windows are read of one text."""
MOST_CHARACTERS: Final = 65_536
"""How much is read of a text: half of it at the beginning and half at the end of one that is longer."""
MOST_DECODED: Final = 2
"""How many readings of a text are read in which something is decoded: the last one, in which all is, and one more."""
LEAST_DECODED: Final = 16
"""The least characters of such a reading. A shorter one gives no instruction."""
LETTERS: Final = 0.75
"""The least share of letters, and of marks beyond ASCII, in foreign words. Those of code and of tables are cut as well."""
_NAME: Final = "detector"
_SIZES: Final = Sizes(texts=16, batch_tokens=1024, run_tokens=512, waiting=256)
"""A batch ends with 1,024 tokens, about 80 ms, so that a short text never waits long behind others."""

Statistics = Callable[[str], Mapping[str, float]]
"""A function that returns the logits of a linear model for a text, by head. A head may have none."""


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From which probability on a text is flagged, and from which on it is blocked."""

    flag: float
    block: float


Thresholds = Mapping[str, Mapping[str, Threshold]]
"""Thresholds by head and by channel: `user`, `document`, `tool_output` or `model_output`."""


class Described(msgspec.Struct, frozen=True):
    """The file `detector.json`: the heads in their order, the windows, and how to fuse.

    `fusion` has three figures for each head: the weights of the encoder's logit and of the statistics' logit, and a bias.
    The encoder has read mostly English, and the statistics know as much of other languages. So `foreign_fusion` holds for
    a window with fewer than `foreign_below` letters in a token of letters, where it has the head: the tokenizer has few
    words of other languages, and cuts theirs into pieces.
    """

    version: str
    heads: tuple[str, ...]
    tokens: int
    overlap: int
    fusion: Mapping[str, tuple[float, float, float]]
    foreign_fusion: Mapping[str, tuple[float, float, float]] = {}
    foreign_below: float = 0.0


class Read(NamedTuple):
    """One window as token ids, with the statistics' logit of each head, and whether its words are foreign."""

    ids: list[int]
    statistics: Sequence[float]
    is_foreign: bool


def logits_of(text: str) -> Mapping[str, float]:
    """Return the logits of a folded text by the statistics of this package. Raises UpstreamError for damaged files."""
    return _statistics().logits_of(text)


def suspicion_of(texts: Sequence[str]) -> Sequence[float]:
    """Return how suspicious folded texts are by the statistics of this package. Raises UpstreamError for damaged files."""
    return _statistics().suspicion(texts)


def _statistics() -> Words:
    from tidegate.models.statistics.model import statistics  # noqa: PLC0415 - on first use: it imports numpy

    try:
        return statistics()
    except ValueError as error:
        raise UpstreamError(f"The {_NAME} cannot rank windows: {error}") from error


class Detector:
    """The detector of this repository (int8). Satisfies `ports.Detects`. Threads and event loops may share one.

    Texts in the same run change each other's probabilities slightly, because the int8 ranges are computed per run.

    `most_windows` is how many windows are read of a text. `statistics` are fused with the encoder, by the weights of
    `detector.json`; without them only the encoder counts. `suspicion` says which windows of a long text are read between
    the first and the last one; without it, they are taken at equal distances.
    """

    def __init__(
        self,
        *,
        most_windows: int = MOST_WINDOWS,
        statistics: Statistics | None = logits_of,
        suspicion: Suspicion | None = suspicion_of,
        folder: Path = FOLDER,
        tokenizer: Path = MINILM,
        clock: Clock = time.monotonic,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._given = folder, tokenizer, most_windows, statistics, suspicion
        self._start_anew()
        _ALIVE.add(self)

    @property
    def runs(self) -> int:
        """How often the model ran."""
        return self._batching.runs

    @property
    def windows(self) -> int:
        """How many windows the model has read."""
        return self._batching.rows

    async def load(self) -> None:
        """Load the model, if it is not loaded, which takes some tenths of a second.

        Raises UpstreamError if a file is missing or damaged, and Overloaded if the detector is closed.
        """
        await self._batching.load()

    async def read(
        self, views: TextViews, until: float, *, fresh_s: float = 0.0, apart: str = ""
    ) -> Mapping[str, float]:
        """Return the probability of each head, the highest over all parts of the text that are read.

        Callers that ask for the same text share a pass, and a result that is not older than `fresh_s` seconds is returned
        at once; `apart` keeps the results of callers apart who must not share them. Cancelling one caller leaves the
        others alone. The first call loads the model, if `load` did not, which does not count as time of the text.

        Raises DeadlineExceeded at the time `until` of the clock, Overloaded if too many texts wait, and what `load` raises.
        """
        text = ends_of(views.original)
        key = hashlib.blake2b(digest_size=16)
        for part in (apart, text):
            data = part.encode("utf-8", "surrogatepass")
            key.update(len(data).to_bytes(8, "little"))
            key.update(data)
        if not self._encoder.is_loaded:
            began = self._clock()
            await self.load()
            until += self._clock() - began
        return await self._passes.result(key.digest(), [text], until=until, fresh_s=fresh_s)

    def thresholds(self) -> Mapping[str, Mapping[str, tuple[float, float]]]:
        """Return two probabilities for each head and each channel: from which on a text is flagged, and is blocked.

        The channels are `user`, `document`, `tool_output` and `model_output`. Raises UpstreamError for a damaged file.
        """
        found = _decoded(self._folder, "thresholds.json", Thresholds)
        return {
            head: {channel: (one.flag, one.block) for channel, one in channels.items()}
            for head, channels in found.items()
        }

    async def close(self) -> None:
        """Refuse whoever waits with Overloaded, and free the model."""
        await self._batching.close()

    def _start_anew(self) -> None:
        self._encoder = _Encoder(*self._given)
        self._batching = Batching(self._encoder, _SIZES, self._clock)
        self._passes = Passes(self._begin, self._most, self._clock)

    def _begin(self, texts: Sequence[str], until: float) -> Request[tuple[float, ...]]:
        return self._batching.submit(texts, until)

    def _most(self, found: Iterable[Sequence[tuple[float, ...]]]) -> Mapping[str, float]:
        """Return the highest probability of each head, over all windows of all texts."""
        windows = [window for text in found for window in text]
        return dict(zip(self._encoder.described.heads, map(max, zip(*windows, strict=True)), strict=True))


_ALIVE: Final[WeakSet[Detector]] = WeakSet()


def _after_fork() -> None:
    """Start anew in the child of a fork, such as a worker of a server: threads stay behind, and locks may be held there."""
    for detector in _ALIVE:
        detector._start_anew()  # pyright: ignore[reportPrivateUsage] # noqa: SLF001 - nobody else has to know of forks


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_after_fork)


def ends_of(text: str) -> str:
    """Return what is read of a text: all of it, or half of `MOST_CHARACTERS` at each end, with a blank between them."""
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]} {text[-half:]}"


def readings_of(text: str, suspicion: Suspicion | None = None) -> list[str]:
    """Return a text as a reader sees it, folded, and as a decoder does, if something in it is encoded.

    Of many readings, the last one is returned and the most suspicious one of the others, or the first one without
    `suspicion`: a text may hide harmless texts so that nobody reads another one that it hides.

    This takes up to some tens of milliseconds for the longest texts, so the worker's thread does it.
    """
    views = Views(text)
    decoded = [one.text for one in views.decoded if len(one.text) >= LEAST_DECODED]
    last, others = decoded[-1:], decoded[:-1]
    if suspicion is not None and len(others) > 1:
        others = [max(zip(suspicion(others), others, strict=True))[1]]
    found = list(dict.fromkeys([views.folded.text, *last, *others[: MOST_DECODED - 1]]))
    # A folded text may be many times as long. And a lone surrogate has no bytes in UTF-8, which the tokenizer reads.
    return [ends_of(one).encode("utf-8", "replace").decode() for one in found]


class _Encoder:
    """The model itself. Satisfies `batching.Model`."""

    name = _NAME

    def __init__(
        self,
        folder: Path,
        tokenizer: Path,
        most_windows: int,
        statistics: Statistics | None,
        suspicion: Suspicion | None,
    ) -> None:
        self.is_loaded = False
        self.described: Described
        self._folder = folder
        self._tokenizer_folder = tokenizer
        self._most_windows = most_windows
        self._statistics = statistics
        self._suspicion = suspicion
        self._tokenizer: Tokenizer
        self._costs: Costs = {}
        self._session: Session | None = None
        self._fusion: Any = None
        self._has_letters = bytearray()
        self._fuses = False

    def load(self) -> None:
        if self.is_loaded:
            return
        import numpy as np  # noqa: PLC0415 - on first use: saves memory if never used
        from tokenizers import Tokenizer  # noqa: PLC0415 - as above

        self.described = _decoded(self._folder, "detector.json", Described)
        if missing := [head for head in self.described.heads if head not in self.described.fusion]:
            raise UpstreamError(f"The detector is damaged: detector.json has no fusion for '{missing[0]}'")
        usual, foreign = self.described.fusion, self.described.foreign_fusion
        self._fusion = np.array(
            [
                [usual[head] for head in self.described.heads],
                [foreign.get(head, usual[head]) for head in self.described.heads],
            ]
        )
        self._fuses = self._statistics is not None and bool(self._fusion[..., 1].any())
        if self._suspicion is not None:
            self._suspicion(["hello"])
        self._tokenizer = Tokenizer.from_file(str(checked(self._tokenizer_folder, "tokenizer.json", _NAME)))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        known = self._tokenizer.get_vocab()
        self._has_letters = bytearray(max(known.values()) + 1)
        for token, one in known.items():
            self._has_letters[one] = any(map(str.isalpha, token))
        cut_long_words(self._tokenizer)
        self._costs = costs_of(known)
        self._session = open_session(checked(self._folder, "detector.int8.onnx", _NAME), threads=1)
        self.run(self.rows("hello"))
        self.is_loaded = True

    def rows(self, text: str) -> Sequence[Read]:
        plain, *others = readings_of(text, self._suspicion)
        windows = [*self._windows(plain)]
        if guess := guessed_reading(self._tokenizer, plain, windows):
            others.append(guess)
        if apart := divided(plain, self._costs):
            others.append(apart)
        for reading in others:
            windows += self._windows(reading)
        return [Read(one.ids, self._statistics_of(one.text), self._is_foreign(one)) for one in windows]

    def run(self, rows: Sequence[Read]) -> Sequence[tuple[float, ...]]:
        import numpy as np  # noqa: PLC0415 - on first use: saves memory if never used

        if self._session is None:
            raise UpstreamError("The detector is not loaded")
        (found,) = self._session.run(["logits"], fed([one.ids for one in rows]))
        if np.shape(found) != (len(rows), len(self.described.heads)):
            raise UpstreamError("The detector is damaged: its model does not give one logit for each head")
        fusion = self._fusion[[int(one.is_foreign) for one in rows]]
        statistics = np.array([one.statistics for one in rows])
        logits = fusion[..., 0] * found + fusion[..., 1] * statistics + fusion[..., 2]
        if not np.isfinite(logits).all():
            raise UpstreamError("The detector gave no number")
        chances: Any = 1 / (1 + np.exp(-np.clip(logits, -40.0, 40.0)))
        return [tuple(one) for one in chances.tolist()]

    def unload(self) -> None:
        self.is_loaded = False
        self._session = None

    def _windows(self, reading: str) -> Sequence[Window]:
        every = windows_of(self._tokenizer, reading, self.described.tokens, self.described.overlap)
        return chosen(every, self._most_windows, self._suspicion)

    def _is_foreign(self, window: Window) -> bool:
        tokens = sum(self._has_letters[one] for one in window.ids[1:-1])
        letters = sum(map(str.isalpha, window.text))
        if not self._fuses or letters >= self.described.foreign_below * tokens:
            return False
        shown = "".join(window.text.split())
        return sum(one.isalpha() or not one.isascii() for one in shown) >= LETTERS * len(shown)

    def _statistics_of(self, text: str) -> Sequence[float]:
        heads = self.described.heads
        if self._statistics is None or not self._fuses:
            return (0.0,) * len(heads)
        found = self._statistics(text)
        return [found.get(head, 0.0) for head in heads]


def _decoded(folder: Path, name: str, type_: Any) -> Any:
    """Return what a JSON file of the model says. Raises UpstreamError if it is not that file, or has another form."""
    data = checked(folder, name, _NAME).read_bytes()
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.DecodeError as error:
        raise UpstreamError(f"The detector is damaged: {name}: {error}") from error
