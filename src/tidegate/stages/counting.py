"""How many tokens a call may need: those of its prompt, and the most that its answer may have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import msgspec

from tidegate.call import Call
from tidegate.dispatch.deployments import Models
from tidegate.errors import BadRequest, GatewayError
from tidegate.quotas.tokens import MOST_TOKENS, Count, most_of_json, prompt_of, tokens_of_json
from tidegate.stages.asking import ask_for
from tidegate.types import ChatRequest, CompletionRequest, Generation, Length, Messages

ENGINE_TIMEOUT_S = 2.0
"""An engine that takes longer to count is not waited for; the prompt is counted here instead."""
INLINE_BYTES = 8 * 1024
"""A shorter prompt is counted on the event loop, which takes less than a millisecond for any text."""
# The fields that become part of the prompt besides the messages.
_DESCRIBED = ("tools", "functions", "response_format", "suffix", "prediction", "documents")
# In place of messages.
_PROMPTS = ("prompt", "input")
_COUNTED = ("messages", *_PROMPTS, *_DESCRIBED)
# llama.cpp's own name for the length of an answer.
_OTHER_LENGTH = "n_predict"
_LENGTH = msgspec.json.Decoder(Length | None)

Counted = tuple[int, int]
"""The tokens of a prompt, and the most that it can have in any vocabulary (0 if that was not asked for)."""


def roughly(text: str) -> int:
    """Count a token for each four characters, for a gateway that has no limits of tokens."""
    return -(-len(text) // 4)


class Counting:
    """Counts the tokens of prompts: here, or at the engine if the policy says so."""

    def __init__(self, models: Models, count: Count = roughly) -> None:
        """`count` counts the tokens of a text."""
        self.models = models
        self._count = count

    def count(self, call: Call, *, money: bool) -> Counted | Awaitable[Counted]:
        """Return the tokens of a prompt, or an awaitable of them if the event loop should not count them.

        `money` says whether the most tokens are asked for too.
        """
        if call.policy.count == "engine":
            return self._asked(call, money=money)
        return self._here(call, money=money)

    def at_once(self, call: Call, *, money: bool) -> Counted:
        """Return the tokens of a prompt, however long that takes. No engine is asked."""
        if call.is_large:
            return self._large(call)
        assert call.request is not None, "the body was read"
        prompt = prompt_of(call.request, described(call), call.fields.get("messages"))
        return prompt.tokens(self._count), prompt.most_tokens if money else 0

    def _here(self, call: Call, *, money: bool) -> Counted | Awaitable[Counted]:
        if call.is_large or _size(call) > INLINE_BYTES:
            return asyncio.to_thread(self.at_once, call, money=money)
        return self.at_once(call, money=money)

    def _large(self, call: Call) -> Counted:
        values = [*described(call), *(call.fields[name] for name in _PROMPTS if name in call.fields)]
        messages = call.messages
        values += messages.raws if isinstance(messages, Messages) else [message.raw for message in messages]
        return tokens_of_json(values, self._count), most_of_json(values)

    async def _asked(self, call: Call, *, money: bool) -> Counted:
        _, deployments = self.models.find(call.model, call.policy.models, call.policy.tags)
        told: int | None = None
        try:
            async with asyncio.timeout(ENGINE_TIMEOUT_S):
                told = await deployments[0].engine.count_tokens(ask_for(call, deployments[0]))
        except (GatewayError, TimeoutError):
            pass  # it is counted here instead
        counted = self._here(call, money=money)
        tokens, most = counted if isinstance(counted, tuple) else await counted
        return tokens if told is None else max(0, min(told, MOST_TOKENS)), most


def is_unbounded(call: Call) -> bool:
    """Return whether a request asks for an answer and does not limit its length. Raises BadRequest."""
    return isinstance(call.request, Generation) and _length(call, call.request) is None


def answer_tokens(call: Call) -> int | None:
    """Return the most tokens that the answer can have, in all of its choices. None if the request does not limit it.

    Raises BadRequest.
    """
    if not isinstance(call.request, Generation):
        return 0
    length = _length(call, call.request)
    return None if length is None else length * made(call)


def made(call: Call) -> int:
    """Return the number of answers that an engine makes for a call. It may keep some of them to itself (`best_of`)."""
    request = call.request
    if type(request) is CompletionRequest and request.best_of is not None:
        return max(call.choices, request.best_of * (call.choices // (request.n or 1)))
    return call.choices


def _length(call: Call, request: Generation) -> int | None:
    """The largest of the lengths in a request, because engines differ in which one they obey.

    A negative number means no limit. So do null and a field that is left out.
    """
    longest, others = request.max_tokens, ()
    if type(request) is ChatRequest:
        others = (request.max_completion_tokens,)
    if _OTHER_LENGTH in call.fields:
        others = (*others, _whole(call.fields[_OTHER_LENGTH]))
    for one in others:
        if longest is None or (one is not None and (one < 0 or 0 <= longest < one)):
            longest = one
    return None if longest is None or longest < 0 else longest


def _whole(raw: msgspec.Raw) -> int | None:
    try:
        return _LENGTH.decode(raw)
    except msgspec.DecodeError:
        raise BadRequest(f"The field '{_OTHER_LENGTH}' must be a whole number", param=_OTHER_LENGTH) from None


def _size(call: Call) -> int:
    """The bytes of JSON that have to be counted."""
    size, fields = 0, call.fields
    for name in _COUNTED:
        if name in fields:
            size += len(memoryview(fields[name]))
    return size


def described(call: Call) -> list[msgspec.Raw]:
    """Return the JSON of the fields that become part of the prompt besides the messages, such as `tools`."""
    return [call.fields[name] for name in _DESCRIBED if name in call.fields]
