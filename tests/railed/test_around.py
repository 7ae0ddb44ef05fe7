"""Rails beside the rest of the gateway: answers for several calls, its own calls, reloads, and calls without rails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from in_hand import until
from virtual import run

from railed import made
from railed.world import Step, answered, chat, configuration, railed, says
from tidegate.types import Ask

KEY = "idempotency-key: 11111111-2222-4333-8444-555555555555"
MASK = {"kind": "scans", "name": "mask", "on_fail": "redact"}
REFUSAL = "I'm sorry, but I can't help with that."
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@STREAM
def test_joined_and_replayed_answers_are_the_checked_one(stream: bool) -> None:
    async def work() -> None:
        async with railed([MASK]) as world:
            world.engine.says = says("A bad", "word.", ttft_s=0.1, itl_s=0.1)
            clients = [world.send(chat("a badword", stream=stream), KEY) for _ in range(2)]
            answers = [await answered(one) for one in clients]
            answers.append(await world.ask(chat("a badword", stream=stream), KEY))
            how = [one.headers["x-tidegate-idempotency"] for one in answers]
            assert how == ["new", "joined", "replayed"]
            assert {one.text for one in answers} == {"A <BAD>."}
            assert all(b"badword" not in one.client.received for one in answers)
            [asked] = world.engine.asked
            assert asked.messages[-1]["content"] == "a <BAD>"
            # The request of each is checked, and their one answer once.
            outputs = [
                one for record in world.logged for one in record.findings if one.surface.value == "output"
            ]
            assert len(outputs) == 1

    run(work())


@STREAM
def test_placeholders_do_not_make_another_request_of_one_that_is_sent_again(stream: bool) -> None:
    async def work() -> None:
        mask = {**MASK, "surfaces": ["input"]}
        async with railed([mask], profile={"placeholders": True}) as world:
            world.engine.says = echo
            first = await world.ask(chat("a badword", stream=stream), KEY)
            again = await world.ask(chat("a badword", stream=stream), KEY)
            assert (first.status, again.status) == (200, 200)
            assert first.text == again.text == "a badword"
            assert len(world.engine.asked) == 1
            other = await world.ask(chat("a badder word", stream=stream), KEY)
            assert other.error["code"] == "idempotency_key_reused"

    run(work())


def echo(ask: Ask) -> Iterable[Step]:
    return says(str(ask.messages[-1].content))(ask)


@STREAM
def test_a_request_is_another_one_even_if_masks_make_them_equal(stream: bool) -> None:
    async def work() -> None:
        async with railed([{**MASK, "surfaces": ["input"]}]) as world:
            await world.ask(chat("a badword", stream=stream), KEY)
            other = await world.ask(chat("a badder", stream=stream), KEY)
            assert other.error["code"] == "idempotency_key_reused"

    run(work())


@STREAM
def test_a_blocked_answer_of_several_calls_is_blocked_for_all(stream: bool) -> None:
    async def work() -> None:
        async with railed([{"kind": "rule", "surfaces": ["output"]}]) as world:
            world.engine.says = says("A bad", "word.", ttft_s=0.1)
            clients = [world.send(chat(stream=stream), KEY) for _ in range(2)]
            for one in clients:
                answer = await answered(one)
                assert answer.text == REFUSAL
                assert b"badword" not in one.received

    run(work())


@STREAM
def test_slow_rails_that_race_check_an_answer_of_several_calls_too(stream: bool) -> None:
    async def work() -> None:
        rail = {"kind": "check", "surfaces": ["input"], "takes_ms": 50}
        async with railed([rail], profile={"race": True}) as world:
            clients = [world.send(chat("bad", stream=stream), KEY) for _ in range(2)]
            for one in clients:
                assert (await answered(one)).text == REFUSAL
                assert b"Good day" not in one.received

    run(work())


def test_the_gateways_own_calls_are_not_checked() -> None:
    async def work() -> None:
        rails = [{"kind": "rule"}, {"kind": "check", "name": "judge"}]
        async with railed(rails) as world:
            world.engine.says = says("A badword.")
            raw = msgspec.Raw(json.dumps([{"role": "user", "content": "a badword"}]).encode())
            found = await world.gateway.ask(
                "m", {"messages": raw}, purpose="judge:facts", of=None, deadline=world.now + 5
            )
            assert b"A badword." in found.data
            assert made.seen == []

    run(work())


def test_a_reload_changes_the_rails_of_new_calls_only(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "tidegate.json"
        async with railed([MASK], path=path) as world:
            world.engine.says = says("A ", "badword", " is", " here.", itl_s=1.0)
            old = world.send(chat(stream=True))
            await until(lambda: bool(world.engine.asked), "the engine is asked")
            path.write_text(json.dumps(configuration([{"kind": "rule", "on_fail": "log", "name": "log"}])))
            await world.gateway.reload()
            new = await world.ask(chat(stream=True))
            assert new.text == "A badword is here."
            assert new.rails == {"log": "pass"}
            assert (await answered(old)).text == "A <BAD> is here."

            path.write_text(json.dumps(configuration([{"kind": "rule", "on_fail": "fix"}])))
            await world.gateway.try_reload()
            assert (await world.ask(chat())).rails == {"log": "log"}

    run(work())


def test_calls_without_rails_run_no_stage_of_rails() -> None:
    async def work(policy: dict[str, Any]) -> list[str]:
        async with railed([MASK, {"kind": "check", "surfaces": ["input"]}], policy=policy) as world:
            await world.ask(chat())
            return [stage.name for stage in world.gateway.snapshot.pipeline.stages if stage.idle]

    assert {"screen", "guard"} <= set(run(work({"rails": "none"})))
    assert not {"screen", "guard"} & set(run(work({})))


def test_long_texts_give_other_calls_a_turn() -> None:
    async def work() -> None:
        async with railed([{"kind": "rule", "surfaces": ["input"]}], section={"budget_ms": 10_000}) as world:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(count())
            client = world.send(chat("word " * 20_000))
            await answered(client)
            task.cancel()
            assert len(made.seen) >= 20
            assert turns >= len(made.seen) - 1
            assert max(len(one.text) for one in made.seen) <= 4096 + 512

    run(work())


@STREAM
def test_a_rule_finds_what_lies_across_two_slices(stream: bool) -> None:
    async def work() -> None:
        async with railed([{**MASK, "surfaces": ["input"]}], section={"budget_ms": 10_000}) as world:
            for at in (4090, 4093, 4096, 4100):
                text = "x " * (at // 2) + "badword" + " y" * 3000
                await world.ask(chat(text, stream=stream))
                sent = world.engine.asked[-1].messages[-1]["content"]
                assert sent == text.replace("badword", "<BAD>")

    run(work())
