"""Rules that are `InParts` see a long text from its beginning to its end, in a gateway as alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from talking import CHAT
from virtual import run

from railed.world import railed, says

BAD = "<img src=x onerror=alert(1)>"
SHOWN = "```html\n" + f"{BAD}\n" * 300 + "```\n"


def body(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_answer_may_show_code_and_not_act(stream: bool) -> None:
    section = {"profiles": {"p": {"rails": [{"kind": "code_injection", "on_fail": "redact"}]}}}

    async def work() -> None:
        async with railed(section=section, policy={"rails": "p"}) as world:
            for text, expected in ((SHOWN, SHOWN), (SHOWN + BAD, SHOWN + "<CROSS_SITE_SCRIPTING>lert(1)>")):
                world.engine.says = says(text[:5000], text[5000:])
                answer = await world.ask(body("hello", stream=stream), path=CHAT)
                assert answer.text == expected

    run(work())


def test_a_long_prompt_is_measured_as_a_whole() -> None:
    section = {"profiles": {"p": {"refuse_as": "error", "rails": [{"kind": "bloat", "max_chars": 9000}]}}}

    async def work() -> None:
        async with railed(section=section, policy={"rails": "p"}) as world:
            words = " ".join(f"{at * 7919:x}" for at in range(1500))
            assert (await world.ask(body(words[:8990]), path=CHAT)).status == 200
            assert (await world.ask(body(words[:9001]), path=CHAT)).status == 400

    run(work())
