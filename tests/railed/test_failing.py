"""A rail that fails is decided by its `on_error`, wherever it fails and however."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
from in_hand import until
from talking import CHAT
from virtual import run

from railed import made
from railed.made import FAILURES, SCANS_OF_FAILURE, SECRET
from railed.world import Answer, World, answered, chat, railed, says
from tidegate.errors import UpstreamError
from tidegate.rails.foreign import awaited

REFUSAL = "I'm sorry, but I can't help with that."
# The streams of these tests have the word in the part after which the scanner fails.
GOOD, BAD = "All is well in this text.", "Here is a badword, and more text."
ON_ERRORS = ("closed", "open", "stand-in")
HOW: dict[str, dict[str, Any]] = {
    "rule": {"kind": "rule", "holds": "whole"},
    "rule of passages": {"kind": "rule"},
    "model": {"kind": "check", "tier": 1},
    "judge of whole answers": {"kind": "check", "tier": 2, "holds": "whole"},
}
STAND_IN = {"kind": "rule", "name": "stand-in", "on_fail": "log"}


def rails(how: dict[str, Any], on_error: str, **more: Any) -> list[dict[str, Any]]:
    return [{**how, "name": "fails", "on_error": on_error, **more}, STAND_IN]


async def told(world: World, surface: str, text: str, *, stream: bool) -> Answer:
    """Send a text on a surface, and return the answer."""
    world.engine.says = says(text if surface == "output" else "Fine.", choices=1)
    return await world.ask(chat(text if surface == "input" else "hello", stream=stream))


def is_refused(answer: Answer) -> bool:
    assert answer.status == 200
    return answer.text.endswith(REFUSAL) and answer.finish == {0: "content_filter"}


def nowhere(world: World, answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    """The words of exceptions are the user's own: nobody gets them."""
    assert SECRET not in answer.client.received.decode()
    assert not any(SECRET in line.getMessage() for line in caplog.records)
    assert SECRET not in repr(world.record.findings)


def profiles(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Settings of a gateway whose clients choose among these profiles."""
    return {
        "section": {"profiles": {name: {"rails": rails} for name, rails in found.items()}},
        "policy": {"stricter_rails": list(found)},
    }


@pytest.mark.parametrize("how", HOW)
def test_every_failure_is_decided_by_on_error(how: str, caplog: pytest.LogCaptureFixture) -> None:
    ways = [(surface, stream) for surface in ("input", "output") for stream in (False, True)]
    cases = [
        (surface, stream, on_error, failure)
        for number, failure in enumerate(FAILURES)
        for at, on_error in enumerate(ON_ERRORS)
        # Every way of failing has every `on_error`, on one surface; the commonest has all of all.
        for surface, stream in (ways if failure == "raise" else [ways[(number + at) % 4]])
    ]
    named = {
        f"{surface}.{on_error}.{failure}": rails(HOW[how], on_error, fails=failure, surfaces=[surface])
        for surface, _, on_error, failure in cases
    }

    async def work() -> None:
        async with railed(**profiles(named)) as world:
            for case in cases:
                await fails(world, *case, BAD)
                if case[2] == "stand-in":
                    await fails(world, *case, GOOD)
            failed = len(cases) + sum(case[2] == "stand-in" for case in cases)
            assert world.metric('tidegate_rail_errors_total{rail="fails"}') == failed

    async def fails(world: World, surface: str, stream: bool, on_error: str, failure: str, text: str) -> None:
        case = (surface, stream, on_error, failure, text)
        world.engine.asked.clear()
        world.engine.says = says(text if surface == "output" else "Fine.")
        body = chat(text if surface == "input" else "hello", stream=stream)
        answer = await world.ask(body, f"x-tidegate-profile: {surface}.{on_error}.{failure}")
        if on_error == "closed" or (on_error == "stand-in" and text == BAD):
            # A rail that stands in for another one decides by the other one's settings.
            assert is_refused(answer), case
            assert len(world.engine.asked) == (0 if surface == "input" else 1), case
        else:
            assert answer.text == (text if surface == "output" else "Fine."), case
            assert answer.finish == {0: "stop"}
        [found] = [one for one in world.record.findings if one.rail == "fails"]
        assert found.error, case
        nowhere(world, answer, caplog)

    run(work())


@pytest.mark.parametrize("on_error", ON_ERRORS)
@pytest.mark.parametrize("surface", ["input", "output"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fails", ["hang", "stubborn", "endless"])
def test_a_rail_that_takes_too_long_is_decided_by_on_error_when_its_time_is_up(
    on_error: str, surface: str, stream: bool, fails: str
) -> None:
    async def work() -> None:
        slow = {"kind": "check", "tier": 2, "takes_ms": 500, "fails": fails, "timeout_ms": 80}
        async with railed(rails(slow, on_error, surfaces=[surface])) as world:
            began = world.now
            answer = await told(world, surface, GOOD, stream=stream)
            assert is_refused(answer) is (on_error == "closed")
            assert world.now - began == pytest.approx(0.08, abs=0.03)
            assert made.cancelled == ["fails"]
            [found] = [one for one in world.record.findings if one.rail == "fails"]
            assert found.error == "took too long"

    run(work())


@pytest.mark.parametrize("fails", ["hang", "stubborn", "endless"])
def test_a_check_that_ignores_its_cancellation_is_kept_counted_and_logged_once(
    fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        slow = {"kind": "check", "surfaces": ["input"], "fails": fails, "timeout_ms": 80, "on_error": "open"}
        async with railed([{**slow, "takes_ms": 500}]) as world:
            answer = await world.ask(chat())
            assert answer.text == "Good day."
            metric = 'tidegate_rail_abandoned_total{rail="check"}'
            assert world.metric(metric) == 0
            gc.collect()
            await asyncio.sleep(5)
            assert world.metric(metric) == (fails == "endless")
            made.stays.clear()
            await asyncio.sleep(5)
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "rail check"]
            nowhere(world, answer, caplog)

    run(work())
    told = [one for one in caplog.records if "still runs" in one.getMessage()]
    assert len(told) == (fails == "endless")
    # Nor does asyncio tell of an exception that nobody has looked at.
    assert not [one for one in caplog.records if one.name == "asyncio" and one.levelno >= logging.ERROR]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("surface", ["input", "output"])
@pytest.mark.parametrize("race", [False, True], ids=["before", "race"])
def test_a_block_does_not_wait_for_a_check_that_ignores_its_cancellation(
    surface: str, stream: bool, race: bool
) -> None:
    async def work() -> None:
        endless = {"kind": "check", "name": "endless", "fails": "endless", "surfaces": [surface], "tier": 2}
        blocks = {"kind": "check", "name": "blocks", "takes_ms": 20, "surfaces": [surface], "tier": 2}
        async with railed([endless, blocks], profile={"race": race}) as world:
            began = world.now
            assert is_refused(await told(world, surface, BAD, stream=stream))
            assert world.now - began == pytest.approx(0.02, abs=0.01)
            assert made.cancelled == ["endless"]

    run(work())


@pytest.mark.parametrize("race", [False, True], ids=["before", "race"])
@pytest.mark.parametrize("ends", ["engine", "client"])
def test_a_call_that_ends_does_not_wait_for_a_check_that_ignores_its_cancellation(
    ends: str, race: bool
) -> None:
    if ends == "engine" and not race:
        return  # the engine is not asked before the rail has passed

    async def work() -> None:
        endless = {"kind": "check", "fails": "endless", "surfaces": ["input"], "tier": 2}
        async with railed([endless], profile={"race": race}) as world:
            world.engine.says = lambda ask: [
                0.05,
                UpstreamError("the engine is gone") if ends == "engine" else 60.0,
            ]
            began = world.now
            client = world.send(chat())
            if ends == "client":
                await until(lambda: bool(made.stays) and world.now >= 0.05, "the check runs")
                client.wire.abort()
            else:
                assert (await answered(client)).status == 502
            await until(lambda: world.gateway.snapshot.calls == 0, "the call has ended")
            assert world.now - began < 0.2
            assert made.cancelled == ["check"]

    run(work())


@pytest.mark.parametrize(("tier", "limit_ms"), [(1, 150), (2, 3000)])
@pytest.mark.parametrize("on_error", ON_ERRORS)
def test_a_budget_that_is_used_up_is_decided_by_on_error(tier: int, limit_ms: int, on_error: str) -> None:
    async def work() -> None:
        slow = {"kind": "check", "tier": tier, "name": "slow", "takes_ms": limit_ms * 0.8, "only": ["input"]}
        first = {**slow, "on_fail": "fix", "puts": "good"}  # one after the other
        second = {**slow, "name": "fails", "on_fail": "fix", "puts": "good", "on_error": on_error}
        third = {**slow, "name": "third", "on_error": "open", "takes_ms": 0}
        fallback = {**STAND_IN, "surfaces": ["input"]}
        async with railed([first, second, third, fallback]) as world:
            began = world.now
            answer = await world.ask(chat("hello"))
            assert is_refused(answer) is (on_error == "closed")
            assert world.now - began == pytest.approx(limit_ms / 1000, abs=0.05)
            found = {one.rail: one.error for one in world.record.findings}
            assert found["slow"] == ""
            assert found["fails"] == "took too long"
            if on_error != "closed":
                assert found["third"] == "the budget was used up"

    run(work())


@pytest.mark.parametrize("on_error", ["closed", "open"])
def test_a_rule_that_gets_no_turn_before_the_budget_is_used_up_is_decided_by_on_error(on_error: str) -> None:
    async def work() -> None:
        # A turn of the loop takes ten microseconds, and each four kilobytes have a turn.
        late = {"kind": "rule", "name": "late", "surfaces": ["input"], "on_error": on_error}
        async with railed([late], section={"budget_ms": 0.05}) as world:
            answer = await world.ask(chat("word " * 20_000))
            assert is_refused(answer) is (on_error == "closed")
            assert world.record.findings[0].error == "the budget was used up"
            assert 1 <= len(made.seen) < 20

            made.seen.clear()
            answer = await world.ask(chat("word " * 2000))
            assert answer.text == "Good day."
            assert world.record.findings[0].error == ""
            assert len(made.seen) >= 3

    run(work())


def test_the_fallback_of_a_fallback_decides_and_the_last_one_says_what_happens_if_all_fail() -> None:
    async def work(on_error: str) -> None:
        chain = [
            {"kind": "check", "name": "a", "fails": "raise", "on_error": "b"},
            {"kind": "check", "name": "b", "fails": "none", "on_error": "c", "on_fail": "log"},
            {"kind": "rule", "name": "c", "fails": "told", "on_error": on_error, "on_fail": "log"},
        ]
        async with railed([{**one, "surfaces": ["input"]} for one in chain]) as world:
            answer = await world.ask(chat("hello"))
            assert is_refused(answer) is (on_error == "closed")

    run(work("open"))
    run(work("closed"))


def test_a_fallback_has_only_the_time_that_is_left() -> None:
    async def work() -> None:
        slow = {"kind": "check", "takes_ms": 100, "surfaces": ["input"]}
        chain = [
            {**slow, "name": "a", "fails": "raise", "on_error": "b"},
            {**slow, "name": "b", "fails": "raise", "on_error": "c"},
            {**slow, "name": "c"},
        ]
        async with railed(chain) as world:
            began = world.now
            assert is_refused(await world.ask(chat("hello")))
            assert world.now - began == pytest.approx(0.15, abs=0.03)

    run(work())


# ------------------------------------------------------------------------------------------------------------- scanners


SCANS = {"kind": "scans", "name": "fails", "surfaces": ["output"]}


@pytest.mark.parametrize("on_fail", ["block", "redact", "log"])
def test_a_scanner_that_fails_in_a_stream_is_decided_by_on_error(
    on_fail: str, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["Good ", "text ", "and then ", "a ba", "d", "word", " is there."]
    whole = "".join(texts)
    stand_in = {"kind": "scans", "name": "stand-in", "surfaces": ["output"], "on_fail": on_fail}
    failures = {*SCANS_OF_FAILURE, "at_once"}
    if on_fail == "log":
        failures.remove("span_left")  # such a scanner gets the text in one, so nothing has left before
    cases = [(failure, on_error) for failure in sorted(failures) for on_error in ON_ERRORS]
    named = {
        f"{failure}.{on_error}": [
            {**SCANS, "on_fail": on_fail, "on_error": on_error, "scan_fails": failure},
            *([stand_in] if on_error == "stand-in" else []),
        ]
        for failure, on_error in cases
    }

    async def fails(world: World, failure: str, on_error: str) -> None:
        answer = await world.ask(chat(stream=True), f"x-tidegate-profile: {failure}.{on_error}")
        case = (failure, on_error, answer.text)
        nowhere(world, answer, caplog)
        [found] = [found for found in world.record.findings if found.rail == "fails"]
        assert found.error, case
        if on_error == "open":
            assert answer.text == whole, case
        elif on_error == "closed":
            assert is_refused(answer), case
            assert "bad" not in answer.text or on_fail == "log", case
        elif on_fail == "block":
            assert answer.text == f"Good text and then \n\n{REFUSAL}", case
        else:
            assert answer.text == (whole.replace("badword", "<BAD>") if on_fail == "redact" else whole), case
        blocked = on_error == "closed" or (on_error == "stand-in" and on_fail == "block")
        assert world.engine.asked[-1].state == ("GeneratorExit" if blocked else "ok"), case

    async def work() -> None:
        async with railed(**profiles(named)) as world:
            world.engine.says = says(*texts)
            for case in cases:
                await fails(world, *case)

    run(work())


def test_a_fallback_takes_over_what_the_rail_has_held_back() -> None:
    """The rail holds the whole time, the fallback has found the word long ago: it is masked nevertheless."""

    async def work() -> None:
        holds = {**SCANS, "finds": "Bad[a-z ,]{0,30}", "on_fail": "redact", "scan_fails": "raise"}
        stand_in = {"kind": "scans", "name": "stand-in", "finds": "word", "surfaces": ["output"]}
        rails = [{**holds, "on_error": "stand-in"}, {**stand_in, "on_fail": "redact"}]
        # Its own rail would mask the word anyway, so it only logs. Nothing else sees the word then.
        rails[1]["on_fail"] = "log"
        async with railed(rails) as world:
            world.engine.says = says("Ba", "d word", "s a", "re here", " today.")
            answer = await world.ask(chat(stream=True))
            assert answer.text == "Bad <BAD>s are here today."

    run(work())


def test_a_fallback_that_fails_while_the_rail_works_changes_nothing() -> None:
    async def work() -> None:
        works = {**SCANS, "name": "works", "on_fail": "redact", "on_error": "stand-in"}
        stand_in = {**SCANS, "name": "stand-in", "finds": "never", "on_error": "open", "scan_fails": "raise"}
        async with railed([works, stand_in]) as world:
            world.engine.says = says("Good text and a ", "badword is there.")
            answer = await world.ask(chat(stream=True))
            assert answer.text == "Good text and a <BAD> is there."

    run(work())


def test_a_failure_in_a_whole_answer_does_not_undo_what_another_rail_has_blocked() -> None:
    async def work() -> None:
        rails = [
            {"kind": "rule", "on_error": "open"},
            {"kind": "rule", "name": "x", "fails": "raise", "on_error": "open"},
        ]
        async with railed(rails) as world:
            world.engine.says = says(BAD)
            assert is_refused(await world.ask(chat()))
            assert world.engine.asked[0].ask.endpoint.value == CHAT

    run(work())


def test_a_check_that_is_cancelled_from_within_has_failed() -> None:
    async def cancelled() -> str:
        raise asyncio.CancelledError

    async def endless() -> str:
        await asyncio.get_running_loop().create_future()
        return "never"

    async def both() -> None:
        assert await awaited(cancelled(), lambda error: type(error).__name__) == "CancelledError"
        task = asyncio.create_task(awaited(endless(), lambda _: "failed"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(both())
