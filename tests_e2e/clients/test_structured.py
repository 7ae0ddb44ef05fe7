"""Instructor and Outlines against the gateway with a model of 135 million parameters, as their users write it."""

from __future__ import annotations

import importlib
import re
from typing import Literal

import instructor
import outlines
import pytest
from openai import OpenAI
from outlines.types import CFG, Regex
from pydantic import BaseModel, Field

BOAT = "Describe a boat."


class Boat(BaseModel):
    name: str = Field(max_length=12)
    masts: int = Field(ge=1, le=3)
    kind: Literal["sloop", "ketch"]


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("library", ["instructor", "outlines"])
def test_the_example_of_each_library(library: str) -> None:
    found = importlib.import_module(f"with_{library}").main()
    assert 1 <= found.stars <= 5


@pytest.fixture
def client(base_url: str) -> OpenAI:
    return OpenAI(base_url=base_url, api_key="-", max_retries=0)


def test_instructor_streams_parts_of_a_model(client: OpenAI) -> None:
    asked = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
    parts = list(
        asked.chat.completions.create_partial(
            response_model=Boat, model="default", messages=[{"role": "user", "content": BOAT}], max_tokens=120
        )
    )
    assert Boat.model_validate(parts[-1].model_dump())


@pytest.mark.parametrize("server", ["vllm", "sglang", "openai"])
def test_the_servers_of_outlines(client: OpenAI, server: str) -> None:
    model = getattr(outlines, f"from_{server}")(client, "default")
    assert Boat.model_validate_json(model(BOAT, Boat, max_tokens=120))


@pytest.mark.filterwarnings("ignore:.*grammar")
@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_patterns_choices_and_grammars(client: OpenAI, server: str) -> None:
    model = getattr(outlines, f"from_{server}")(client, "default")
    assert model(BOAT, Literal["fast", "slow"], max_tokens=10) in ("fast", "slow")
    assert re.fullmatch(
        r"[0-9]{2}:[0-9]{2}", model("What time is it?", Regex(r"[0-9]{2}:[0-9]{2}"), max_tokens=20)
    )
    assert model(BOAT, CFG('root ::= "fast" | "slow"'), max_tokens=10) in ("fast", "slow")
