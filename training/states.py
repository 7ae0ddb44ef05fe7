"""Texts as hidden states of the lower layers, which no fit changes: they are computed once, and kept in a file.

A text is read as the gateway reads it: folded, and in windows where it is long. Of a long text, the first window, the last
one and one between them are kept, and its score is that of its most suspicious window.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tidegate.kernel.text.views import Views
from training.layers import DIMENSIONS, Trunk, encoder_of, padded
from training.rows import Row

WINDOW_TOKENS: Final = 128
OVERLAP_TOKENS: Final = 16
MOST_WINDOWS: Final = 3


class States(NamedTuple):
    """The states of the windows of some texts.

    `flat` has the states of all tokens (tokens by dimensions), `starts` where each window begins and where the last
    one ends, and `texts` the first window of each text and where the last one's end.
    """

    flat: NDArray[np.float16]
    starts: NDArray[np.int64]
    texts: NDArray[np.int64]

    def windows(self, text: int) -> range:
        """Return the windows of a text."""
        return range(int(self.texts[text]), int(self.texts[text + 1]))

    def length(self, window: int) -> int:
        """Return the tokens of a window."""
        return int(self.starts[window + 1] - self.starts[window])

    def batch(self, windows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the states of some windows as one tensor with its mask."""
        longest = max(map(self.length, windows))
        found = np.zeros((len(windows), longest, DIMENSIONS), np.float16)
        mask = np.zeros((len(windows), longest), np.int64)
        for at, window in enumerate(windows):
            length = self.length(window)
            found[at, :length] = self.flat[self.starts[window] : self.starts[window + 1]]
            mask[at, :length] = 1
        return torch.from_numpy(found).float(), torch.from_numpy(mask)


def tokenizer_of(base: Path) -> Tokenizer:
    """Return the tokenizer of a model folder, which neither pads nor cuts."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW_TOKENS, stride=OVERLAP_TOKENS)
    return tokenizer


def windows_of(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """Return the token ids of the windows that are kept of a text, [CLS] and [SEP] included."""
    found = tokenizer.encode(Views(text).folded.text)
    every = [found.ids, *(one.ids for one in found.overflowing)]
    if len(every) <= MOST_WINDOWS:
        return every
    return [every[0], every[len(every) // 2], every[-1]]


def states_of(trunk: Trunk, tokenizer: Tokenizer, texts: Sequence[str], batch_tokens: int = 4096) -> States:
    """Run the lower layers over texts."""
    parts = [windows_of(tokenizer, text) for text in texts]
    ids = [window for part in parts for window in part]
    lengths = np.array([len(one) for one in ids], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.zeros((int(starts[-1]), DIMENSIONS), np.float16)
    order = np.argsort(lengths, kind="stable")
    began = told = time.perf_counter()
    at = 0
    while at < len(order):
        count = max(1, batch_tokens // int(lengths[order[min(at + 127, len(order) - 1)]]))
        some = order[at : at + min(count, 128)]
        found = trunk(*padded([ids[one] for one in some])).numpy().astype(np.float16)
        for row, one in enumerate(some):
            flat[starts[one] : starts[one + 1]] = found[row, : lengths[one]]
        at += len(some)
        if time.perf_counter() - told > 20:
            told = time.perf_counter()
            print(f"states of {at} of {len(ids)} windows, {told - began:.0f} s", flush=True)
    return States(flat, starts, np.concatenate([[0], np.cumsum([len(part) for part in parts])]))


def keep(states: States, folder: Path) -> None:
    """Write states into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in states._asdict().items():
        np.save(folder / f"{name}.npy", array)


def kept(folder: Path) -> States:
    """Read states from a folder; the tokens stay on the disk until they are needed."""
    return States(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in States._fields))


def joined(parts: Sequence[States]) -> States:
    """Return the states of all texts of some parts, in their order."""
    windows = np.cumsum([0, *(len(part.starts) - 1 for part in parts)])
    tokens = np.cumsum([0, *(len(part.flat) for part in parts)])
    return States(
        np.concatenate([part.flat for part in parts]),
        np.concatenate([[0], *(part.starts[1:] + at for part, at in zip(parts, tokens, strict=False))]),
        np.concatenate([[0], *(part.texts[1:] + at for part, at in zip(parts, windows, strict=False))]),
    )


def cached(base: Path, folder: Path, rows: Sequence[Row], layers: int) -> States:
    """Return the states of rows below `layers`, computed only if the folder does not have those of the very same texts."""
    digest = hashlib.sha256(
        repr((layers, [row.text for row in rows])).encode("utf-8", "backslashreplace")
    ).hexdigest()
    mark = folder / "texts.sha256"
    if not mark.is_file() or mark.read_text() != digest:
        trunk = Trunk(encoder_of(base), layers)
        keep(states_of(trunk, tokenizer_of(base), [row.text for row in rows]), folder)
        mark.write_text(digest)
    return kept(folder)
