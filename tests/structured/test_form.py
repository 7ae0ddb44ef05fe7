"""`tidegate.structured(Model)`: what to send, and how answers are read."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

import tidegate


class Boat(BaseModel):
    name: str
    masts: int


TEXT = '{"name": "Ida", "masts": 2}'
IDA = Boat(name="Ida", masts=2)


def reply(**message: str | None) -> dict[str, object]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def test_it_is_a_response_format() -> None:
    form = json.loads(json.dumps(tidegate.structured(Boat)))
    assert form["type"] == "json_schema"
    assert form["json_schema"] == {"name": "Boat", "schema": Boat.model_json_schema()}


@pytest.mark.parametrize(
    "answer", [TEXT, reply(content=TEXT), ChatCompletion.model_validate(reply(content=TEXT))]
)
def test_it_reads_texts_and_answers_of_clients(answer: object) -> None:
    assert tidegate.structured(Boat).parse(answer) == IDA


def test_other_types_than_models_have_a_form_too() -> None:
    assert tidegate.structured(list[int]).parse("[1, 2]") == [1, 2]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(content=None, refusal="I may not."), "refused to answer: I may not"),
        (reply(content=None), "no text"),
        ({}, "no text"),
        ('{"name": "Ida"}', "masts"),
    ],
)
def test_what_is_no_such_answer_is_a_value_error(answer: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tidegate.structured(Boat).parse(answer)
