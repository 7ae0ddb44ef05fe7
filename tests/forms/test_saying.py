"""What the gateway says itself is read by the official SDK like any answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tidegate.engines.answers import read_answer
from tidegate.errors import BadRequest
from tidegate.forms import Frame, Saying, form_of
from tidegate.types import Endpoint, Piece, Where

CHAT, COMPLETIONS, EMBEDDINGS = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS
FRAME = Frame("chatcmpl-7", 1_767_225_600, "m")
WORDS = 'I can\'t help with that. "é" \\ 🌊'
SAYING = Saying(WORDS, choices=(0, 1))


def like(**members: Any) -> Piece:
    data = json.dumps({"id": "engine-1", "created": 5, "model": "real", "choices": [], **members}).encode()
    return Piece(data, read_answer(data))


def values(endpoint: Endpoint, saying: Saying = SAYING, frame: Frame = FRAME, *, stream: bool) -> list[Any]:
    """What is said, as JSON, after a check that the pieces are what the gateway would read from an engine."""
    batch = form_of(endpoint).say(saying, frame, stream=stream)
    for piece in batch:
        assert piece.event is None
        assert piece.answer == read_answer(piece.data)
    return [json.loads(piece.data) for piece in batch]


def test_a_whole_chat_completion() -> None:
    (value,) = values(CHAT, stream=False)
    completion = ChatCompletion.model_validate(value, strict=True)
    assert [choice.message.content for choice in completion.choices] == [WORDS, WORDS]
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert {choice.finish_reason for choice in completion.choices} == {"content_filter"}
    assert (completion.id, completion.created, completion.model) == FRAME[:3]
    assert completion.usage is not None
    assert completion.usage.total_tokens == 0


def test_a_whole_completion() -> None:
    (value,) = values(COMPLETIONS, stream=False)
    completion = Completion.model_validate(value, strict=True)
    assert [(choice.text, choice.finish_reason) for choice in completion.choices] == [
        (WORDS, "content_filter")
    ] * 2


def test_a_stream_of_a_chat() -> None:
    state = ChatCompletionStreamState()
    for value in values(CHAT, stream=True):
        state.handle_chunk(ChatCompletionChunk.model_validate(value))
    for choice in state.current_completion_snapshot.choices:
        assert (choice.message.role, choice.message.content) == ("assistant", WORDS)
        assert choice.finish_reason == "content_filter"


def test_a_stream_of_a_completion() -> None:
    chunks = [Completion.construct(**value) for value in values(COMPLETIONS, stream=True)]
    for index in (0, 1):
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert "".join(choice.text for choice in choices) == WORDS
        assert choices[-1].finish_reason == "content_filter"


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_said_is_a_text_like_any_other(endpoint: Endpoint, stream: bool) -> None:
    form, joined = form_of(endpoint), dict[Where, str]()
    for piece in form.say(SAYING, FRAME, stream=stream):
        for text in form.texts_out(piece):
            joined[text.where] = joined.get(text.where, "") + text.value
    channel = "content" if endpoint is CHAT else "text"
    assert joined == {Where(0, channel): WORDS, Where(1, channel): WORDS}


def test_a_stream_that_has_begun_goes_on() -> None:
    """The SDK appends texts, so the role must not be said twice."""
    frame = FRAME._replace(like=like(system_fingerprint="fp", usage=None))
    opening = {"id": "engine-1", "created": 5, "model": "real", "object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": "Well: "}
    state = ChatCompletionStreamState()
    state.handle_chunk(
        ChatCompletionChunk.model_validate({**opening, "choices": [{"index": 0, "delta": delta}]})
    )
    said = values(CHAT, Saying(WORDS, begun=True), frame, stream=True)
    for value in said:
        assert {name: value[name] for name in opening} == opening
        assert value["system_fingerprint"] == "fp"
        state.handle_chunk(ChatCompletionChunk.model_validate(value))
    (choice,) = state.current_completion_snapshot.choices
    assert (choice.message.role, choice.message.content) == ("assistant", f"Well: {WORDS}")


def test_a_choice_can_end_without_words() -> None:
    for endpoint in (CHAT, COMPLETIONS):
        (value,) = values(endpoint, Saying("", finish="stop", begun=True), stream=True)
        assert value["choices"][0]["finish_reason"] == "stop"


def test_tokens_that_were_used_stay_in_the_answer() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    (value,) = values(CHAT, frame=FRAME._replace(like=like(usage=usage)), stream=False)
    assert value["usage"] == usage


def test_what_the_engine_left_out_comes_from_the_frame() -> None:
    frame = FRAME._replace(like=Piece(b'{"created":1e9,"choices":[]}', read_answer(b'{"choices":[]}')))
    (value,) = values(CHAT, frame=frame, stream=False)
    assert (value["id"], value["created"], value["model"]) == ("chatcmpl-7", 1e9, "m")


def test_embeddings_cannot_say_anything() -> None:
    with pytest.raises(BadRequest, match="can't help") as refused:
        values(EMBEDDINGS, stream=False)
    assert json.loads(refused.value.body())["error"]["code"] == "content_filter"
