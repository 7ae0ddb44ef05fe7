"""How many tokens a prompt has, counted before the call.

The count is an estimate: the engine's own vocabulary and chat template are not known here. What the engine reports replaces
it when the call ends. Images and other media are not decoded; each counts as a fixed number of tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, cast

import msgspec

from tidegate.types import Batch, ChatRequest, CompletionRequest, Content, Request

VOCABULARY = "o200k_base"
"""The vocabulary of OpenAI's present models; others differ from it by some tens of percent for most languages."""
MESSAGE_TOKENS = 4
"""What a chat template adds to each message."""
MEDIA_TOKENS = 1000
"""What an image, a sound or a file counts; OpenAI's models take 85 to 1,500 tokens for most images."""
# One piece of a long text, so that no single step holds the interpreter for long.
_PIECE = 64 * 1024
# A member whose value is a picture or a sound. In a text, its quotes would be escaped.
_MEDIA = re.compile(rb'(?<!\\)"(?:url|image_url|data|file_data)"\s*:\s*"')
_NUMBERS = re.compile(rb"[\s\[]*\d")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")

_MEMBERS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_PLAIN = frozenset({"role", "content"})
_PLAIN_MESSAGE_BYTES = 40
_TEXTS = ("text", "refusal")
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})
MOST_TOKENS = 10_000_000
"""An engine that reports more for one call is not believed; no model has such a context."""

Count = Callable[[str], int]
"""Counts the tokens of a text in one vocabulary, without special tokens. It may run in any thread."""


def load_vocabulary() -> Count:
    """Return the function that counts tokens. It takes half a second and 64 MiB, which gateways without limits save."""
    quicktok: Any = import_module("quicktok")
    count: Count = quicktok.get_encoding(VOCABULARY).count
    return count


class Prompt(msgspec.Struct):
    """The texts of a prompt, and the number of tokens that are not text."""

    texts: list[str] = []
    others: int = 0

    def tokens(self, count: Count) -> int:
        """Return the number of tokens. This takes milliseconds for a long prompt."""
        return self.others + sum(map(count, self.texts))

    @property
    def most_tokens(self) -> int:
        """The most tokens that the prompt can have in any vocabulary: one for each byte of text."""
        return self.others + sum(len(text.encode("utf-8", "surrogatepass")) for text in self.texts)


def prompt_of(
    request: Request, described: Iterable[msgspec.Raw] = (), messages: msgspec.Raw | None = None
) -> Prompt:
    """Return the prompt of a request.

    `described` has the JSON of further fields that become part of it, and `messages` the JSON of the messages.
    """
    prompt = Prompt()
    if type(request) is ChatRequest:
        for message in request.messages:
            prompt.others += MESSAGE_TOKENS
            _add_content(prompt, message.content)
        if messages is not None and _has_more(messages, prompt, len(request.messages)):
            _add_other_members(prompt, messages)
    else:
        _add(prompt, request.prompt if type(request) is CompletionRequest else getattr(request, "input", ""))
    prompt.texts += (bytes(raw).decode() for raw in described)
    return prompt


def tokens_of_json(values: Iterable[msgspec.Raw], count: Count) -> int:
    """Return the tokens of JSON values such as messages, in small steps. Run this in a thread.

    JSON's own signs are counted like text, which makes the result a little too high.
    """
    return sum(_tokens_of_value(bytes(value), count) for value in values)


def most_of_json(values: Iterable[msgspec.Raw]) -> int:
    """Return the most tokens that JSON values can have in any vocabulary: one for each byte."""
    return sum(len(memoryview(value)) for value in values)


def _add(prompt: Prompt, value: Any) -> None:
    """Add a text, a list of texts, a list of tokens, or a list of lists of tokens."""
    if isinstance(value, str):
        prompt.texts.append(value)
    elif isinstance(value, int):
        prompt.others += 1
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        if items and isinstance(items[0], int):
            prompt.others += len(items)
        else:
            for item in items:
                _add(prompt, item)


def _add_content(prompt: Prompt, content: Content) -> None:
    if isinstance(content, str):
        prompt.texts.append(content)
        return
    for part in content or ():
        kind: Any = part.get("type", "text")
        prompt.texts += (part[name] for name in _TEXTS if isinstance(part.get(name), str))
        if kind not in _TEXT_PARTS:
            prompt.others += MEDIA_TOKENS


def _has_more(messages: msgspec.Raw, prompt: Prompt, count: int) -> bool:
    """Whether messages may have more than their contents: their JSON is longer than the contents and their roles."""
    return len(memoryview(messages)) > count * _PLAIN_MESSAGE_BYTES + sum(map(len, prompt.texts))


def _add_other_members(prompt: Prompt, messages: msgspec.Raw) -> None:
    """Add what messages have besides roles and contents, such as tool calls and reasoning."""
    for members in _MEMBERS.decode(messages):
        prompt.texts += (bytes(raw).decode() for name, raw in members.items() if name not in _PLAIN)


def _tokens_of_value(raw: bytes, count: Count) -> int:
    if _NUMBERS.match(raw):
        return raw.count(b",") + 1  # a list of tokens
    tokens, at = MESSAGE_TOKENS, 0
    for found in _MEDIA.finditer(raw):
        if found.start() < at:
            continue
        tokens += _tokens_of_text(raw[at : found.start()], count) + MEDIA_TOKENS
        end = raw.find(b'"', found.end())
        at = end if end >= 0 else len(raw)
    return tokens + _tokens_of_text(raw[at:], count)


def _tokens_of_text(text: bytes, count: Count) -> int:
    tokens = 0
    for at in range(0, len(text), _PIECE):
        piece = text[at : at + _PIECE].decode(errors="ignore")
        if "\\u" in piece:
            unescaped = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), piece)
            # Characters beyond 16 bits are escaped as two halves, which UTF-16 puts together.
            piece = unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
        tokens += count(piece)
    return tokens


def tokens_in(batch: Batch) -> int:
    """Estimate the tokens of a part of an answer: four characters a token, and at least one for each event with text."""
    tokens = 0
    for piece in batch:
        for choice in piece.answer.choices or ():
            part = choice.delta or choice.message
            text = choice.text if part is None else part.content
            if type(text) is str:
                tokens += (len(text) + 3) // 4
            elif text is not None:
                tokens += _about(text)
            # An event of a stream has one kind of text; a whole message may have several.
            if part is not None and (not text or part is choice.message):
                tokens += _about(part.reasoning_content or part.reasoning or part.refusal)
                tokens += _of_tools(part.tool_calls or part.function_call)
    return tokens


def _of_tools(calls: Any) -> int:
    """The tokens of tool calls: of their names and arguments, without the JSON around them."""
    if not calls or isinstance(calls, msgspec.Raw):
        return _about(calls)
    tokens = 0
    for call in cast("list[Any]", calls if isinstance(calls, list) else [calls]):
        if isinstance(call, dict):
            members = cast("dict[str, Any]", call)
            function = members.get("function", members)
            told = cast("dict[str, Any]", function) if isinstance(function, dict) else {}
            tokens += _about(told.get("name")) + _about(told.get("arguments"))
    return tokens


def _about(value: Any) -> int:
    """The tokens of a text, of a value that was left unparsed, or of a structure."""
    if not value:
        return 0
    if not isinstance(value, str | bytes | msgspec.Raw):
        value = msgspec.json.encode(value)
    return -(-len(value if isinstance(value, str) else bytes(value)) // 4)
