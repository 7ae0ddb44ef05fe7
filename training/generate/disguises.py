"""Ways to write a text differently. Each takes a text and a source of chance.

`READABLE` ones leave a text that people read as before: they are applied to attacks and harmless texts at the same rate, so
that a disguise alone says nothing. `OPAQUE` ones need decoding, and only stand inside a request to decode.
"""

# ruff: noqa: RUF001  (look-alike letters are what this module is about)

from __future__ import annotations

import base64
import codecs
import unicodedata
import urllib.parse
from collections.abc import Callable, Mapping
from random import Random
from string import ascii_lowercase, ascii_uppercase
from typing import Final

Disguise = Callable[[str, Random], str]

_CYRILLIC: Final = str.maketrans("aceijopsxyhABCEHKMOPTX", "асеіјорѕхуһАВСЕНКМОРТХ")
_GREEK: Final = str.maketrans("aeiknopruvxyABEHIKMNOPTXZ", "αεικηορrυνχγΑΒΕΗΙΚΜΝΟΡΤΧΖ")
_SMALL: Final = str.maketrans("abcdefghijklmnopqrstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ")
_LEET: Final[Mapping[str, str]] = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "69",
    "i": "1!|",
    "l": "1|",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "z": "2",
    "c": "(",
    "x": "%",
}
_MORSE_LETTERS: Final = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- "
    "-. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
)
_MORSE: Final = dict(zip(ascii_lowercase, _MORSE_LETTERS.split(" "), strict=True))
_ZERO_WIDTH: Final = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u034f")
_MARKS: Final = ("\u0301", "\u0300", "\u0308", "\u0323", "\u0336", "\u0332")


def _alphabet(lower: int, upper: int) -> Disguise:
    table = {ord(c): lower + at for at, c in enumerate(ascii_lowercase)}
    table |= {ord(c): upper + at for at, c in enumerate(ascii_uppercase)}
    return lambda text, _: text.translate(table)


def _zero_width(text: str, rng: Random) -> str:
    mark, rate = rng.choice(_ZERO_WIDTH), rng.choice((0.15, 0.5, 1.0))
    return "".join(c + mark if rng.random() < rate else c for c in text)


def _accents(text: str, rng: Random) -> str:
    marks = rng.sample(_MARKS, rng.choice((1, 1, 2)))
    marked = "".join(c + "".join(marks) if c.isalpha() and rng.random() < 0.8 else c for c in text)
    return unicodedata.normalize("NFC", marked) if rng.random() < 0.5 else marked


def _leet(text: str, rng: Random) -> str:
    rate = rng.choice((0.3, 0.6, 1.0))
    return "".join(
        rng.choice(_LEET[c.lower()]) if c.lower() in _LEET and rng.random() < rate else c for c in text
    )


def _look_alikes(text: str, rng: Random) -> str:
    table, rate = rng.choice((_CYRILLIC, _GREEK)), rng.choice((0.2, 0.5, 1.0))
    return "".join(c.translate(table) if rng.random() < rate else c for c in text)


def _spaced(text: str, rng: Random) -> str:
    mark = rng.choice((" ", " ", ".", "-", "_", "*", "·"))
    gap = "   " if mark == " " else " "
    return gap.join(mark.join(word) for word in text.split(" "))


def _mixed_case(text: str, rng: Random) -> str:
    return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text)


def _broken_words(text: str, rng: Random) -> str:
    mark, step = rng.choice(("*", "-", "\n", " ", "_", "/")), rng.randint(2, 5)
    return mark.join(text[at : at + step] for at in range(0, len(text), step))


def _starred_vowels(text: str, rng: Random) -> str:
    mark = rng.choice("*_#•")
    return "".join(mark if c in "aeiouAEIOU" and rng.random() < 0.5 else c for c in text)


def _stretched(text: str, rng: Random) -> str:
    return "".join(c * rng.randint(2, 4) if c in "aeioun" and rng.random() < 0.2 else c for c in text)


def _joined(text: str, rng: Random) -> str:
    words = text.split(" ")
    return rng.choice(
        (lambda: "_".join(words), lambda: "".join(w.capitalize() for w in words), lambda: "".join(words))
    )()


def _tags(text: str, _: Random) -> str:
    return "".join(c + chr(0xE0000 + ord(c)) if c.isascii() and c.isalpha() else c for c in text)


READABLE: Final[Mapping[str, Disguise]] = {
    "zero width": _zero_width,
    "no-break spaces": lambda text, _: text.replace(" ", "\u00a0"),
    "accents": _accents,
    "fullwidth": _alphabet(0xFF41, 0xFF21),
    "bold": _alphabet(0x1D41A, 0x1D400),
    "italic": _alphabet(0x1D482, 0x1D468),
    "fraktur": _alphabet(0x1D586, 0x1D56C),
    "double-struck": lambda text, rng: _alphabet(0x1D552, 0x1D538)(text.lower(), rng),
    "monospace": _alphabet(0x1D68A, 0x1D670),
    "circled": _alphabet(0x24D0, 0x24B6),
    "small capitals": lambda text, _: text.lower().translate(_SMALL),
    "look-alikes": _look_alikes,
    "leet": _leet,
    "spaced letters": _spaced,
    "mixed case": _mixed_case,
    "broken words": _broken_words,
    "starred vowels": _starred_vowels,
    "stretched": _stretched,
    "joined words": _joined,
    "tags": _tags,
}
"""The disguises that people can still read, by name."""


def _caesar(text: str, by: int) -> str:
    def turned(c: str) -> str:
        for letters in (ascii_lowercase, ascii_uppercase):
            if c in letters:
                return letters[(letters.index(c) + by) % 26]
        return c

    return "".join(map(turned, text))


def _base64(text: str, rng: Random) -> str:
    code = base64.b64encode(text.encode()).decode()
    return code.rstrip("=") if rng.random() < 0.3 else code


def _hexadecimal(text: str, rng: Random) -> str:
    mark = rng.choice(("", " ", ":"))
    return text.encode().hex(mark) if mark else text.encode().hex()


def _pig_latin(text: str, _: Random) -> str:
    return " ".join(
        word[1:] + word[:1] + "ay" if word.isalpha() else word for word in text.lower().split(" ")
    )


OPAQUE: Final[Mapping[str, Disguise]] = {
    "base64": _base64,
    "base32": lambda text, _: base64.b32encode(text.encode()).decode(),
    "hexadecimal": _hexadecimal,
    "binary": lambda text, _: " ".join(f"{byte:08b}" for byte in text.encode()[:48]),
    "octal": lambda text, _: "".join(f"\\{byte:03o}" for byte in text.encode()[:80]),
    "rot13": lambda text, _: codecs.encode(text, "rot13"),
    "a Caesar cipher": lambda text, rng: _caesar(text, rng.randint(1, 25)),
    "reverse": lambda text, _: text[::-1],
    "words in reverse": lambda text, _: " ".join(word[::-1] for word in text.split(" ")),
    "reverse word order": lambda text, _: " ".join(reversed(text.split(" "))),
    "URL encoding": lambda text, _: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent encoding": lambda text, _: urllib.parse.quote(text),
    "HTML entities": lambda text, _: "".join(f"&#{ord(c)};" for c in text),
    "code points": lambda text, _: "".join(f"\\u{ord(c):04x}" for c in text[:120]),
    "Morse code": lambda text, _: " ".join(
        _MORSE.get(c, "/") for c in text.lower() if c == " " or c in _MORSE
    ),
    "pig Latin": _pig_latin,
}
"""The disguises that have to be undone before the text can be read, by the name a request gives them."""
