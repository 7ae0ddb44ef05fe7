"""What a scripted engine does: how long it takes, what it says, and how it breaks. Pure; nothing here waits or sends.

A `Script` comes from the config, and a marker in the prompt overrides what it names, for that call alone:

    [[scripted ttft=50 itl=5 tokens=32 fault=reset@10 text="Bonjour à tous"]]

Grammar. A marker is `[[scripted`, then options divided by white space, then `]]`. An option is `name=value`, where a value
is a bare word (no white space, quotes or `]]`), a JSON string in double quotes, or anything in single quotes, taken as it
stands. Flags take 1 or 0. Where a prompt holds several markers the last one counts. Markers are looked for in every text
of `messages`, in `prompt` and in `input`. A marker that cannot be read is a BadRequest that names the option.

    when    ttft, itl            ms to the first token and between tokens, from the arrival of the request
            early=1              the headers go out at once instead of with the first token
    what    text, tokens         the text, cut into that many pieces; without `text` made-up words, one a token
            seed                 which words; default: the request's `seed`, else 0
            finish               finish_reason; default: stop, length (cut by the request's max_tokens) or tool_calls
            reasoning=N          N tokens of reasoning before the answer; reasoning_field=reasoning renames their field
            refusal              a text delivered as a refusal in place of content
            tool, arguments      a tool call by that name, its JSON arguments cut into `tokens` pieces after the one that
                                 names it; calls=N repeats it. There is content before it only where `text` is given
            prompt_tokens, cached_tokens   usage; default: the words of the prompt, and 0
            dimensions           length of embeddings; default 16
            extra                JSON object with the keys event, choice, delta, usage: objects merged into each event (or
                                 whole answer), each choice, each delta (or message) and usage
    fault   fault=NAME@N         breaks after N tokens of each choice (default: half of them); close, reset and stall @0
                                 come before the first byte, headers included
            status, retry_after  of fault=error_status; default 503, and 1 s where the status is 429 or 503
    form    crlf=1               CRLF line ends
            comment=1            `: ping` before each event
            multiline=1          each event's JSON on two `data:` lines
            slice=N              at most N bytes a write, so that events are cut anywhere
            burst=1              all events in one write
            framing=close        no chunked coding: the end of the connection ends the body
            drip                 ms between the bytes of the headers with fault=slow_headers; default 20
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
    """How an answer goes wrong. "Ends" means: as HTTP says a body ends, the connection stays usable."""

    NONE = "none"
    CLOSE = "close"  # FIN in the middle of the body
    RESET = "reset"  # RST in the middle of the body
    STALL = "stall"  # nothing more comes until the client leaves
    CUT_UTF8 = "cut_utf8"  # the body ends inside a character, inside an event
    CUT_JSON = "cut_json"  # a whole event with half an object, then the body ends
    MISSING_DONE = "missing_done"  # a complete answer, but no [DONE]
    DOUBLE_DONE = "double_done"  # a complete answer, and [DONE] twice
    ERROR_EVENT = "error_event"  # {"error": ...} with status 200, then the body ends without [DONE]
    ERROR_STATUS = "error_status"  # `status`, with Retry-After where it is due
    GARBAGE = "garbage"  # an HTML page with status 200
    NO_FINISH = "no_finish"  # every token and [DONE], but no finish_reason
    SLOW_HEADERS = "slow_headers"  # the headers come byte by byte, the answer is good
    TRUNCATED_BODY = "truncated_body"  # FIN before as many bytes as Content-Length promised


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
    """One way to answer; the module's docstring says what each field does. Times in milliseconds."""

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
    """What a request asks of its stream."""

    include_usage: bool = False


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a script reads of a request body; everything else is ignored."""

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
        """Whether a stream ends with an event that counts tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def limit(self) -> int | None:
        """The most tokens an answer may have, where the request says."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


_ASK = msgspec.json.Decoder(Question)


def read_ask(body: bytes) -> Question:
    """The request body as a script reads it. Raises BadRequest."""
    try:
        return _ASK.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the request body cannot be used: {error}") from error


def prompts(ask: Question) -> list[str]:
    """The texts of `prompt` or `input`, one for each answer asked; a list of token ids is one text. Raises BadRequest."""
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
    raise BadRequest("a prompt is a text or a list of token ids")


def prompt_text(ask: Question) -> str:
    """Everything the request says, in order, joined by line ends."""
    if ask.messages:
        return "\n".join(text for message in ask.messages for text in _message_texts(message))
    return "\n".join(prompts(ask))


def _message_texts(message: ChatMessage) -> Iterator[str]:
    if isinstance(message.content, str):
        yield message.content
        return
    for part in message.content or ():
        if isinstance(text := part.get("text"), str):
            yield text


def count_prompt_tokens(script: Script, ask: Question) -> int:
    """Tokens of the prompt: as scripted, else its words, markers left out."""
    if script.prompt_tokens is not None:
        return script.prompt_tokens
    return len(_MARKER.sub("", prompt_text(ask)).split())


def from_config(config: ScriptedConfig) -> Script:
    """The script of an engine's config. Raises ConfigError where `fault` cannot be read."""
    script = Script(ttft_ms=config.ttft_ms, itl_ms=config.itl_ms, tokens=config.tokens, text=config.text)
    if config.fault is None:
        return script
    try:
        return override(script, {"fault": config.fault})
    except BadRequest as error:
        raise ConfigError("scripted engine", [Problem("fault", error.message)]) from error


def script_for(base: Script, ask: Question) -> Script:
    """The script of one call: `base` changed by the last marker in the prompt. Raises BadRequest."""
    text = prompt_text(ask)
    if "[[scripted" not in text:
        return base
    markers = list(_MARKER.finditer(text))
    if not markers:
        return base
    options, end = markers[-1].groups()
    if end is None:
        raise BadRequest("[[scripted]]: the marker has no end: `]]` is missing, or a quote is open")
    return override(base, read_options(options))


def read_options(text: str) -> dict[str, str]:
    """Option name to value, of what stands between `[[scripted` and `]]`. Raises BadRequest."""
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
    """`base` with these options, names and values as a marker has them. Raises BadRequest naming the option."""
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
    """The text in `count` pieces of nearly equal length, fewer where it is too short for that; none is empty."""
    count = min(count, len(text))
    edges = [len(text) * index // count for index in range(count + 1)] if count else []
    return [text[begin:end] for begin, end in pairwise(edges)]
