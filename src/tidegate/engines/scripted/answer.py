"""Turns a script into an engine's JSON: streamed events with the times at which they are due, and whole answers.

The module is pure and deterministic: the same script and the same request give the same bytes. The fields follow OpenAI's
API reference for chat completions, completions and embeddings. `wire.py` decides how the bytes are sent.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import Any

import msgspec

from tidegate.engines.scripted.script import (
    BREAKS_OFF,
    Fault,
    Question,
    Script,
    count_prompt_tokens,
    cut,
    prompt_text,
    prompts,
)
from tidegate.types import Endpoint

CREATED = 1_700_000_000
"""The value of `created` in every answer. It is fixed, so that equal answers have equal bytes."""

_WORDS = (
    "tide", "harbour", "naïve", "lantern", "drift", "über", "copper", "meadow", "東京", "salt", "river", "façade",
    "quiet", "anchor", "🌊", "north", "ember", "Ωmega", "willow", "gate", "stone", "été", "signal", "morning",
)  # fmt: skip
_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


class Beat(msgspec.Struct, frozen=True):
    """Events that are sent together, `due_s` seconds after the request. `tokens` is the number of events with a token."""

    due_s: float
    events: list[bytes]
    tokens: int = 0


class Voice(msgspec.Struct, frozen=True):
    """The content of one choice: a delta for each token, and the finish reason.

    A delta of a completion has its text under `content`, like a delta of a chat.
    """

    deltas: list[Json]
    finish: str | None


def words(seed: int, count: int) -> list[str]:
    """Return made-up tokens, always the same ones for a seed. Each token except the first begins with a space."""
    state: int = (seed * 2_654_435_761 + 1) % 2**32
    chosen: list[str] = []
    for index in range(count):
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        word = _WORDS[(state >> 16) % len(_WORDS)]
        chosen.append(f" {word}" if index else word)
    return chosen


def voices(script: Script, ask: Question, endpoint: Endpoint) -> list[Voice]:
    """Return the content of each choice, by index."""
    count = (ask.n or 1) * (len(prompts(ask)) if endpoint is Endpoint.COMPLETIONS else 1)
    return [_voice(script, ask, endpoint, index) for index in range(count)]


def _voice(script: Script, ask: Question, endpoint: Endpoint, index: int) -> Voice:
    seed = (script.seed if script.seed is not None else ask.seed or 0) + index * 7919
    text = cut(script.text, script.tokens) if script.text is not None else words(seed, script.tokens)
    deltas: list[Json] = [{"content": piece} for piece in text]
    if endpoint is Endpoint.CHAT:
        if script.refusal is not None:
            deltas = [{"refusal": piece} for piece in cut(script.refusal, script.tokens)]
        elif script.tool is not None:
            deltas = [*(deltas if script.text is not None else ()), *_tool_deltas(script, script.tool, index)]
        deltas[:0] = [{script.reasoning_field: piece} for piece in words(seed + 1, script.reasoning)]
    shortened = ask.limit is not None and len(deltas) > ask.limit
    usual = "tool_calls" if script.tool is not None and endpoint is Endpoint.CHAT else "stop"
    finish = script.finish or ("length" if shortened else usual)
    return Voice(deltas[: ask.limit], None if script.fault is Fault.NO_FINISH else finish)


def _tool_deltas(script: Script, name: str, choice: int) -> list[Json]:
    deltas: list[Json] = []
    for index in range(script.calls):
        function = {"name": name, "arguments": ""}
        call = {"index": index, "id": f"call_{choice}_{index}", "type": "function", "function": function}
        deltas.append({"tool_calls": [call]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in cut(script.arguments, script.tokens)
        ]
    return deltas


def due_s(script: Script, token: int) -> float:
    """Return the time at which a token is sent, in seconds after the request."""
    return (script.ttft_ms + token * script.itl_ms) / 1000


def fault_step(script: Script, steps: int) -> int:
    """Return the number of steps before the script's fault, or all steps if no fault breaks off the answer."""
    if script.fault not in BREAKS_OFF:
        return steps
    return min(max(1, steps // 2) if script.fault_at is None else script.fault_at, steps)


def beats(script: Script, ask: Question, endpoint: Endpoint) -> list[Beat]:
    """Return a complete streamed answer, as if there were no fault: tokens, the finish, and usage if it is asked for."""
    said = voices(script, ask, endpoint)
    frame = _Frame(script, ask, endpoint)
    steps = max(len(voice.deltas) for voice in said)
    score = [_beat(frame, said, step, due_s(script, step)) for step in range(steps)]
    ending = [] if steps else frame.openings(len(said))
    if script.fault is not Fault.NO_FINISH:
        ending += [frame.finish(index, voice) for index, voice in enumerate(said)]
    if ask.include_usage:
        ending.append(frame.usage(said))
    if ending:
        score.append(Beat(due_s(script, max(0, steps - 1)), ending))
    return score


def _beat(frame: _Frame, said: list[Voice], step: int, due: float) -> Beat:
    events = [] if step else frame.openings(len(said))
    speaking = [index for index, voice in enumerate(said) if step < len(voice.deltas)]
    events += [frame.token(index, said[index].deltas, step) for index in speaking]
    return Beat(due, events, len(speaking))


def before_fault(script: Script, score: list[Beat]) -> list[Beat]:
    """Return the beats before the script's fault, or all beats if no fault breaks off the answer."""
    if script.fault not in BREAKS_OFF:
        return score
    return score[: fault_step(script, token_steps(score))]


def token_steps(score: list[Beat]) -> int:
    """Return the number of beats that have tokens."""
    return sum(1 for beat in score if beat.tokens)


def in_one(score: list[Beat]) -> list[Beat]:
    """Put all events in one beat, due at the time of the first."""
    if not score:
        return []
    events = [event for beat in score for event in beat.events]
    return [Beat(score[0].due_s, events, sum(beat.tokens for beat in score))]


class _Frame:
    """A renderer for the events of one stream. The fields outside of the choices are created only once."""

    def __init__(self, script: Script, ask: Question, endpoint: Endpoint) -> None:
        self._script = script
        self._ask = ask
        self._chat = endpoint is Endpoint.CHAT
        self._top = _top(script, ask, "chat.completion.chunk" if self._chat else "text_completion")
        if ask.include_usage:
            self._top["usage"] = None

    def openings(self, count: int) -> list[bytes]:
        """Return the events that give the role, one per choice. Completions have none."""
        opening = {"role": "assistant", "content": ""}
        return [self._event(index, opening, None, None) for index in range(count)] if self._chat else []

    def token(self, index: int, deltas: list[Json], step: int) -> bytes:
        probabilities = _logprobs(self._ask, deltas, range(step, step + 1), chat=self._chat)
        return self._event(index, deltas[step], probabilities, None)

    def finish(self, index: int, voice: Voice) -> bytes:
        return self._event(index, {}, None, voice.finish)

    def usage(self, said: list[Voice]) -> bytes:
        return _encode({**self._top, "choices": [], "usage": usage(self._script, self._ask, said)})

    def _event(self, index: int, delta: Json, probabilities: Json | None, finish: str | None) -> bytes:
        extra = self._script.extra
        said = (
            {"delta": {**delta, **extra.get("delta", {})}}
            if self._chat
            else {"text": delta.get("content", "")}
        )
        choice = {
            "index": index,
            **said,
            "logprobs": probabilities,
            "finish_reason": finish,
            **extra.get("choice", {}),
        }
        return _encode({**self._top, "choices": [choice]})


def whole(script: Script, ask: Question, endpoint: Endpoint) -> Beat:
    """Return a whole answer as its JSON body, due at the time of its last token."""
    if endpoint is Endpoint.EMBEDDINGS:
        return Beat(due_s(script, 0), [_embeddings(script, ask)])
    said = voices(script, ask, endpoint)
    chat = endpoint is Endpoint.CHAT
    extra = script.extra.get("choice", {})
    choices = [
        {**_whole_choice(script, ask, index, voice, chat), **extra} for index, voice in enumerate(said)
    ]
    top = _top(script, ask, "chat.completion" if chat else "text_completion")
    steps = max(len(voice.deltas) for voice in said)
    body = _encode({**top, "choices": choices, "usage": usage(script, ask, said)})
    return Beat(due_s(script, max(0, steps - 1)), [body], sum(len(voice.deltas) for voice in said))


def _whole_choice(script: Script, ask: Question, index: int, voice: Voice, chat: bool) -> Json:  # noqa: FBT001
    deltas = voice.deltas
    said: Json = {"text": _joined(deltas, "content") or ""}
    if chat:
        said = {"message": {**_message(deltas), **script.extra.get("delta", {})}}
    probabilities = _logprobs(ask, deltas, range(len(deltas)), chat=chat)
    return {"index": index, **said, "logprobs": probabilities, "finish_reason": voice.finish}


def _message(deltas: list[Json]) -> Json:
    message: Json = {
        "role": "assistant",
        "content": _joined(deltas, "content"),
        "refusal": _joined(deltas, "refusal"),
    }
    for field in ("reasoning_content", "reasoning"):
        if (text := _joined(deltas, field)) is not None:
            message[field] = text
    calls: list[Json] = []
    for part in (delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta):
        if "id" in part:
            calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
        else:
            calls[-1]["function"]["arguments"] += part["function"]["arguments"]
    if calls:
        message["tool_calls"] = calls
    elif message["refusal"] is None and message["content"] is None:
        message["content"] = ""
    return message


def _joined(deltas: list[Json], field: str) -> str | None:
    pieces = [delta[field] for delta in deltas if field in delta]
    return "".join(pieces) if pieces else None


def _top(script: Script, ask: Question, kind: str) -> Json:
    source = f"{script.seed}\n{prompt_text(ask)}".encode(errors="surrogatepass")
    prefix = "cmpl-" if kind == "text_completion" else "chatcmpl-"
    return {
        "id": prefix + hashlib.blake2b(source, digest_size=8).hexdigest(),
        "object": kind,
        "created": CREATED,
        "model": ask.model,
        "system_fingerprint": "fp_scripted",
        **script.extra.get("event", {}),
    }


def usage(script: Script, ask: Question, said: list[Voice]) -> Json:
    """Return the token counts of an answer. Every delta counts as one token."""
    prompt = count_prompt_tokens(script, ask)
    completion = sum(len(voice.deltas) for voice in said)
    reasoning = sum(1 for voice in said for delta in voice.deltas if script.reasoning_field in delta)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": script.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        **script.extra.get("usage", {}),
    }


def _logprobs(ask: Question, deltas: list[Json], steps: range, *, chat: bool) -> Json | None:
    if ask.logprobs is None or ask.logprobs is False:
        return None
    spoken = [(step, deltas[step]["content"]) for step in steps if "content" in deltas[step]]
    if chat:
        content = [_token_logprob(ask, step, text) for step, text in spoken]
        return {"content": content, "refusal": None} if content else None
    before = sum(len(delta.get("content", "")) for delta in deltas[: steps.start])
    offsets: list[int] = []
    for _, text in spoken:
        offsets.append(before)
        before += len(text)
    return {
        "tokens": [text for _, text in spoken],
        "token_logprobs": [_logprob(step) for step, _ in spoken],
        "top_logprobs": [{text: _logprob(step)} for step, text in spoken],
        "text_offset": offsets,
    }


def _token_logprob(ask: Question, step: int, text: str) -> Json:
    entry: Json = {
        "token": text,
        "logprob": _logprob(step),
        "bytes": list(text.encode(errors="surrogatepass")),
    }
    return {**entry, "top_logprobs": [dict(entry) for _ in range(min(1, ask.top_logprobs or 0))]}


def _logprob(step: int) -> float:
    return -0.125 * (step % 8 + 1)


def embedding(text: str, dimensions: int) -> list[float]:
    """Return a unit vector that depends only on the text."""
    noise = hashlib.shake_256(text.encode(errors="surrogatepass")).digest(4 * dimensions)
    values = [number / 2**31 - 1 for number in struct.unpack(f"<{dimensions}I", noise)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _embeddings(script: Script, ask: Question) -> bytes:
    dimensions = ask.dimensions or script.dimensions
    extra = script.extra.get("choice", {})
    data: list[Json] = []
    for index, text in enumerate(prompts(ask)):
        vector: list[float] | str = embedding(text, dimensions)
        if ask.encoding_format == "base64":
            vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector, **extra})
    tokens = count_prompt_tokens(script, ask)
    counts = {"prompt_tokens": tokens, "total_tokens": tokens, **script.extra.get("usage", {})}
    top = {"object": "list", "data": data, "model": ask.model, "usage": counts}
    return _encode({**top, **script.extra.get("event", {})})
