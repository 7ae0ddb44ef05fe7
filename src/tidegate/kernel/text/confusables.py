"""The characters that look like ASCII letters and punctuation, as a table from the plain character to its look-alikes.

The table holds what Unicode's own decompositions (NFKD) do not cover: letters of other scripts, small capitals, letters
with a stroke or a hook, turned letters, and enclosed letters. Look-alikes are code points in hexadecimal, since nobody
could review the characters themselves. The idea is that of UTS #39 (Unicode security mechanisms), and the choice is our
own: a letter is listed if a reader takes it for the plain one within a word.
"""

from __future__ import annotations

from collections.abc import Iterator

_LATIN = {
    "a": "0250 0251 1D00 237A",
    "b": "0180 0184 0185 0253 0299 1D03",
    "c": "0186 0187 0188 0254 0255 1D04",
    "d": "00F0 0111 0256 0257 1D05",
    "e": "01DD 0247 0258 0259 025B 1D07 212E",
    "f": "0192 A730",
    "g": "0183 01E5 0260 0261 0262",
    "h": "0127 0265 0266 029C",
    "i": "0131 0268 0269 026A 1D09",
    "j": "0237 0249 025F 029D 1D0A",
    "k": "0199 029E 1D0B",
    "l": "0142 019A 01C0 026B 026C 026D 029F 1D0C A781",
    "m": "026F 0270 0271 1D0D",
    "n": "014B 019E 0272 0273 0274 1D0E",
    "o": "00F8 0275 1D0F",
    "p": "00FE 01A5 1D18",
    "q": "024B 02A0 A7AF",
    "r": "024D 0279 027A 027B 027C 027D 027E 0280 0281",
    "s": "023F 0282 A731",
    "t": "0167 01AB 01AD 0287 0288 1D1B",
    "u": "0289 028A 1D1C",
    "v": "028B 028C 1D20",
    "w": "028D 1D21 2375 2C73",
    "y": "01B4 0263 028E 028F 024F",
    "z": "01B6 0225 0290 0291 1D22",
    "B": "0181",
    "D": "00D0 0110 018A",
    "E": "018E 018F 0190",
    "F": "0191",
    "G": "0193 01E4",
    "H": "0126",
    "I": "0197",
    "K": "0198",
    "L": "0141",
    "M": "019C",
    "N": "014A 019D",
    "O": "00D8 019F",
    "P": "00DE 01A4",
    "T": "0166 01AC",
    "U": "222A",
    "V": "01B2 0245",
    "Y": "01B3",
    "Z": "01B5",
    "ss": "00DF",
    "SS": "1E9E",
    "ae": "00E6 1D01",
    "AE": "00C6",
    "oe": "0153",
    "OE": "0152",
}

_CYRILLIC = {
    "a": "0430",
    "b": "0432 042C 044C",
    "c": "0441 04AB",
    "d": "0501",
    "e": "0435 0454 04BD 04BF",
    "f": "0493",
    "g": "050D",
    "h": "043D 04A3 04BB 04C8",
    "i": "0456 A647",
    "j": "0458",
    "k": "043A 049B 049D 049F 04A1 04C4",
    "l": "04CF",
    "m": "043C",
    "n": "043F",
    "o": "043E 047B 04E9",
    "p": "0440 048F",
    "q": "051B",
    "r": "0433 0491",
    "s": "0455",
    "t": "0442 04AD",
    "v": "0475",
    "w": "0461 051D",
    "x": "0445 04B3",
    "y": "0443 04AF 04B1",
    "ae": "04D5",
    "A": "0410",
    "B": "0412",
    "C": "0421 04AA",
    "D": "0500",
    "E": "0404 0415",
    "F": "0492",
    "G": "050C",
    "H": "041D 04A2 04BA 04C7",
    "I": "0406 04C0",
    "J": "0408",
    "K": "041A 049A 049C 049E 04A0 04C3",
    "M": "041C",
    "O": "041E 047A 04E8",
    "P": "0420 048E",
    "Q": "051A",
    "S": "0405",
    "T": "0422 04AC",
    "V": "0474",
    "W": "0460 051C",
    "X": "0425 04B2",
    "Y": "0423 04AE 04B0",
    "AE": "04D4",
}

_GREEK_AND_COPTIC = {
    "a": "03B1 2C81",
    "b": "03B2 2C83",
    "c": "03F2 2CA5",
    "e": "03B5 2C89",
    "f": "03DD",
    "h": "2C8F",
    "i": "03B9 2C93",
    "j": "03F3",
    "k": "03BA 2C95",
    "m": "2C99",
    "n": "03B7 2C9B",
    "o": "03BF 03C3 2C9F",
    "p": "03C1 2CA3",
    "t": "03C4 2CA7",
    "u": "03BC 03C5",
    "v": "03BD",
    "w": "03C9",
    "x": "03C7 2CAD",
    "y": "03B3 2CA9",
    "A": "0391 2C80",
    "B": "0392 2C82",
    "C": "03F9 2CA4",
    "E": "0395 2C88",
    "F": "03DC",
    "H": "0397 2C8E",
    "I": "0399 2C92",
    "J": "037F",
    "K": "039A 2C94",
    "M": "039C 03FA 2C98",
    "N": "039D 2C9A",
    "O": "039F 2C9E",
    "P": "03A1 2CA2",
    "T": "03A4 2CA6",
    "X": "03A7 2CAC",
    "Y": "03A5 2CA8",
    "Z": "0396",
}

_ARMENIAN = {
    "g": "0581",
    "h": "0570",
    "j": "0575",
    "l": "056C",
    "n": "0578 057C",
    "o": "0585",
    "q": "0563 0566",
    "u": "057D",
    "L": "053C",
    "O": "0555",
    "S": "054F",
    "U": "054D",
}

# Cherokee letters; each has a small form too, which Python's `lower` gives.
_CHEROKEE = {
    "a": "13AA",
    "b": "13CF 13F4",
    "c": "13DF",
    "d": "13A0 13E7",
    "e": "13AC",
    "g": "13C0 13F3",
    "h": "13BB 13C2",
    "i": "13A5",
    "j": "13AB",
    "k": "13E6",
    "l": "13DE",
    "m": "13B7",
    "p": "13E2",
    "r": "13A1 13D2",
    "s": "13D5 13DA",
    "t": "13A2",
    "v": "13D9",
    "w": "13B3 13D4",
    "y": "13A9 13BD",
    "z": "13C3",
}

# Lisu, Canadian syllabics and Deseret: the capitals of "fancy text" generators.
_OTHER_SCRIPTS = {
    "A": "15C5 15E9 A4EE",
    "B": "15F7 A4D0",
    "C": "1455 A4DA",
    "D": "15DE 15EA A4D3",
    "E": "15F4 A4F0",
    "F": "15B4 A4DD",
    "G": "161C A4D6",
    "H": "157C A4E7",
    "I": "A4F2",
    "J": "148D A4D9",
    "K": "A4D7",
    "L": "14AA A4E1",
    "M": "15F0 A4DF",
    "N": "144E A4E0",
    "O": "10404 A4F3",
    "P": "146D A4D1",
    "R": "1587 A4E3",
    "S": "1515 A4E2",
    "T": "A4D4",
    "U": "144C A4F4",
    "V": "142F A4E6",
    "W": "15EF A4EA",
    "X": "166D A4EB",
    "Y": "A4EC",
    "Z": "1614 A4DC",
    "d": "A4D2",
    "o": "1042C",
    "q": "146B",
    "s": "10448",
}

_PUNCTUATION = {
    "-": "2010 2011 2012 2013 2014 2015 2043 2212 FE58",
    "'": "02B9 02BB 02BC 02BD 02C8 2018 2019 201A 201B 2032 2035",
    '"': "201C 201D 201E 201F 2033 2036",
    ":": "02D0 02D1 2236 A789 0589",
    "/": "2044 2215 29F8",
    "\\": "2216 29F5 29F9",
    "*": "2217 204E",
    "|": "2223 23D0",
    "<": "2039",
    ">": "203A",
    "~": "223C 02DC",
    "\n": "0085 2028 2029",
    " ": "2800",
}

# The first letter of each alphabet of enclosed letters that NFKD does not lead back to the plain letter alone.
_ENCLOSED = {"a": (0x249C,), "A": (0x1F110, 0x1F150, 0x1F170, 0x1F1E6)}


def confusables() -> dict[str, str]:
    """Return each look-alike with the plain characters that it is taken for."""
    return dict(_pairs())


def _pairs() -> Iterator[tuple[str, str]]:
    tables = (_LATIN, _CYRILLIC, _GREEK_AND_COPTIC, _ARMENIAN, _CHEROKEE, _OTHER_SCRIPTS, _PUNCTUATION)
    for table in tables:
        for plain, points in table.items():
            for point in points.split():
                yield chr(int(point, 16)), plain
    for plain, points in _CHEROKEE.items():
        yield from ((chr(int(point, 16)).lower(), plain) for point in points.split())
    for plain, starts in _ENCLOSED.items():
        yield from ((chr(start + i), chr(ord(plain) + i)) for start in starts for i in range(26))
