"""Which guessed reading of a text a model reads beside the text itself, such as its rot13.

Every text has guessed readings, and for most they are nonsense. A tokenizer tells language from nonsense: it has one token
for a word that it knows, and cuts all else into small pieces. So a reading is worth a model's time where the text takes
many tokens for its length, and the reading takes far fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from tidegate.kernel.text import Views
from tidegate.models.windows import Window

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PLAIN: Final = 3.0
"""Characters a token from which on a text is taken for plain, without a look at its readings. English has 4.3, leet 1.5."""
GAIN: Final = 0.8
"""A reading is read if its words take less than this share of the tokens. Words that are the same in both do not count."""
LANGUAGE: Final = 2.2
"""The least characters a token of these words. Hashes with letters for their digits have fewer."""
LEAST: Final = 16
"""The least characters of these words. Fewer give no instruction."""
SAMPLE: Final = 256
"""How many characters are compared. The tokenizer takes 0.1 ms for so many."""


def guessed_reading(tokenizer: Tokenizer, text: str, windows: Sequence[Window]) -> str | None:
    """Return the guessed reading of a folded text that is language where the text is not, or None.

    `windows` are those that are read of the text. The one that looks least like language is compared.
    """
    window = min(windows, key=attrgetter("characters_a_token"))
    if len(window.text) < LEAST or window.characters_a_token >= PLAIN:
        return None
    sample = window.text[:SAMPLE]
    shares = {one.name: _share(tokenizer, sample, one.text) for one in Views(sample).guessed}
    name = min(shares, key=shares.__getitem__, default="")
    if not name or shares[name] >= GAIN:
        return None
    return next((one.text for one in Views(text).guessed if one.name == name), None)


def _share(tokenizer: Tokenizer, text: str, reading: str) -> float:
    """Return the tokens of a reading's words as a share of those of the text's words: 1 if they are no language."""
    before, after = text.split(), reading.split()
    new = " ".join(word for word in after if word not in before)
    tokens = _tokens(tokenizer, new)
    if len(new) < max(LEAST, tokens * LANGUAGE):
        return 1.0
    return tokens / max(_tokens(tokenizer, " ".join(word for word in before if word not in after)), 1)


def _tokens(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
