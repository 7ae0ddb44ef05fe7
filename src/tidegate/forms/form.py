"""The forms of the endpoints: what rails need to know of the JSON of requests and answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from tidegate.forms import answers, requests
from tidegate.forms.answers import Layout, layout_of, layout_of_usual, text_by, texts_of
from tidegate.forms.instructing import instructed
from tidegate.forms.requests import Fields
from tidegate.forms.saying import Frame, Saying, say_chat, say_completion, say_nothing
from tidegate.forms.shapes import said_in
from tidegate.forms.usual import usual_texts
from tidegate.types import Batch, Endpoint, Message, Piece, Surface, Text, Where, joined

_MOST_LAYOUTS = 16


class Form:
    """Where text stands in the requests and answers of one endpoint.

    It only reads and makes JSON. Make one for each call: it remembers the layout of the call's events, so that the next
    event need not be decoded again.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._say = _SAYS[endpoint]
        self._layouts: dict[int, Layout] = {}

    def texts_in(self, fields: Fields, messages: Sequence[Message]) -> list[Text]:
        """Return the texts of a request: those of its messages, then those of its fields.

        Raises BadRequest, with the name of the field, for token ids, for text at a place that is not known, and for an
        object that repeats a key.
        """
        return requests.texts_in(self._endpoint, fields, messages)

    def put_in(
        self, fields: Fields, messages: Sequence[Message], changed: Mapping[Where, str]
    ) -> tuple[Fields, Sequence[Message]]:
        """Return the request with other texts at some places. What is not changed keeps its bytes.

        The field `messages` is made of the new messages. Raises KeyError for a place that `texts_in` does not list.
        """
        return requests.put_in(self._endpoint, fields, messages, changed)

    def instruct(
        self, fields: Fields, messages: Sequence[Message], words: str
    ) -> tuple[Fields, Sequence[Message]]:
        """Return the request with more words at the end of its instructions: those of the system, or of a developer.

        Only a chat has instructions. Any other request stays as it is.
        """
        if self._endpoint is not Endpoint.CHAT:
            return fields, messages
        told = instructed(messages, words)
        return {**fields, "messages": joined(told)}, told

    def texts_out(self, piece: Piece) -> list[Text]:
        """Return the texts of an answer or of an event. Raises UnknownShape for text at a place that is not known."""
        if self._endpoint is Endpoint.EMBEDDINGS:
            return []  # vectors
        choices = piece.answer.choices
        if choices:
            layout = self._layouts.get(choices[0].index)
            if layout is not None and (text := text_by(layout, piece)) is not None:
                return [text]
            usual = usual_texts(piece)
            if usual is not None:
                if choices[0].message is None:
                    # The next event is read faster yet by the layout of this one. Often only the first has another.
                    self._learn(layout_of_usual(piece, usual))
                return list(usual)
        texts = texts_of(piece)
        self._learn(layout_of(piece, texts))
        return [
            Text(where, Surface.OUTPUT, said_in(parts), "", parts[0].is_json)
            for where, parts in texts.items()
        ]

    def known_text(self, piece: Piece) -> Text | None:
        """Return the only text of an event with the layout of an earlier one, or None if the event is another one."""
        choices = piece.answer.choices
        layout = self._layouts.get(choices[0].index) if choices else None
        return None if layout is None else text_by(layout, piece)

    def put_out(self, piece: Piece, changed: Mapping[Where, str]) -> Piece:
        """Return the piece with other texts at some places.

        What says the texts of those choices once more becomes null, such as `logprobs` and token ids. The rest keeps its
        bytes. Later pieces of the same choices need `without_echoes`. Raises KeyError for a place that `texts_out` does
        not list.
        """
        return answers.put_out(piece, changed)

    def without_echoes(self, piece: Piece, choices: Collection[int]) -> Piece:
        """Return the piece without what says the texts of these choices once more."""
        if self._endpoint is Endpoint.EMBEDDINGS:
            return piece
        return answers.without_echoes(piece, choices)

    def ended(self, piece: Piece, choice: int) -> Piece:
        """Return the piece with the finish reason `stop` for a choice."""
        return answers.ended(piece, choice)

    def say(self, saying: Saying, frame: Frame, *, stream: bool) -> Batch:
        """Return an answer that says words in place of the engine.

        Raises BadRequest with the words where an answer cannot say anything: for embeddings.
        """
        return self._say(saying, frame, stream=stream)

    def _learn(self, layout: Layout | None) -> None:
        if layout is not None:
            if len(self._layouts) == _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[layout.where.at] = layout


class _Says(Protocol):
    def __call__(self, saying: Saying, frame: Frame, *, stream: bool) -> Batch: ...


_SAYS: Mapping[Endpoint, _Says] = {
    Endpoint.CHAT: say_chat,
    Endpoint.COMPLETIONS: say_completion,
    Endpoint.EMBEDDINGS: say_nothing,
    Endpoint.CHECKS: say_nothing,
    Endpoint.MODERATIONS: say_nothing,
}


def form_of(endpoint: Endpoint) -> Form:
    """Return the form of an endpoint, for one call. Raises KeyError for an endpoint that has none."""
    return Form(endpoint)
