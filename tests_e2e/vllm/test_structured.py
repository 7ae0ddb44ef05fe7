"""Answers that have to have a form: vLLM holds the model to it, the gateway passes what asks for it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel, Field
from vllm_server import MODEL

TOLD: Any = {"model": MODEL, "max_tokens": 120, "temperature": 0}
ABOUT_A_BOAT: Any = [{"role": "user", "content": "Describe a boat as JSON."}]


class Boat(BaseModel):
    name: str = Field(max_length=12)
    masts: int = Field(ge=1, le=3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema(client: OpenAI, stream: bool) -> None:
    form: Any = {
        "type": "json_schema",
        "json_schema": {"name": "boat", "strict": True, "schema": Boat.model_json_schema()},
    }
    asked: Any = {**TOLD, "messages": ABOUT_A_BOAT, "response_format": form}
    if stream:
        events = client.chat.completions.create(**asked, stream=True)
        text = "".join(choice.delta.content or "" for event in events for choice in event.choices)
    else:
        text = client.chat.completions.create(**asked).choices[0].message.content or ""
    Boat.model_validate_json(text)


def test_the_clients_own_way_to_ask_for_one(client: OpenAI) -> None:
    answer = client.chat.completions.parse(**TOLD, messages=ABOUT_A_BOAT, response_format=Boat)
    assert isinstance(answer.choices[0].message.parsed, Boat)


def test_json_of_any_form(client: OpenAI) -> None:
    """A small model may not find the end of it."""
    answer = client.chat.completions.create(
        **{**TOLD, "max_tokens": 40}, messages=ABOUT_A_BOAT, response_format={"type": "json_object"}
    ).choices[0]
    text = answer.message.content or ""
    assert text.lstrip().startswith("{")
    assert answer.finish_reason == "length" or isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ({"choice": ["high", "low"]}, r"high|low"),
        ({"regex": r"[0-9]{2}:[0-9]{2}"}, r"[0-9]{2}:[0-9]{2}"),
        ({"json": {"type": "integer", "minimum": 0, "maximum": 12}}, r"[0-9]{1,2}"),
    ],
)
def test_vllms_own_ways(client: OpenAI, form: dict[str, Any], pattern: str) -> None:
    answer = client.chat.completions.create(
        **TOLD,
        messages=[{"role": "user", "content": "When is the tide?"}],
        extra_body={"structured_outputs": form},
    )
    assert re.fullmatch(pattern, (answer.choices[0].message.content or "").strip())
