"""Tools, images, schemas and long prompts reach only deployments that can take them: no engine refuses a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_engine import PlainEngine

from tidegate.call import Call
from tidegate.config import StructureConfig
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.dispatch.seats import Seats
from tidegate.engines import fields
from tidegate.engines.answers import read_answer
from tidegate.errors import BadRequest, ContextExceeded, ModelNotFound
from tidegate.http.apis import large, openai
from tidegate.http.apis.outline import Limits
from tidegate.policy import Policy
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.asking import ask_for
from tidegate.stages.demanded import USUAL
from tidegate.stages.route import Route
from tidegate.types import Abilities, Ask, Batch, Capabilities, Endpoint, Exit, Piece

ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
WORD = "word "


class Strict(PlainEngine):
    """An engine that refuses what it cannot do, as a server does. Four characters are a token for it."""

    def __init__(self, can: Abilities) -> None:
        self.can = can
        self.capabilities = Capabilities(fields.VLLM)

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        body = {name: json.loads(bytes(raw)) for name, raw in ask.fields.items()}
        contents = [message["content"] for message in body["messages"]]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        if body.get("tools") and not self.can.tools:
            raise BadRequest("no tools")
        if any(part["type"] == "image_url" for part in parts) and not self.can.vision:
            raise BadRequest("no images")
        if body.get("response_format", {}).get("type") == "json_schema" and not self.can.schemas:
            raise BadRequest("no schemas")
        text = "".join(
            content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
            for content in contents
        )
        longest = self.can.context_tokens
        if longest is not None and len(text) / 4 + body.get("max_tokens", 0) > longest:
            raise BadRequest("too long")
        yield [Piece(ANSWER, read_answer(ANSWER))]


CAN = st.builds(
    Abilities,
    tools=st.booleans(),
    vision=st.booleans(),
    schemas=st.booleans(),
    context_tokens=st.sampled_from([None, 512, 4096]),
)


def body(*, tools: bool, image: bool, schema: bool, words: int, max_tokens: int | None) -> dict[str, Any]:
    parts = [{"type": "text", "text": WORD * words}, *([PICTURE] if image else [])]
    told: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    if tools:
        told["tools"] = [TOOL]
    if schema:
        told["response_format"] = SCHEMA
    if max_tokens is not None:
        told["max_tokens"] = max_tokens
    return told


def parsed(told: dict[str, Any], policy: Policy | None = None) -> Call:
    raw = json.dumps(told).encode()
    call = Call(
        id="id",
        endpoint=Endpoint.CHAT,
        exit=Exit(),
        arrived_at=0.0,
        received_at=0.0,
        deadline=60.0,
        policy=policy or Policy(),
        body_bytes=len(raw),
    )
    openai.read(raw, call)
    return call


def deployments(*abilities: Abilities) -> list[Deployment]:
    return [Deployment(f"e{at}", Strict(can), Seats(), can=can) for at, can in enumerate(abilities)]


def route(*found: Deployment, structure: StructureConfig = USUAL) -> Route:
    return Route(Models({"m": found}), OutputEstimate(), {"m": structure})


BODIES = st.builds(
    body,
    tools=st.booleans(),
    image=st.booleans(),
    schema=st.booleans(),
    words=st.sampled_from([1, 30, 400, 410, 1500, 3270, 3280, 60_000]),
    max_tokens=st.sampled_from([None, 5, 1000]),
)


async def served(found: Deployment, call: Call) -> None:
    async for _ in found.engine.stream(ask_for(call, found)):
        pass


@given(st.lists(CAN, min_size=1, max_size=4), BODIES)
def test_only_deployments_that_can_serve_a_request_are_candidates(abilities, told):
    # The engine has counted the prompt. Near its context, an estimate leaves the decision to the engine.
    found, call = deployments(*abilities), parsed(told, Policy(count="engine"))
    call.prompt_tokens = -(-len(told["messages"][0]["content"][0]["text"]) // 4)
    try:
        route(*found)(call)
    except BadRequest:
        for one in found:
            with pytest.raises(BadRequest):
                asyncio.run(served(one, call))
        return
    candidates = [one for group in call.groups for one in group.deployments]
    assert candidates
    for one in candidates:
        asyncio.run(served(one, call))


@pytest.mark.parametrize(
    ("can", "told", "param", "words"),
    [
        (Abilities(vision=False), {"image": True}, "messages", "No deployment of 'm' takes images"),
        (Abilities(tools=False), {"tools": True}, "tools", "No deployment of 'm' calls tools"),
        (
            Abilities(schemas=False),
            {"schema": True},
            "response_format",
            "No deployment of 'm' follows a schema",
        ),
        (
            Abilities(context_tokens=512),
            {"words": 60_000},
            "messages",
            "The longest context of 'm' is 512 tokens",
        ),
        (Abilities(context_tokens=512), {"max_tokens": 600}, "messages", "an answer of up to 600"),
    ],
)
def test_a_refusal_says_what_no_deployment_can(can, told, param, words):
    usual = {"tools": False, "image": False, "schema": False, "words": 3, "max_tokens": None}
    with pytest.raises(BadRequest) as raised:
        route(*deployments(can, can), structure=StructureConfig(check=False))(
            parsed(body(**{**usual, **told}))
        )
    assert raised.value.param == param
    assert words in raised.value.message


def test_a_refusal_for_length_has_the_code_that_clients_know():
    with pytest.raises(ContextExceeded):
        route(*deployments(Abilities(context_tokens=512)))(
            parsed(body(tools=False, image=False, schema=False, words=60_000, max_tokens=None))
        )


def test_an_answer_does_not_count_where_the_engine_ends_it_at_the_context():
    can = Abilities(context_tokens=512, reserves_answer=False)
    call = parsed(body(tools=False, image=False, schema=False, words=3, max_tokens=4000))
    route(*deployments(can))(call)
    assert len(call.groups) == 1


@pytest.mark.parametrize("nothing", [{"tools": []}, {"tools": None}, {"response_format": {"type": "text"}}])
def test_what_asks_for_nothing_needs_no_ability(nothing):
    call = parsed({"model": "m", "messages": [{"role": "user", "content": "hi"}], **nothing})
    route(*deployments(Abilities(tools=False, schemas=False)))(call)
    assert call.groups


@pytest.mark.parametrize("kind", ["image_url", "video_url", "input_image"])
@pytest.mark.parametrize("at", ["first", "last"])
def test_images_are_seen_in_large_bodies(kind, at):
    long = {"role": "user", "content": "x" * 400_000}
    seen = {"role": "user", "content": [{"type": kind, kind: {"url": "data:," + "A" * 90_000}}]}
    raw = json.dumps({"model": "m", "messages": [seen, long] if at == "first" else [long, seen]}).encode()
    call = parsed({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    for _ in large.read_large(raw, call, Limits()):
        pass
    assert call.has_images
    with pytest.raises(BadRequest, match="takes images"):
        route(*deployments(Abilities(vision=False)))(call)


def test_a_policy_s_tags_leave_only_deployments_that_have_them():
    inside, outside = deployments(Abilities(), Abilities())
    inside = Deployment("in", inside.engine, Seats(), tags=frozenset({"eu", "own"}))
    call = parsed(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, Policy(tags=frozenset({"eu"}))
    )
    route(outside, inside)(call)
    assert [one.engine_name for group in call.groups for one in group.deployments] == ["in"]
    call = parsed(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]}, Policy(tags=frozenset({"us"}))
    )
    with pytest.raises(ModelNotFound):
        route(outside, inside)(call)
