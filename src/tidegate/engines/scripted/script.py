"""The scripts of the scripted engine: its timing, its answers and its faults. The module does no I/O and never waits.

A `Script` comes from the configuration. A marker in the prompt overrides the options that it names, for that call only:

    [[scripted ttft=50 itl=5 tokens=32 fault=reset@10 text="Bonjour à tous"]]

Grammar. A marker is `[[scripted`, then options separated by white space, then `]]`. An option is `name=value`. A value is
a bare word (without white space, quotes or `]]`), a JSON string in double quotes, or any text in single quotes, which is
taken literally. Flags take 1 or 0. If a prompt contains several markers, the last one applies. A marker may be in any
text of `messages`, in `prompt` or in `input`. A marker with a mistake raises a BadRequest that names the option.

    when    ttft, itl            ms from the arrival of the request to the first token, and ms between tokens
            early=1              sends the headers at once instead of with the first token
    what    text, tokens         the text, cut into that many pieces; without `text`, made-up words, one per token
            seed                 chooses the words; default: the request's `seed`, else 0
            finish               finish_reason; default: stop, length (cut by the request's max_tokens) or tool_calls
            reasoning=N          N tokens of reasoning before the answer; reasoning_field=reasoning renames their field
            refusal              a text that is sent as a refusal instead of content
            tool, arguments      a tool call of that name; its JSON arguments follow in `tokens` pieces; calls=N repeats
                                 the call. Content comes before it only if `text` is given
            prompt_tokens, cached_tokens   usage; default: the number of words in the prompt, and 0
            dimensions           length of embeddings; default 16
            extra                JSON object with the keys event, choice, delta, usage: objects merged into each event (or
                                 whole answer), each choice, each delta (or message) and usage
    fault   fault=NAME@N         the fault comes after N tokens of each choice (default: half of them); close, reset and
                                 stall with @0 come before the first byte, headers included
            status, retry_after  for fault=error_status; default: 503, and 1 s if the status is 429 or 503
    form    crlf=1               ends lines with CRLF
            comment=1            sends `: ping` before each event
            multiline=1          puts each event's JSON on two `data:` lines
            slice=N              writes at most N bytes at once, so that events are cut anywhere
            burst=1              sends all events in one write
            framing=close        uses no chunked coding: the end of the connection ends the body
            drip                 ms between the bytes of the headers, for fault=slow_headers; default: 20
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from tidegate.errors import BadRequest, ConfigError, Problem
from tidegate.types import ChatMessage

if TYPE_CHECKING:
    from tidegate.config import ScriptedConfig

_MARKER = re.compile(r"""\[\[scripted(?=\s|\]\])((?:"(?:[^"\\]|\\.)*"|'[^']*'|(?!\]\])[^"'])*)(\]\])?""")
_OPTION = re.compile(r"""\s*([^\s=\]"']+)=("(?:[^"\\]|\\.)*"|'[^']*'|(?:(?!\]\])[^\s"'])*)(?=\s|$)""")
# Option names that differ from the field they set.
_FIELD_OF = {"ttft": "ttft_ms", "itl": "itl_ms", "drip": "drip_ms", "retry_after": "retry_after_s"}
_EXTRA_KEYS = frozenset({"event", "choice", "delta", "usage"})
_MAX_CHOICES = 128

Milliseconds = Annotated[float, Meta(ge=0, le=86_400_000)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class Fault(enum.Enum):
    """The ways in which an answer fails. "The body ends" means a proper end in HTTP: the connection stays usable."""

    NONE = "none"
    CLOSE = "close"  # FIN in the middle of the body
    RESET = "reset"  # RST in the middle of the body
    STALL = "stall"  # sends no more until the client leaves
    CUT_UTF8 = "cut_utf8"  # the body ends inside a character, inside an event
    CUT_JSON = "cut_json"  # a whole event with half an object, then the body ends
    MISSING_DONE = "missing_done"  # a complete answer, but no [DONE]
    DOUBLE_DONE = "double_done"  # a complete answer, and [DONE] twice
    ERROR_EVENT = "error_event"  # {"error": ...} with status 200, then the body ends without [DONE]
    ERROR_STATUS = "error_status"  # an answer with `status`, and with Retry-After if it applies
    GARBAGE = "garbage"  # an HTML page with status 200
    NO_FINISH = "no_finish"  # every token and [DONE], but no finish_reason
    SLOW_HEADERS = "slow_headers"  # the headers are sent byte by byte, then a good answer
    TRUNCATED_BODY = "truncated_body"  # FIN before the number of bytes in Content-Length is reached


def check_fault(text: str) -> str:
    """Return `text` if it is `NAME` or `NAME@N`. Raises ValueError for an unknown fault or if N is no number of tokens."""
    name, at, place = text.partition("@")
    known = [fault.value for fault in Fault]
    if name not in known:
        raise ValueError(f"there is no fault '{name}'; there are: {', '.join(known)}")
    if at and not (place.isascii() and place.isdecimal() and len(place) < 7):
        raise ValueError(
            f"'{place}' is not a number: after @ give the number of tokens before the fault, as in reset@10"
        )
    return text


BREAKS_OFF = frozenset(
    {
        Fault.CLOSE,
        Fault.RESET,
        Fault.STALL,
        Fault.CUT_UTF8,
        Fault.CUT_JSON,
        Fault.ERROR_EVENT,
        Fault.TRUNCATED_BODY,
    }
)
"""Faults that leave an answer unfinished, after `fault_at` tokens."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The timing, content and fault of an answer. The module's docstring explains each field. Times are in milliseconds."""

    ttft_ms: Milliseconds = 0
    itl_ms: Milliseconds = 0
    early: bool = False
    tokens: Count = 16
    text: str | None = None
    seed: int | None = None
    finish: str | None = None
    reasoning: Count = 0
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    refusal: str | None = None
    tool: str | None = None
    arguments: str = "{}"
    calls: Annotated[int, Meta(ge=1, le=_MAX_CHOICES)] = 1
    prompt_tokens: Count | None = None
    cached_tokens: Count = 0
    dimensions: Annotated[int, Meta(ge=1, le=8192)] = 16
    extra: dict[str, dict[str, Any]] = {}
    fault: Fault = Fault.NONE
    fault_at: Count | None = None
    status: Annotated[int, Meta(ge=400, le=599)] = 503
    retry_after_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    crlf: bool = False
    comment: bool = False
    multiline: bool = False
    slice: Count = 0
    burst: bool = False
    framing: Literal["chunked", "close"] = "chunked"
    drip_ms: Milliseconds = 20


class StreamOptions(msgspec.Struct, frozen=True):
    """The `stream_options` of a request."""

    include_usage: bool = False


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a request body that a script uses. All other fields are ignored."""

    model: str = "scripted"
    messages: list[ChatMessage] = []
    prompt: Any = None
    input: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=_MAX_CHOICES)] | None = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    seed: int | None = None
    dimensions: Annotated[int, Meta(ge=1, le=8192)] | None = None
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the stream has to end with an event that contains the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def limit(self) -> int | None:
        """The largest number of tokens that the request allows for an answer, or None."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


_ASK = msgspec.json.Decoder(Question)


def read_ask(body: bytes) -> Question:
    """Decode a request body. Raises BadRequest."""
    try:
        return _ASK.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the request body is not valid: {error}") from error


def prompts(ask: Question) -> list[str]:
    """Return the texts of `prompt` or `input`, one per answer. A list of token ids is one text. Raises BadRequest."""
    source = ask.input if ask.prompt is None else ask.prompt
    if isinstance(source, str):
        return [source]
    items = cast("list[Any]", source) if isinstance(source, list) else []
    if not items:
        return [""]
    if isinstance(items[0], int):
        return [" ".join(map(str, items))]
    return [_text(item) for item in items]


def _text(item: Any) -> str:
    if isinstance(item, list):
        return " ".join(map(str, cast("list[Any]", item)))
    if isinstance(item, str):
        return item
    raise BadRequest("a prompt must be a string or a list of token ids")


def prompt_text(ask: Question) -> str:
    """Return all texts of the request in order, joined by line ends."""
    if ask.messages:
        return "\n".join(text for message in ask.messages for text in _message_texts(message))
    return "\n".join(prompts(ask))


def last_text(ask: Question) -> str:
    """Return the texts of the last message, or of the prompt, joined by line ends."""
    return "\n".join(_message_texts(ask.messages[-1]) if ask.messages else prompts(ask))


def _message_texts(message: ChatMessage) -> Iterator[str]:
    if isinstance(message.content, str):
        yield message.content
        return
    for part in message.content or ():
        if isinstance(text := part.get("text"), str):
            yield text


def count_prompt_tokens(script: Script, ask: Question) -> int:
    """Return the scripted number of prompt tokens, or else the number of words in the prompt without markers."""
    if script.prompt_tokens is not None:
        return script.prompt_tokens
    return len(_MARKER.sub("", prompt_text(ask)).split())


def from_config(config: ScriptedConfig) -> Script:
    """Return the script of an engine's configuration. Raises ConfigError if `fault` has a mistake."""
    script = Script(ttft_ms=config.ttft_ms, itl_ms=config.itl_ms, tokens=config.tokens, text=config.text)
    if config.fault is None:
        return script
    try:
        return override(script, {"fault": config.fault})
    except BadRequest as error:
        raise ConfigError("scripted engine", [Problem("fault", error.message)]) from error


def answering(base: Script, answers: Mapping[str, str], ask: Question) -> Script:
    """Return `base` with the text of the first of some answers whose words, in lower case, are in what was said last."""
    said = last_text(ask).lower()
    text = next((text for words, text in answers.items() if words in said), None)
    return base if text is None else msgspec.structs.replace(base, text=text)


def script_for(base: Script, ask: Question) -> Script:
    """Return the script of one call: `base`, changed by the last marker in the prompt. Raises BadRequest."""
    text = prompt_text(ask)
    if "[[scripted" not in text:
        return base
    markers = list(_MARKER.finditer(text))
    if not markers:
        return base
    options, end = markers[-1].groups()
    if end is None:
        raise BadRequest("[[scripted]]: the marker does not end: add `]]`, or close a quote")
    return override(base, read_options(options))


def read_options(text: str) -> dict[str, str]:
    """Return the options between `[[scripted` and `]]` as name to value. Raises BadRequest."""
    options: dict[str, str] = {}
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _OPTION.match(text, at)
        if found is None:
            raise BadRequest(f"[[scripted]]: expected name=value at `{text[at:].strip()[:40]}`")
        name, value = found.groups()
        if name in options:
            raise BadRequest(f"[[scripted]]: `{name}` is given twice")
        options[name] = _unquote(name, value)
        at = found.end()
    return options


def _unquote(name: str, value: str) -> str:
    if value.startswith("'"):
        return value[1:-1]
    if not value.startswith('"'):
        return value
    try:
        return msgspec.json.decode(value.encode(errors="surrogatepass"), type=str)
    except msgspec.DecodeError as error:
        raise BadRequest(f"[[scripted]]: `{name}`: {error}") from error


def override(base: Script, options: Mapping[str, str]) -> Script:
    """Return `base` changed by these options, which are written as in a marker. Raises BadRequest that names the option."""
    changes: dict[str, Any] = {}
    for name, value in options.items():
        field = _FIELD_OF.get(name, name)
        if field not in Script.__struct_fields__ or name == "fault_at" or name in _FIELD_OF.values():
            raise BadRequest(f"[[scripted]]: there is no option `{name}`")
        option = f"{name}={value[:80]}"
        if field == "fault":
            kind, _, place = value.partition("@")
            changes["fault"] = _convert(option, "fault", kind)
            changes["fault_at"] = _convert(option, "fault_at", place) if "@" in value else None
        else:
            changes[field] = _convert(option, field, value)
    return msgspec.structs.replace(base, **changes)


def _convert(option: str, field: str, value: str) -> Any:
    raw: Any = value
    try:
        if field == "extra":
            raw = msgspec.json.decode(value)
            if unknown := sorted(set(raw) - _EXTRA_KEYS):
                raise BadRequest(f"[[scripted]]: `extra`: there is no part `{unknown[0]}`")
        return getattr(msgspec.convert({field: raw}, Script, strict=False), field)
    except (msgspec.DecodeError, TypeError) as error:
        reason = str(error).partition(" - at `$")[0]
        raise BadRequest(f"[[scripted]]: `{option}`: {reason}{_known(field)}") from error


def _known(field: str) -> str:
    return f"; faults: {', '.join(fault.value for fault in Fault)}" if field == "fault" else ""


_Item = TypeVar("_Item", str, bytes)


def cut(text: _Item, count: int) -> list[_Item]:
    """Cut a text into `count` pieces of nearly equal length, or fewer if it is too short. No piece is empty."""
    count = min(count, len(text))
    edges = [len(text) * index // count for index in range(count + 1)] if count else []
    return [text[begin:end] for begin, end in pairwise(edges)]
