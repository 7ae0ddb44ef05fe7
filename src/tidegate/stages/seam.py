"""Joins the answer of a second engine to one that broke off, so that a client reads one stream with every text once.

The client has the text so far. The second engine was sent that text without the white space at its end: chat templates
strip it or not, and what they do cannot be seen from here. So every engine begins with that white space once more, and it
is cut where it begins the rest.

Some engines send the whole text that they continue back before the rest. Only that echo is cut, and only where it is
certain: a long text, whole, in one event. A model that repeats itself (`ha ha ha`, a refrain, equal lines of code) sends
a token at a time. If the whole text comes again, but is short or comes in pieces, nobody can tell an echo from a
repetition: then the answer is given up, because a text that is sent twice or left out is worse than an error. An echo of
the end of the text alone looks exactly like a repetition, which is common, so it is never cut.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.types import Answer, Batch, Choice, Delta, Piece, TokenCounts

CERTAIN_CHARS = 64
"""A text of so many characters, some 16 tokens, that comes back in one event was not generated anew."""
_OF_THE_STREAM = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
"""The members of an event that are the same in the whole stream."""

Members = dict[str, Any]


class Unclear(Exception):
    """What an engine sends cannot be joined for certain: it may be an echo, or is something other than text."""


class Rest:
    """The text of a continuation, without what the client has already."""

    def __init__(self, sent: str, gap: str) -> None:
        """`sent` is the text that the engine was sent, and `gap` the white space after it that the client has too."""
        self.echo_chars = 0
        """The length of the echo that was cut."""
        self._sent = sent
        self._gap = gap
        self._held = ""
        self._begun = not sent

    def take(self, text: str) -> str:
        """Return what is new in the next text. Text that may be part of an echo is held back. Raises Unclear."""
        if not self._begun and text:
            whole = self._held + text
            if whole.startswith(self._sent):
                if self._held or len(self._sent) < CERTAIN_CHARS:
                    raise Unclear
                self.echo_chars, text = len(self._sent), text[len(self._sent) :]
            elif self._sent.startswith(whole):
                self._held = whole
                return ""
            else:
                text = whole
            self._begun, self._held = True, ""
        return self._without_gap(text)

    def end(self) -> str:
        """Return what is still held back, at the end of the continuation: it was no echo."""
        held, self._held, self._begun = self._held, "", True
        return self._without_gap(held)

    def _without_gap(self, text: str) -> str:
        if not self._gap or not text:
            return text
        same = 0
        while same < len(self._gap) and text.startswith(self._gap[: same + 1]):
            same += 1
        self._gap = self._gap[same:] if same == len(text) else ""
        return text[same:]


class Seam:
    """Makes the events of a continuation parts of the first answer."""

    def __init__(
        self, first: bytes, sent: str = "", gap: str = "", tokens: int = 0, at_chars: int = 0
    ) -> None:
        """`first` is the JSON of the answer's first event, whose members all others get.

        `sent` and `gap` are those of `Rest`. `tokens` is the number of tokens before the break, and `at_chars` of
        characters.
        """
        self.rest = Rest(sent, gap)
        self._of_the_stream = {
            name: value for name, value in _MEMBERS.decode(first).items() if name in _OF_THE_STREAM
        }
        self._tokens = tokens
        self._at_chars = at_chars
        self._is_marked = not sent  # without text before it, it is an answer of its own

    def join(self, batch: Batch, engine: str) -> Batch:
        """Return the pieces that the client gets. Raises Unclear. The first piece of a continuation names the `engine`."""
        return [joined for piece in batch if (joined := self._joined(piece, engine)) is not None]

    def _joined(self, piece: Piece, engine: str) -> Piece | None:
        answer = piece.answer
        members: Members = dict(_MEMBERS.decode(piece.data))
        if answer.usage is not None:
            members["usage"], usage = self._summed(answer.usage, members["usage"])
            answer = Answer(answer.choices, usage)
        choice: Choice | None = None
        of_choice: Members = {}
        if answer.choices:
            choice = self._continued(answer.choices[0])
            of_choice = dict(_CHOICES.decode(members["choices"])[0])
            answer = Answer([choice], answer.usage)
        is_empty = choice is None or not (choice.finish_reason or choice.has_content())
        if is_empty and answer.usage is None:
            return None
        if not self._is_marked:
            self._is_marked = True
            continued: Members = {"at_chars": self._at_chars}
            members["tidegate"] = {"continued": {**continued, "engine": engine} if engine else continued}
        return Piece(self.encoded(members, of_choice, choice), answer)

    def _continued(self, choice: Choice) -> Choice:
        """Return the choice with new text only: no role, which was told before, and nothing held back."""
        delta = choice.delta or Delta()
        text = delta.content or ""
        others = (
            delta.tool_calls,
            delta.function_call,
            delta.refusal,
            delta.reasoning,
            delta.reasoning_content,
        )
        if not isinstance(text, str) or any(others) or choice.index:
            raise Unclear
        text = self.rest.take(text)
        if choice.finish_reason:
            text += self.rest.end()
        return Choice(0, Delta(content=text or None), finish_reason=choice.finish_reason)

    def _summed(self, counts: TokenCounts, raw: msgspec.Raw) -> tuple[Members, TokenCounts]:
        """Return the token counts of the whole answer. The prompt of the continuation has the text before the break.

        What was cached of that prompt says nothing of the first one, so it is left out.
        """
        usage: Members = dict(_MEMBERS.decode(raw))
        prompt = max(0, int(counts.prompt_tokens or 0) - self._tokens)
        completion = int(counts.completion_tokens or 0) + self._tokens
        if self._tokens:
            usage.pop("prompt_tokens_details", None)
        usage |= {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        return usage, TokenCounts(prompt, completion)

    def encoded(self, members: Members, of_choice: Members, choice: Choice | None) -> bytes:
        """Return the JSON of an event with these members, with those of the stream, and with this choice."""
        kept = {name: value for name, value in members.items() if name not in _OF_THE_STREAM}
        if choice is not None:
            content = choice.delta.content if choice.delta is not None else None
            delta = {} if content is None else {"content": content}
            kept["choices"] = [{**of_choice, "delta": delta, "finish_reason": choice.finish_reason}]
        return _ENCODER.encode({**self._of_the_stream, **kept})


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CHOICES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_ENCODER = msgspec.json.Encoder()
