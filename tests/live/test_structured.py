"""Answers of a form for real: SmolLM2 of 135 million parameters behind the gateway, with the demand in every spelling."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from pydantic import BaseModel, Field
from serving import Answer, Process, ask, eventually, serve

import tidegate


class Mood(BaseModel):
    mood: str = Field(pattern=r"^(good|bad)$")
    stars: int = Field(ge=1, le=5)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["good", "bad"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["mood", "stars"],
    "additionalProperties": False,
}
QUESTION: Any = [{"role": "user", "content": "How do you like this boat? It is fast."}]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Process]:
    with serve(None) as process:
        ready = f"{process.url}/readyz"
        eventually(lambda: httpx2.get(ready).status_code == 200, "readiness")
        yield process


def posted(gateway: Process, **more: Any) -> Answer:
    told = {"model": "default", "messages": QUESTION, "max_tokens": 60, "temperature": 0, **more}
    return ask(f"{gateway.base_url}/chat/completions", json.dumps(told).encode())


@pytest.mark.parametrize(
    "demand",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "mood", "schema": SCHEMA}}},
        {"structured_outputs": {"json": SCHEMA}},
        {"guided_json": SCHEMA},
        {"json_schema": SCHEMA},
    ],
    ids=lambda demand: next(iter(demand)),
)
def test_a_schema_in_every_spelling_gets_a_valid_answer(gateway: Process, demand: dict[str, Any]) -> None:
    answer = posted(gateway, **demand)
    assert answer.status == 200, answer.body
    assert answer.headers["x-tidegate-structure"] == "native"
    found = json.loads(answer.json["choices"][0]["message"]["content"])
    assert set(found) == {"mood", "stars"}
    assert found["mood"] in ("good", "bad")


@pytest.mark.parametrize("demand", [{"guided_choice": ["high", "low"]}, {"ebnf": 'root ::= "high" | "low"'}])
def test_choices_and_grammars_of_other_servers_bind_it_too(gateway: Process, demand: dict[str, Any]) -> None:
    answer = posted(gateway, **demand)
    assert answer.json["choices"][0]["message"]["content"] in ("high", "low")


def test_the_helper_s_form_is_read_back(gateway: Process) -> None:
    form = tidegate.structured(Mood)
    with OpenAI(base_url=gateway.base_url, api_key="-", max_retries=0) as client:
        asked: Any = {"model": "default", "messages": QUESTION, "max_tokens": 60, "response_format": form}
        found = form.parse(client.chat.completions.create(**asked))
    assert isinstance(found, Mood)


def test_a_stream_is_checked_as_it_arrives(gateway: Process) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "mood", "schema": SCHEMA}}
    answer = posted(gateway, response_format=form, stream=True)
    assert answer.status == 200
    assert re.search(rb"^: x-tidegate-structure: native$", answer.body, re.MULTILINE)
