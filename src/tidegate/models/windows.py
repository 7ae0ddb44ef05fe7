"""Cuts a text into windows of tokens, and chooses those that a model reads of a long text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SLICE_CHARACTERS: Final = 1_024
"""The tokenizer keeps all other threads of the process waiting, so it gets a long text in slices of at most 2 ms each."""

LONGEST_WORD: Final = 32
"""The most letters of a word for the tokenizer.

It takes a time that grows with the square of a word's length, and has one unknown token for a word of more than 100
letters, whatever the word says.
"""

Suspicion = Callable[[Sequence[str]], Sequence[float]]
"""A function that says how suspicious some texts are: the higher, the sooner a model should read them."""


class Window(NamedTuple):
    """A part of a text: its token ids, with those of the beginning and the end of a text around them, and its words."""

    ids: list[int]
    text: str

    @property
    def characters_a_token(self) -> float:
        """How long its tokens are on average: English has 4.3 characters, other languages 1 to 3, nonsense 1 to 2."""
        # Two of the ids are those of the beginning and the end.
        return len(self.text) / max(len(self.ids) - 2, 1)


def cut_long_words(tokenizer: Tokenizer) -> None:
    """Have a tokenizer cut words of more than `LONGEST_WORD` letters, so that the model reads all of them."""
    from tokenizers import Regex, pre_tokenizers  # noqa: PLC0415 - on first use: saves memory if never used

    cut = pre_tokenizers.Split(Regex(rf"[\s\S]{{{LONGEST_WORD}}}"), "isolated")
    own = tokenizer.pre_tokenizer
    tokenizer.pre_tokenizer = cut if own is None else pre_tokenizers.Sequence([own, cut])


def windows_of(tokenizer: Tokenizer, text: str, tokens: int, overlap: int) -> list[Window]:
    """Cut a text into windows of at most `tokens`, in order. Two neighbours share `overlap` tokens.

    The tokenizer neither pads nor cuts, and adds one token at the beginning of a text and one at its end. They are counted
    in `tokens`. An empty text has one window.
    """
    first, last = tokenizer.encode("").ids
    ids: list[int] = []
    places: list[tuple[int, int]] = []
    for start, part in _slices(text):
        found = tokenizer.encode(part, add_special_tokens=False)
        ids += found.ids
        places += [(begin + start, end + start) for begin, end in found.offsets]
    size = tokens - 2
    windows: list[Window] = []
    for at in range(0, max(len(ids) - overlap, 1), size - overlap):
        inside = places[at : at + size]
        words = text[inside[0][0] : inside[-1][1]] if inside else text
        windows.append(Window([first, *ids[at : at + size], last], words))
    return windows


def chosen(windows: Sequence[Window], most: int, suspicion: Suspicion | None) -> Sequence[Window]:
    """Return at most `most` windows: the first, the last, and the most suspicious ones of the others, in order.

    Without `suspicion`, the others are taken at equal distances, so that a third window is the one in the middle.
    """
    count = len(windows)
    if count <= most:
        return windows
    between = range(1, count - 1)
    if most <= 2:
        places = [0, count - 1][:most]
    elif suspicion is None:
        places = [0, *(count * part // (most - 1) for part in range(1, most - 1)), count - 1]
    else:
        found = suspicion([windows[at].text for at in between])
        worst = sorted(between, key=lambda at: (-found[at - 1], at))
        places = [0, *worst[: most - 2], count - 1]
    return [windows[at] for at in sorted(places)]


def _slices(text: str) -> Iterator[tuple[int, str]]:
    """Yield a text in slices with their places. They end where a word does, unless no word ends for a whole slice."""
    start = 0
    while len(text) - start > _SLICE_CHARACTERS:
        end = start + _SLICE_CHARACTERS
        # Words end at blanks for every tokenizer. Those two are enough to look for.
        blank = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
        end = blank if blank > 0 else end
        yield start, text[start:end]
        start = end
    yield start, text[start:]
