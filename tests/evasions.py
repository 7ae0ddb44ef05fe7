"""Ways to hide a phrase from a filter, as functions from the phrase to the text that hides it.

`TRANSFORMS` has them by name. They are deterministic, and take ASCII phrases of words and spaces.
"""

# ruff: noqa: RUF001  (look-alike letters are what this module is about)

from __future__ import annotations

import base64
import codecs
import html
import unicodedata
import urllib.parse
from collections.abc import Callable

Transform = Callable[[str], str]

CYRILLIC = str.maketrans("aceijopsxyhABCEHKMOPTX", "асеіјорѕхуһАВСЕНКМОРТХ")
GREEK = str.maketrans("aeiknopruvxyABEHIKMNOPTXZ", "αεικηορrυνχγΑΒΕΗΙΚΜΝΟΡΤΧΖ")
ARMENIAN = str.maketrans("ghjlnoqu", "ցհյլոօզս")
CHEROKEE = str.maketrans("ABCDEGHIJKLMPRSTVWYZ", "ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᎩᏃ")
SMALL_CAPITALS = str.maketrans("abcdefghijklmnopqrstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ")
LEET = str.maketrans("aeiost", "431057")


def letters(lower: int, upper: int) -> Transform:
    """Return the transform that replaces letters by those of an alphabet that begins at two code points."""

    def replace(text: str) -> str:
        return "".join(
            chr(lower + ord(c) - 97)
            if "a" <= c <= "z"
            else chr(upper + ord(c) - 65)
            if "A" <= c <= "Z"
            else c
            for c in text
        )

    return replace


def between(mark: str) -> Transform:
    return mark.join


def after_letters(*marks: str) -> Transform:
    return lambda text: "".join(c + "".join(marks) if c.isalpha() else c for c in text)


def spaced(separator: str, gap: str) -> Transform:
    return lambda text: gap.join(separator.join(word) for word in text.split(" "))


def as_tags(text: str) -> str:
    return "Hello there!" + "".join(chr(0xE0000 + ord(c)) for c in text)


def as_selectors(text: str) -> str:
    def selector(byte: int) -> str:
        return chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16)

    return "\N{GRINNING FACE}" + "".join(map(selector, text.encode()))


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def named_entities(text: str) -> str:
    return html.escape(f"<b>{text}</b>").replace(" ", "&nbsp;")


TRANSFORMS: dict[str, Transform] = {
    "plain": lambda text: text,
    "zero width spaces": between("\u200b"),
    "zero width joiners": between("\u200d"),
    "word joiners": between("\u2060"),
    "byte order marks": between("\ufeff"),
    "soft hyphens": between("\u00ad"),
    "combining grapheme joiners": between("\u034f"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "accents, decomposed": after_letters("\u0301"),
    "accents, composed": lambda text: unicodedata.normalize("NFC", after_letters("\u0301")(text)),
    "zalgo": after_letters("\u0300", "\u0336", "\u0360", "\u0489"),
    "marks of other scripts": after_letters("\u0651", "\u0e31"),
    "fullwidth": letters(0xFF41, 0xFF21),
    "bold": letters(0x1D41A, 0x1D400),
    "bold italic": letters(0x1D482, 0x1D468),
    "fraktur": letters(0x1D586, 0x1D56C),
    "double-struck": letters(0x1D552, 0x1D538),
    "monospace": letters(0x1D68A, 0x1D670),
    "circled": letters(0x24D0, 0x24B6),
    "parenthesized": letters(0x249C, 0x1F110),
    "negative squared": lambda text: letters(0x1F170, 0x1F170)(text.upper()),
    "regional indicators": lambda text: letters(0x1F1E6, 0x1F1E6)(text.upper()),
    "small capitals": lambda text: text.translate(SMALL_CAPITALS),
    "cyrillic": lambda text: text.translate(CYRILLIC),
    "greek": lambda text: text.translate(GREEK),
    "armenian": lambda text: text.translate(ARMENIAN),
    "cherokee": lambda text: text.upper().translate(CHEROKEE),
    "tags": as_tags,
    "tags between letters": lambda text: "".join(
        chr(0xE0000 + ord(c)) if i % 2 else c for i, c in enumerate(text)
    ),
    "variation selectors": as_selectors,
    "bidi override": lambda text: f"\u202e{text[::-1]}\u202c",
    "leet": lambda text: text.translate(LEET),
    "base64": base64_of,
    "base64, unpadded": lambda text: base64_of(text).rstrip("="),
    "base64, url-safe": lambda text: base64.urlsafe_b64encode(f"{text} \u00ff\u00fe?>".encode()).decode(),
    "base64, in lines": lambda text: base64.encodebytes((text + ". ").encode() * 3).decode(),
    "base64, in lines below a word": lambda text: (
        f"decode\n{base64.encodebytes((text + '. ').encode() * 3).decode()}now"
    ),
    "base64, utf-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base64 twice": lambda text: base64_of(base64_of(text)),
    "base64, percent-encoded": lambda text: urllib.parse.quote(base64_of(text)),
    "hex": lambda text: text.encode().hex(),
    "hex, spaced": lambda text: text.encode().hex(" "),
    "hex, colons": lambda text: text.encode().hex(":"),
    "hex, 0x": lambda text: "0x" + text.encode().hex(),
    "hex, list of 0x": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "hex, \\x": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "url": percent,
    "url, form": lambda text: percent(text).replace("%20", "+"),
    "url twice": lambda text: urllib.parse.quote(percent(text)),
    "entities, decimal": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "entities, hexadecimal": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "entities, without semicolons": lambda text: "".join(f"&#{ord(c)}" for c in text),
    "entities, named": named_entities,
    "code points": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "code points in braces": lambda text: "".join(f"\\u{{{ord(c):x}}}" for c in text),
    "mathematical letters as surrogate pairs": lambda text: (
        letters(0x1D41A, 0x1D400)(text).encode("unicode-escape").decode()
    ),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "words reversed": lambda text: " ".join(word[::-1] for word in text.split(" ")),
    "order of words reversed": lambda text: " ".join(text.split(" ")[::-1]),
    "spaced letters": spaced(" ", "   "),
    "spaced letters, without gaps": lambda text: " ".join(text.replace(" ", "")),
    "dotted letters": spaced(".", " "),
    "hyphened letters": spaced("-", " "),
    "mixed case": lambda text: "".join(c.upper() if i % 2 else c for i, c in enumerate(text)),
    "lines broken in words": lambda text: "\n".join(text[i : i + 3] for i in range(0, len(text), 3)),
    "punctuation in words": lambda text: "*".join(text[i : i + 2] for i in range(0, len(text), 2)),
}
"""Each way to hide a phrase, by name."""
