r"""The texts hidden by an encoding that shows: percent signs, entities, escapes, hexadecimal, base64, spaced-out letters.

Each decoder replaces what it can decode and leaves the rest of the text in its place, so a phrase of which only one word is
encoded is found too. Whether a text may hold an encoding is decided by a test that costs about a microsecond. Runs of
base64 and hexadecimal digits are everywhere, in paths, names and checksums: they are replaced only by readable text.

A run may begin with letters that only look like a part of it (`this` before a line end and base64, for example), which
shift all later digits. Each run is therefore decoded at every shift, and the readable stretches are kept.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tidegate.kernel.linear import quoted
from tidegate.kernel.text.folding import composed, folded
from tidegate.kernel.text.mapping import Edit, edited
from tidegate.types.verdict import View

ROUNDS = 2
"""How many encodings of one kind within each other are undone, such as base64 of base64."""

FEWEST_BASE64 = 16
"""The shortest run of base64 that is decoded, in characters."""

FEWEST_HEX = 6
"""The shortest run of hexadecimal digits that is decoded, in pairs."""

FEWEST_SPACED = 3
"""The shortest run of spaced-out letters that is joined, in letters."""

FEWEST_READABLE = 12
"""The shortest readable stretch of a run that is otherwise noise, in characters. Shorter ones happen by chance."""

LETTERS_OF_READABLE = 0.5
"""The least part of a readable text that is letters."""

NO_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalpha())
"""The characters of ASCII that are no letters."""


class Decoder(NamedTuple):
    """One encoding: `may` is the cheap test whether a text can hold it, `pattern` finds its runs.

    `plain` returns the replacement within a run, or None for a run that holds no text.
    """

    name: str
    may: Callable[[str], bool]
    pattern: re.Pattern[str]
    plain: Callable[[str], Edit | None]


class Decoding:
    """Undoes the encodings in the views of one text. Most runs are the same in each of them, and are decoded once."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Edit | None]] = {one.name: {} for one in _DECODERS}

    def rounds(self, view: View) -> Iterator[View]:
        """Yield the view, which is folded, with its encodings undone: once for each round that changes anything."""
        for _ in range(ROUNDS):
            plainer = self._undone(view)
            if plainer is view:
                return
            view = plainer
            yield view

    def _undone(self, view: View) -> View:
        names: list[str] = []
        decoded = ""
        for decoder in _DECODERS:
            if decoder.may(view.text):
                edits = list(self._edits(decoder, view.text))
                if edits:
                    view = edited(view, edits, name=decoder.name)
                    names.append(decoder.name)
                    decoded += "".join(one.text for one in edits)
        if not names:
            return view
        return composed(view, decoded)._replace(name="+".join(names), keeps=False)

    def _edits(self, decoder: Decoder, text: str) -> Iterator[Edit]:
        known = self._known[decoder.name]
        for match in decoder.pattern.finditer(text):
            run = match[0]
            if run in known:
                edit = known[run]
            else:
                edit = known[run] = _folded(decoder.plain(run))
            if edit is not None:
                at = match.start()
                yield Edit(at + edit.start, at + edit.end, edit.text)


def _folded(edit: Edit | None) -> Edit | None:
    return edit if edit is None or edit.text.isascii() else edit._replace(text=folded(edit.text).text)


# ----------------------------------------------------------------------------------------- what is readable


# Vowel signs and other marks that words of Arabic, Hindi, Thai and the like have.
_MARKS = (
    "\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u0e31-\u0e4e\u0eb1-\u0ecd\u0f18-\u0fbc\u102b-\u109d\u17b4-\u17d3"
)
_THREE_BYTES = "\u0800"
_MARK = re.compile(f"[{_MARKS}]")
_SHOWN = r"[\w\s" + _MARKS + r".,;:!?'\"()\[\]{}<>@#$%&*/\\+=|~^`-]"
_STRETCH = re.compile(_SHOWN + "+")
# Characters of three bytes count twice, so that half as many may do.
_LONG_STRETCH = re.compile(f"{_SHOWN}{{{FEWEST_READABLE // 2},}}")


def _is_readable(text: str, *, fewest: int) -> bool:
    if text.isascii():
        letters = len(text.encode().translate(None, NO_LETTERS))
        return len(text) >= fewest and letters >= LETTERS_OF_READABLE * len(text)
    # Characters of three bytes or more happen less by chance, so that they count twice.
    length = len(text) + sum(character >= _THREE_BYTES for character in text)
    letters = sum(map(str.isalpha, text)) + sum(not mark.isalpha() for mark in _MARK.findall(text))
    return length >= fewest and letters >= LETTERS_OF_READABLE * len(text)


# Bytes that no readable text has: controls that are no white space, and those that never occur in UTF-8.
_UNREADABLE = bytes((*range(1, 9), *range(0x0E, 0x1C), 0x7F, 0xC0, 0xC1, *range(0xF5, 0x100)))
_READABLE = bytes(byte for byte in range(256) if byte not in _UNREADABLE)


def _whole(data: bytes, *, fewest: int) -> str:
    """Return the text that the bytes are, if all of it is readable. NUL bytes are left out: ASCII in UTF-16 is read too."""
    if data.translate(None, _READABLE):
        return ""
    text = data.replace(b"\0", b"").decode("utf-8", "replace")
    return text if _STRETCH.fullmatch(text) and _is_readable(text, fewest=fewest) else ""


def _stretches(shifts: Iterable[bytes]) -> Iterator[str]:
    """Yield what is readable among the bytes of one run, decoded at each shift."""
    for data in shifts:
        for match in _LONG_STRETCH.finditer(data.replace(b"\0", b"").decode("utf-8", "replace")):
            if _is_readable(match[0], fewest=FEWEST_READABLE):
                yield match[0]


def _beside(run: str, stretches: Iterable[str]) -> str:
    """Return a run with what is readable in it behind it, or nothing. The run stays: a word may have been taken for it."""
    readable = " ".join(stretches)
    return f"{run} {readable}" if readable else ""


def _as_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


# ------------------------------------------------------------------- percent signs, entities and backslashes


# Each pattern begins with characters that are rare, which `re` looks for first: that is ten times as fast.
_PERCENT = re.compile(r"(?:\+%|%)[0-9A-Fa-f]{2}(?:\+?%[0-9A-Fa-f]{2})*")
_ENTITY = re.compile(r"&(?:#[0-9]{1,32};?|#[xX][0-9A-Fa-f]{1,32};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_POINT_DIGITS = r"(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|U[0-9A-Fa-f]{8})"
_CODE_POINTS = re.compile(rf"\\\\?{_POINT_DIGITS}(?:\\{{1,2}}{_POINT_DIGITS})*")
_CODE_POINT = re.compile(r"[uU]\{?([0-9A-Fa-f]+)")
_BYTE_DIGITS = "(?:x[0-9A-Fa-f]{2}|[0-3][0-7]{2})"
_BYTES = re.compile(rf"\\\\?{_BYTE_DIGITS}(?:\\{{1,2}}{_BYTE_DIGITS})*")
_BYTE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|([0-3][0-7]{2}))")


def _percent(run: str) -> str:
    return _as_text(bytes.fromhex(run.replace("+", "20").replace("%", "")))


def _code_points(run: str) -> str:
    points = (int(match[1], 16) for match in _CODE_POINT.finditer(run))
    text = "".join(chr(point) if point < 0x110000 else "\ufffd" for point in points)
    # Escapes are UTF-16: a pair of surrogates is one character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _bytes(run: str) -> str:
    return _as_text(
        bytes(int(match[1], 16) if match[1] else int(match[2], 8) for match in _BYTE.finditer(run))
    )


# ------------------------------------------------------------------------------------ base64 and hexadecimal


def _classes(members: str) -> bytes:
    """Return a table for `bytes.translate`: `x` for the members, a space for all other bytes."""
    return bytes(0x78 if chr(byte) in members else 0x20 for byte in range(256))


_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASE64_CLASS, _BASE64_SHORTEST = _classes(_LETTERS + _DIGITS + "+/-_"), b"x" * FEWEST_BASE64
_HEX_CLASS, _HEX_SHORTEST = _classes("abcdefABCDEF" + _DIGITS), b"x" * (2 * FEWEST_HEX)
_B = "[A-Za-z0-9+/_-]"
_LINE_END = r"\r?\n[ \t]*"
# Nothing is tried twice: most runs are words of prose.
_BASE64 = re.compile(
    rf"(?<!{_B})(?:{_B}{{{FEWEST_BASE64},}}+(?:{_LINE_END}{_B}++)*|{_B}++(?:{_LINE_END}{_B}++)+)={{0,2}}"
)
_H = "[0-9A-Fa-f]"
# Most words that begin like a run are seen not to be one by the characters that follow.
_HEX = re.compile(
    rf"{_H}(?=[0-9A-Fa-fxX])(?:(?<=0)[xX]{_H}{{2}}|{_H})(?=[0-9A-Fa-fxX ,:\r\n-]{{{2 * FEWEST_HEX - 2}}})"
    rf"(?:[ ,:\r\n-]{{0,3}}(?:0[xX])?{_H}{{2}}){{{FEWEST_HEX - 1},}}{_H}?"
)
_BASE64_LINE = re.compile(rf"{_B}+=*")
_NOT_HEX = re.compile(r"0[xX]|[^0-9A-Fa-f]")


def _may_be_base64(text: str) -> bool:
    return _BASE64_SHORTEST in text.encode("ascii", "replace").translate(_BASE64_CLASS, b"\r\n\t")


def _may_be_hex(text: str) -> bool:
    return _HEX_SHORTEST in text.encode("ascii", "replace").translate(_HEX_CLASS, b" ,:-\r\nxX")


def _base64(run: str) -> Edit | None:
    return _base64_whole(run, [line.span() for line in _BASE64_LINE.finditer(run)]) or _base64_beside(run)


def _base64_whole(text: str, lines: list[tuple[int, int]]) -> Edit | None:
    """Return the replacement of lines that are readable as a whole, with or without the first and the last of them."""
    last = len(lines)
    parts = ((0, last), (1, last), (0, last - 1), (1, last - 1)) if last > 1 else ((0, last),)
    for first, end in parts:
        digits = _digits_of("".join(text[start:stop] for start, stop in lines[first:end]))
        if len(digits) >= FEWEST_BASE64:
            whole = _whole(_base64_at(digits, 0), fewest=FEWEST_READABLE - 2)
            if whole:
                return Edit(lines[first][0], lines[end - 1][1], whole)
    return None


def _base64_beside(run: str) -> Edit | None:
    digits = _digits_of("".join(run.split()))
    if len(digits) < FEWEST_BASE64:
        return None
    return _all_of(run, _beside(run, _stretches(_base64_at(digits, shift) for shift in range(4))))


def _digits_of(run: str) -> str:
    return run.rstrip("=").replace("-", "+").replace("_", "/")


def _base64_at(digits: str, shift: int) -> bytes:
    # One digit alone in the last group of four says nothing.
    last = len(digits) - (1 if (len(digits) - shift) % 4 == 1 else 0)
    part = digits[shift:last]
    return binascii.a2b_base64(part + "=" * (-len(part) % 4))


def _hex(run: str) -> str:
    digits = _NOT_HEX.sub("", run)
    shifts = (digits[shift : len(digits) - (len(digits) - shift) % 2] for shift in range(2))
    data = [bytes.fromhex(shifted) for shifted in shifts]
    return _whole(data[0], fewest=FEWEST_HEX) or _beside(run, _stretches(data))


# ------------------------------------------------------------------------------------------ spaced-out letters


_BETWEEN = r"[ .*_|/~-]"
# A run from what follows its first letter, which stays: marks between letters are rarer than letters, and sought first.
_SPACED = re.compile(
    rf"({_BETWEEN})(?<=[^\W_].)(?<![^\W_][^\W_].)[^\W_](?:\1[^\W_]){{{FEWEST_SPACED - 2},}}(?![^\W_])",
)
_SPACED_CLASS, _SPACED_SHORTEST = _classes(_LETTERS + _DIGITS), b" x" * FEWEST_SPACED + b" "


def _may_be_spaced(text: str) -> bool:
    return _SPACED_SHORTEST in b" %b " % text.encode("ascii", "replace").translate(_SPACED_CLASS)


def _spaced(run: str) -> str:
    letters = run[1::2]
    return "" if letters.isdecimal() else letters


def _all_of(run: str, text: str) -> Edit | None:
    return Edit(0, len(run), text) if text else None


def _decoder(
    name: str, may: Callable[[str], bool], pattern: re.Pattern[str], plain: Callable[[str], str]
) -> Decoder:
    def whole(run: str) -> Edit | None:
        return _all_of(run, plain(run))

    return Decoder(name, may, pattern, whole)


_DECODERS = (
    _decoder("url", lambda text: "%" in text, _PERCENT, _percent),
    _decoder("html", lambda text: "&" in text, _ENTITY, html.unescape),
    _decoder("code points", lambda text: "\\" in text, _CODE_POINTS, _code_points),
    _decoder("bytes", lambda text: "\\" in text, _BYTES, _bytes),
    _decoder("hex", _may_be_hex, _HEX, _hex),
    Decoder("base64", _may_be_base64, _BASE64, _base64),
    _decoder("spaced", _may_be_spaced, _SPACED, _spaced),
)
"""In the order in which they are undone. An encoding within an earlier one of the list is undone in the same round."""


def _spaced_sign(between: str) -> str:
    one = "[A-Za-z0-9]"
    return f"(?:^|[^A-Za-z0-9]){one}(?:{quoted(between)}{one}){{{FEWEST_SPACED - 1}}}(?:[^A-Za-z0-9]|\\z)"


SIGNS = (
    r"%[0-9A-Fa-f]{2}",
    r"&(?:#[0-9xX]|[A-Za-z][A-Za-z0-9]{1,31};)",
    r"\\[uUx0-3]",
    rf"[0-9A-Fa-f]{{2}}(?:[ ,:\r\n-]{{0,3}}(?:0[xX])?[0-9A-Fa-f]{{2}}){{{FEWEST_HEX - 1}}}",
    rf"(?:{_B}[\r\n\t]*){{{FEWEST_BASE64}}}",
    *map(_spaced_sign, " .*_|/~-"),
)
"""Patterns in RE2's syntax. A text of ASCII in which none of them matches has no encoding that a decoder here undoes."""
