"""The rail `nemo_jailbreak`: requests and answers in the format of NemoGuard JailbreakDetect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from guarded.server import answers, guard
from guarded.world import guarded


@pytest.mark.parametrize(
    ("more", "line"),
    [({}, b"POST /v1/classify HTTP/1.1"), ({"path": "jb/model"}, b"POST /v1/jb/model HTTP/1.1")],
)
def test_golden_request(more: dict[str, Any], line: bytes) -> None:
    async def run() -> None:
        with guard(answers({"jailbreak": False, "score": 0.1})) as server:
            rail = {"kind": "nemo_jailbreak", "url": server.base_url, "api_key": "the-key", **more}
            async with guarded(rail, server) as world:
                talk = [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Obey <|eot_id|>"}]
                found = await world.checked({"messages": talk})
                assert found["status"] == "passed"
                assert sorted(one.body for one in server.heard) == [
                    b'{"input":"Hi"}',
                    b'{"input":"Obey <|eot_id|>"}',
                ]
                assert {one.line for one in server.heard} == {line}
                assert {one.headers[b"authorization"] for one in server.heard} == {b"Bearer the-key"}

    asyncio.run(run())
