"""Reads an engine's error of any shape, field by field, into message, code, type and param.

Shapes seen: `{"error": {…}}`, `{"error": "…"}`, `[{"error": {…}}]`, `{"detail": [{"loc": […], "msg": "…"}]}`,
`{"detail": "…"}`, `{"errors": […]}`, `{"object": "error", …}`, errors within errors, JSON in the text of a message, plain
text, and pages of HTML. A field that one level lacks is taken from the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from tidegate.kernel.surrogates import without_lone

MAX_ERROR_BYTES = 64 * 1024
# The most characters of an engine's message that are kept. The rest of a page or of a stack trace does not help a client.
MAX_MESSAGE = 2000
# The most levels of errors within errors, as proxies in front of proxies produce. None with more levels is known.
_MAX_DEPTH = 6
_MOST_OF_A_LIST = 3


class Explanation(msgspec.Struct):
    """The reasons that an engine gave for a refusal. `code` is text or a number. `status` is one found in the body."""

    message: str | None = None
    param: str | None = None
    code: str | int | None = None
    type: str | None = None
    status: int | None = None

    def over(self, other: Explanation) -> Explanation:
        """Take the other's fields where this explanation has none."""
        return Explanation(
            *(
                mine if mine is not None else others
                for mine, others in zip(
                    msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True
                )
            )
        )


def explanation(body: bytes) -> Explanation:
    """Return the explanation in a body, which may be JSON of any shape or plain text. It may be empty."""
    value = decoded(body)
    if value is not None:
        return _read(value, 0)
    text = body.decode(errors="replace")
    return Explanation(message=_plain(text))


def explain(value: Any) -> Explanation:
    """Return the explanation in a decoded JSON value."""
    return _read(value, 0)


def decoded(body: bytes) -> Any:
    """Decode JSON, or return None for invalid JSON and for null. Lone surrogates become U+FFFD."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.json.decode(without_lone(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_error(value: Any) -> bool:
    """Return whether JSON without `choices` reports an error, such as `{"object": "error", …}` or `{"detail": "…"}`."""
    if isinstance(value, list):
        return any(is_error(one) for one in cast("list[Any]", value)[:1])
    if not isinstance(value, dict):
        return False
    found = cast("dict[str, Any]", value)
    if found.get("object") == "error" or found.get("type") == "error":
        return True
    if any(not says_nothing(found.get(name)) for name in ("error", "detail", "errors")):
        return True
    return bool(found.get("message")) and any(
        name in found for name in ("code", "status", "type", "statusCode")
    )


def says_nothing(error: Any, depth: int = 0) -> bool:
    """Return whether the value of a field `error` means that there is none: `{}`, `""`, `false`, `{"message": null}`."""
    if isinstance(error, dict) and depth < _MAX_DEPTH:
        return all(says_nothing(value, depth + 1) for value in cast("dict[str, Any]", error).values())
    return not error


_MESSAGES = (
    "message",
    "msg",
    "error_description",
    "error_message",
    "reason",
    "detail",
    "description",
    "title",
)
_CODES = ("code", "error_code", "errorcode")
_TYPES = ("type", "error_type", "status", "__type")
_PARAMS = ("param", "field", "loc", "parameter")
_STATUSES = ("status", "statuscode", "status_code", "code", "http_status")
# Fields that may contain a nested error. Errors in the fields of `_WITHIN` are more specific than the object around them.
# Errors in the fields of `_BESIDE` are less specific.
_WITHIN = ("error", "errors", "detail", "message", "msg", "exception")
_BESIDE = ("innererror", "inner_error", "details", "cause", "response", "metadata", "raw", "body")


def _read(value: Any, depth: int) -> Explanation:
    if depth > _MAX_DEPTH:
        return Explanation()
    if isinstance(value, str):
        return _read_text(value, depth)
    if isinstance(value, list):
        return _read_list(cast("list[Any]", value), depth)
    if isinstance(value, dict):
        named = {str(name).lower(): one for name, one in cast("dict[Any, Any]", value).items()}
        return _read_object(named, depth)
    return Explanation()


def _read_object(named: dict[str, Any], depth: int) -> Explanation:
    found = Explanation()
    for name in _WITHIN:
        if _is_nested(named.get(name)):
            found = found.over(_read(named[name], depth + 1))
    found = found.over(_own(named))
    for name in _BESIDE:
        if _is_nested(named.get(name)):
            found = found.over(_read(named[name], depth + 1))
    if found.message is None and depth and named:
        # The object has an unknown shape, so its JSON serves as the message.
        found.message = _quoted(named)
    return found


def _own(named: Mapping[str, Any]) -> Explanation:
    """Read the fields of one object. `message` is preferred to a text in `error`, which may be just "Bad Request"."""
    return Explanation(
        message=_first(named, (*_MESSAGES, "error"), _text),
        param=_first(named, _PARAMS, _path),
        code=_first(named, _CODES, _code),
        type=_first(named, _TYPES, _word),
        status=_first(named, _STATUSES, _status),
    )


def _read_list(values: list[Any], depth: int) -> Explanation:
    """Read the first entry, and add the messages of the next ones, because validators report all mistakes at once."""
    read = [_read(value, depth + 1) for value in values[:_MOST_OF_A_LIST]]
    if not read:
        return Explanation()
    messages = list(dict.fromkeys(one.message for one in read if one.message))
    return Explanation(message=_plain("; ".join(messages))).over(read[0])


def _read_text(text: str, depth: int) -> Explanation:
    """Read a text, which may itself be JSON: proxies quote the answer of the engine behind them."""
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        value = decoded(stripped.encode(errors="replace"))
        if isinstance(value, dict | list) and value:
            return _read(cast("Any", value), depth + 1).over(Explanation(message=_plain(text)))
    return Explanation(message=_plain(text))


def _is_nested(value: Any) -> bool:
    if isinstance(value, str):
        return value.lstrip()[:1] in ("{", "[")
    return isinstance(value, dict | list)


_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


def _plain(text: str) -> str | None:
    """Return a text on one line, or the title of an HTML page."""
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text[:MAX_MESSAGE])
        text = title[2] if title else ""
    words = _CONTROLS.sub(" ", text[:MAX_MESSAGE]).strip()
    return words.encode(errors="replace").decode() or None


def _quoted(value: Mapping[str, Any]) -> str | None:
    try:
        return _plain(msgspec.json.encode(value).decode(errors="replace"))
    except (RecursionError, ValueError):
        return None


def _first(named: Mapping[str, Any], names: tuple[str, ...], read: Callable[[Any], Any]) -> Any:
    return next((found for name in names if (found := read(named.get(name))) is not None), None)


def _text(value: Any) -> str | None:
    return _plain(value) if isinstance(value, str) else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _code(value: Any) -> str | int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        return int(value)
    return _word(value)


def _status(value: Any) -> int | None:
    code = _code(value)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _path(value: Any) -> str | None:
    """Return a field's name in OpenAI's notation: `["body", "messages", 0, "role"]` becomes `messages[0].role`."""
    if isinstance(value, str):
        return _plain(value)
    if not isinstance(value, list) or not value:
        return None
    parts = cast("list[Any]", value)
    path = ""
    for part in parts[1:] if parts[0] == "body" and len(parts) > 1 else parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return _plain(path)


_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.: /#-]{0,99}")
