"""A broken stream that another engine goes on with, over real sockets, as the official `openai` package sees it."""

from __future__ import annotations

import json
import socket
from typing import Any

import openai
import pytest
from canned import Canned, canned, streamed
from openai import OpenAI
from serving import PATIENCE_S, run_gateway


def event(number: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": number, "model": "m"}
    body = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    return b"data: %b\n\n" % json.dumps(body, ensure_ascii=False).encode()


def breaks_off(sent: bytes) -> Any:
    """Return an answer that ends the connection after these bytes of its stream."""
    whole = streamed(sent)

    def answer(connection: socket.socket) -> None:
        connection.sendall(whole[: whole.index(sent) + len(sent)])
        connection.shutdown(socket.SHUT_RDWR)

    return answer


def config(first: Canned, second: Canned, *, continues: bool) -> str:
    engines = {
        name: {"kind": "vllm", "url": one.base_url, "continues": True}
        for name, one in (("first", first), ("second", second))
    }
    deployments = [{"engine": "first"}, {"engine": "second", "tier": 1}]
    model = {"deployments": deployments, "continues": continues}
    return json.dumps({"server": {"port": 0}, "engines": engines, "models": {"m": model}})


BEFORE = (
    event(1, {"role": "assistant", "content": ""})
    + event(1, {"content": "The tide"})
    + event(1, {"content": " 🌊"})
)
USAGE = (
    b'data: {"id":"chatcmpl-2","object":"chat.completion.chunk","created":2,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14}}\n\n'
)
REST = b"".join(
    [
        event(2, {"role": "assistant", "content": ""}),
        event(2, {"content": " comes"}),
        event(2, {"content": " in."}),
        event(2, {}, "stop"),
        USAGE,
        b"data: [DONE]\n\n",
    ]
)


@pytest.mark.parametrize("continues", [True, False])
def test_the_sdk_sees_one_whole_stream_if_the_model_is_continued(continues: bool) -> None:
    half = event(1, {"content": " wave 🌊"})
    cut = half[: half.index("🌊".encode()) + 2]  # within a character
    with (
        canned(breaks_off(BEFORE + cut)) as first,
        canned(streamed(REST)) as second,
        run_gateway(config(first, second, continues=continues)) as gateway,
        OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client,
    ):
        stream = client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "Say it"}],
            max_tokens=9,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks, failed = [], False
        try:
            chunks += stream
        except openai.APIError:
            failed = True
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert failed is not continues
    assert len({(one.id, one.created) for one in chunks}) <= 1
    if not continues:
        assert not second.heard
        return
    assert text == "The tide 🌊 comes in."
    assert [
        one.choices[0].finish_reason for one in chunks if one.choices and one.choices[0].finish_reason
    ] == ["stop"]
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 4, 14)
    (marked,) = [one for one in chunks if one.model_extra and "tidegate" in one.model_extra]
    assert marked.choices[0].delta.content == " comes"
    asked = json.loads(second.heard[0].body)
    assert asked["messages"] == [
        {"role": "user", "content": "Say it"},
        {"role": "assistant", "content": "The tide 🌊"},
    ]
    assert (asked["continue_final_message"], asked["add_generation_prompt"], asked["max_tokens"]) == (
        True,
        False,
        7,
    )
