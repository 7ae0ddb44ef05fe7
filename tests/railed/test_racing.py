"""Input rails that race the engine: no time is lost, and nothing leaves before they have passed the request."""

from __future__ import annotations

from typing import Any

import pytest
from in_hand import until
from talking import EMBEDDINGS
from virtual import run

from railed import made
from railed.world import answered, chat, railed, request, says
from tidegate.errors import UpstreamError

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
REFUSAL = "I'm sorry, but I can't help with that."
RAIL: dict[str, Any] = {"kind": "check", "surfaces": ["input"], "takes_ms": 50}


def racing(takes_ms: float = 50, *more: dict[str, Any], **profile: Any) -> Any:
    return railed([{**RAIL, "takes_ms": takes_ms}, *more], profile={"race": True, **profile})


@STREAM
@pytest.mark.parametrize(("race", "takes_s"), [(True, 0.4), (False, 0.45)])
def test_a_rail_that_passes_in_time_costs_no_time(stream: bool, race: bool, takes_s: float) -> None:
    async def work() -> None:
        async with railed([RAIL], profile={"race": race}) as world:
            world.engine.says = says("Good day.", ttft_s=0.4)
            began = world.now
            answer = await world.ask(chat(stream=stream))
            assert answer.text == "Good day."
            assert world.now - began == pytest.approx(takes_s, abs=0.02)
            assert world.engine.asked[0].state == "ok"
            assert len(made.seen) == 1

    run(work())


@STREAM
def test_nothing_leaves_before_a_rail_that_is_slower_than_the_engine(stream: bool) -> None:
    async def work() -> None:
        async with racing(takes_ms=100) as world:
            world.engine.says = says("Good ", "day.", ttft_s=0.02, itl_s=0.01)
            client = world.send(chat(stream=stream))
            await until(lambda: world.now > 0.09, "the engine has said everything")
            assert world.engine.asked
            assert made.seen == []
            assert b"Good" not in client.received
            answer = await answered(client)
            assert answer.text == "Good day."
            assert answer.rails == {"check": "pass"}

    run(work())


@STREAM
@pytest.mark.parametrize("engine_s", [0.4, 0.02], ids=["before the engine", "behind the first text"])
def test_a_block_shows_nothing_of_the_answer_and_closes_the_engine_at_once(
    stream: bool, engine_s: float
) -> None:
    async def work() -> None:
        async with racing() as world:
            world.engine.says = says("Good ", "day.", ttft_s=engine_s, itl_s=5.0, usage=True)
            began = world.now
            answer = await world.ask(chat("a bad one", stream=stream))
            assert answer.text == REFUSAL
            assert answer.finish == {0: "content_filter"}
            assert b"Good" not in answer.client.received
            assert b"x-1" not in answer.client.received  # nor the id of the engine's answer
            asked = world.engine.asked[0]
            assert asked.state in ("CancelledError", "GeneratorExit")
            assert asked.ended_at - began == pytest.approx(0.05, abs=0.02)
            assert answer.rails == {"check": "block"}
            [spent] = world.record.spent
            assert spent.outcome == "cancelled"
            assert bool(spent.first_byte_at) is (engine_s < 0.05)

    run(work())


@STREAM
def test_a_block_behind_the_end_of_the_engine_shows_nothing_and_keeps_what_it_has_cost(stream: bool) -> None:
    async def work() -> None:
        async with racing() as world:
            world.engine.says = says("Good day.", usage=True)
            answer = await world.ask(chat("a bad one", stream=stream))
            assert answer.text == REFUSAL
            assert b"Good" not in answer.client.received
            [spent] = world.record.spent
            if not stream:
                assert spent.usage is not None
                assert spent.usage.completion_tokens == 4

    run(work())


@STREAM
def test_a_block_is_an_error_where_the_profile_wants_that(stream: bool) -> None:
    async def work() -> None:
        async with racing(refuse_as="error") as world:
            world.engine.says = says("Good day.", ttft_s=0.02)
            answer = await world.ask(chat("a bad one", stream=stream))
            assert answer.status == 400
            assert answer.error["code"] == "content_filter"
            assert b"Good" not in answer.client.received
            assert world.engine.asked[0].ended_at <= world.now

    run(work())


@STREAM
def test_an_engine_that_fails_first_is_the_error_and_the_rail_is_cancelled(stream: bool) -> None:
    async def work() -> None:
        async with racing() as world:
            world.engine.says = lambda ask: [0.01, UpstreamError("the engine is gone")]
            began = world.now
            answer = await world.ask(chat("a bad one", stream=stream))
            assert answer.status == 502
            assert world.now - began == pytest.approx(0.01, abs=0.02)
            await until(lambda: made.cancelled == ["check"], "the rail is cancelled")

    run(work())


@STREAM
def test_an_engine_that_fails_after_a_rail_has_blocked_does_not_matter(stream: bool) -> None:
    async def work() -> None:
        async with racing(takes_ms=10) as world:
            world.engine.says = lambda ask: [0.02, UpstreamError("the engine is gone")]
            answer = await world.ask(chat("a bad one", stream=stream))
            assert answer.text == REFUSAL

    run(work())


@STREAM
def test_a_client_that_leaves_ends_the_race(stream: bool) -> None:
    async def work() -> None:
        async with racing() as world:
            world.engine.says = says("Good day.", ttft_s=0.4)
            client = world.send(chat(stream=stream))
            await until(lambda: bool(world.engine.asked), "the engine is asked")
            client.wire.abort()
            await until(lambda: world.gateway.snapshot.calls == 0, "the call has ended")
            assert world.engine.asked[0].state in ("CancelledError", "GeneratorExit")
            assert made.cancelled == ["check"]
            assert made.seen == []

    run(work())


def test_a_stream_is_kept_alive_while_it_is_held() -> None:
    async def work() -> None:
        async with railed(
            [{**RAIL, "tier": 2, "takes_ms": 2500}], profile={"race": True}, server={"sse_keep_alive_s": 1}
        ) as world:
            world.engine.says = says("Good day.")
            client = world.send(chat(stream=True))
            await until(lambda: client.received.count(b": ") >= 3, "comments")  # one is a header
            assert b"Good" not in client.received
            answer = await answered(client)
            assert answer.text == "Good day."

    run(work())


@STREAM
@pytest.mark.parametrize("on_error", ["closed", "open"])
def test_a_rail_that_fails_in_a_race_is_decided_by_on_error(stream: bool, on_error: str) -> None:
    async def work() -> None:
        rail = {**RAIL, "fails": "raise", "on_error": on_error}
        async with railed([rail], profile={"race": True}) as world:
            world.engine.says = says("Good day.", ttft_s=0.02)
            answer = await world.ask(chat(stream=stream))
            assert answer.text == ("Good day." if on_error == "open" else REFUSAL)

    run(work())


@STREAM
def test_output_rails_check_an_answer_that_has_raced(stream: bool) -> None:
    async def work() -> None:
        masks = {"kind": "scans", "surfaces": ["output"], "on_fail": "redact"}
        async with racing(50, masks) as world:
            world.engine.says = says("A ba", "dword it is.", ttft_s=0.02, usage=True)
            more = {"stream_options": {"include_usage": True}} if stream else {}
            answer = await world.ask(chat(stream=stream, **more))
            assert answer.text == "A <BAD> it is."
            assert answer.events[-1]["usage"]["completion_tokens"] == 4

    run(work())


@pytest.mark.parametrize("text", ["hello", "a bad one"])
def test_embeddings_race_as_well(text: str) -> None:
    async def work() -> None:
        async with racing() as world:
            answer = await world.ask(request(EMBEDDINGS, text), path=EMBEDDINGS)
            assert answer.status == (200 if text == "hello" else 400)
            assert (b"0.5" in answer.body) is (text == "hello")

    run(work())
