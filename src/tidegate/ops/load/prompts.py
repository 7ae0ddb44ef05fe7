"""The prompts of a load test: made-up prompts of given lengths, prompts from a file, shared prefixes and conversations.

A made-up prompt is a sequence of common words. Nearly every word is one token in every vocabulary. Two probing requests
find the number of tokens per word, and the number of tokens that the server adds for its chat template. See `Scale`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tidegate.ops.load.plan import Arrival

_COMMON = """
    time people water year work world day life hand part place case week company system program question number
    night point home room area money story fact month right book eye job word business issue side kind head house
    friend father power hour game line end member law car city name team minute idea kid body back parent face
    level office door health person art war history party result change morning reason research girl guy moment
    air teacher force light road field ship river table food paper music ground wind sound voice market price land
    tree sea sky rain
"""
_WORDS = tuple(_COMMON.split())
# The number of tokens in a block of a trace's shared prefix, in Mooncake's traces.
_BLOCK_TOKENS = 512


class Prompt(msgspec.Struct, frozen=True):
    """One request's messages (JSON), and the largest number of tokens for the answer; None means the server's limit."""

    messages: msgspec.Raw
    max_tokens: int | None


class Scale(msgspec.Struct, frozen=True):
    """How a server counts tokens: `base` for the chat template, and `per_word` for each word."""

    base: float = 10.0
    per_word: float = 1.0

    @classmethod
    def between(cls, short: tuple[int, int], long: tuple[int, int]) -> Scale:
        """Compute the scale from two probes. Each is a pair of the words sent and the tokens counted."""
        per_word = max(0.2, (long[1] - short[1]) / (long[0] - short[0]))
        return cls(base=max(0.0, short[1] - per_word * short[0]), per_word=per_word)

    def words(self, tokens: int) -> int:
        """Return the number of words for a prompt with this number of tokens, at least one."""
        return max(1, round((tokens - self.base) / self.per_word))


class BadPrompts(ValueError):
    """A file of prompts that is not valid. The message names the file, the line and the expected content."""


class Talk(Protocol):
    """One user's side of a conversation. `ask` returns the next prompt, `hear` takes the answer, or None if it failed."""

    listens: bool

    def ask(self, arrival: Arrival | None) -> Prompt: ...
    def hear(self, answer: str | None) -> None: ...


class Prompts(Protocol):
    """A source of prompts. Every user of a closed loop and every request of an open loop gets a Talk."""

    def talk(self) -> Talk: ...


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The lengths of made-up prompts in tokens. `spread` is their standard deviation as a share of the length.

    The first `prefix_tokens` are a system prompt that all requests of a group share; there are `groups` of them.
    A conversation has `turns` questions, each of `prompt_tokens`.
    """

    prompt_tokens: int = 128
    output_tokens: int = 64
    spread: float = 0.0
    prefix_tokens: int = 0
    groups: int = 1
    turns: int = 1


class MadeUp:
    """Prompts of random words. Satisfies `Prompts`."""

    def __init__(self, shape: Shape, scale: Scale, *, seed: int = 0) -> None:
        self._shape = shape
        self._scale = scale
        self._rng = random.Random(seed)  # noqa: S311  (words, no secrets)
        count = round(shape.prefix_tokens / scale.per_word)
        self._prefixes = [self.words(count) for _ in range(shape.groups if count else 0)]

    def talk(self) -> Talk:
        """Start a new conversation of `turns` questions."""
        return _MadeUpTalk(self)

    def first(self) -> list[dict[str, str]]:
        """Return the first messages of a conversation: the system prompt of one of the groups."""
        if not self._prefixes:
            return []
        return [{"role": "system", "content": self._rng.choice(self._prefixes)}]

    def question(self, arrival: Arrival | None, *, opening: bool) -> str:
        """Return a question. The first one of a conversation is shorter by the tokens of the chat template."""
        if arrival is not None and arrival.blocks:
            return self._of_blocks(arrival)
        wanted = arrival.prompt_tokens if arrival is not None else None
        tokens = wanted if wanted is not None else self._drawn(self._shape.prompt_tokens)
        base = self._scale.base if opening and not self._prefixes else 0.0
        return self.words(max(1, round((tokens - base) / self._scale.per_word)))

    def limit(self, arrival: Arrival | None) -> int:
        """Return the largest number of tokens for an answer."""
        if arrival is not None and arrival.output_tokens is not None:
            return max(1, arrival.output_tokens)
        return self._drawn(self._shape.output_tokens)

    @property
    def turns(self) -> int:
        """The number of questions in a conversation."""
        return self._shape.turns

    def _drawn(self, mean: int) -> int:
        return max(1, round(self._rng.gauss(mean, mean * self._shape.spread))) if self._shape.spread else mean

    def words(self, count: int) -> str:
        """Return a text with this number of words."""
        return " ".join(self._rng.choices(_WORDS, k=count))

    def _of_blocks(self, arrival: Arrival) -> str:
        """Return a text for the block ids of a trace. Requests with equal first ids get texts with equal beginnings."""
        wanted = self._scale.words(arrival.prompt_tokens or _BLOCK_TOKENS)
        a_block = round(_BLOCK_TOKENS / self._scale.per_word)
        words: list[str] = []
        for block in arrival.blocks:
            words += random.Random(block).choices(_WORDS, k=a_block)  # noqa: S311  (the same words every time)
        return " ".join(words[:wanted])


class _MadeUpTalk:
    def __init__(self, source: MadeUp) -> None:
        self._source = source
        self._messages: list[dict[str, str]] = []
        self._turn = 0
        self.listens = source.turns > 1

    def ask(self, arrival: Arrival | None) -> Prompt:
        opening = self._turn == 0
        if opening:
            self._messages = self._source.first()
        question = self._source.question(arrival, opening=opening)
        self._messages.append({"role": "user", "content": question})
        return Prompt(msgspec.Raw(msgspec.json.encode(self._messages)), self._source.limit(arrival))

    def hear(self, answer: str | None) -> None:
        self._turn += 1
        if answer is None or self._turn >= self._source.turns:
            self._turn = 0
            return
        self._messages.append({"role": "assistant", "content": answer})


class FromFile:
    """The prompts of a file, in order. After the last prompt follows the first one again. Satisfies `Prompts`."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = prompts
        self._next = 0

    def talk(self) -> Talk:
        """Return a talk. All talks take their prompts from the same list."""
        return _FileTalk(self)

    def take(self) -> Prompt:
        """Return the next prompt."""
        prompt = self._prompts[self._next % len(self._prompts)]
        self._next += 1
        return prompt


class _FileTalk:
    listens = False

    def __init__(self, source: FromFile) -> None:
        self._source = source

    def ask(self, arrival: Arrival | None) -> Prompt:
        prompt = self._source.take()
        if arrival is not None and arrival.output_tokens is not None:
            return Prompt(prompt.messages, max(1, arrival.output_tokens))
        return prompt

    def hear(self, answer: str | None) -> None:
        del answer


class _Line(msgspec.Struct):
    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    max_tokens: int | None = None


def read_prompts(path: Path, *, output_tokens: int | None) -> FromFile:
    """Read prompts from a file, one per line. Raises BadPrompts.

    A line of a `.jsonl` file has `messages` or `prompt`, and perhaps `max_tokens`. A line of any other file is a prompt.
    """
    try:
        # splitlines() would also split at U+2028, which JSON may contain.
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadPrompts(f"{path} cannot be read: {error}") from error
    if not lines:
        raise BadPrompts(f"{path} holds no prompts")
    if path.suffix != ".jsonl":
        return FromFile([_prompt([{"role": "user", "content": line}], output_tokens) for line in lines])
    return FromFile([_of_line(path, number, line, output_tokens) for number, line in enumerate(lines, 1)])


def _of_line(path: Path, number: int, line: str, output_tokens: int | None) -> Prompt:
    wanted = "an object with `messages` or `prompt`"
    try:
        read = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError as error:
        raise BadPrompts(f"{path}, prompt {number}: not {wanted}: {error}") from error
    messages = read.messages or ([{"role": "user", "content": read.prompt}] if read.prompt else None)
    if messages is None:
        raise BadPrompts(f"{path}, prompt {number}: not {wanted}")
    return _prompt(messages, read.max_tokens or output_tokens)


def _prompt(messages: list[dict[str, Any]], max_tokens: int | None) -> Prompt:
    return Prompt(msgspec.Raw(msgspec.json.encode(messages)), max_tokens)
