"""What is told of rails: headers, metrics, the audit, refusals. None of it has a user's text."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from talking import CHAT, COMPLETIONS, EMBEDDINGS
from virtual import run

from railed.made import SECRET
from railed.world import Step, World, chat, event, railed, request, says
from tidegate.types import Ask

CANARY = "badcanary"
KEY = {"audit_key": "the key of these tests, 32 bytes and more"}
MASK = {"kind": "scans", "name": "mask", "on_fail": "redact"}
REFUSAL = "I'm sorry, but I can't help with that."
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# -------------------------------------------------------------------------------------------------- headers and metrics


@STREAM
def test_the_header_has_the_most_severe_action_of_each_rail(stream: bool) -> None:
    async def work() -> None:
        rails = [
            MASK,
            {"kind": "rule", "name": "log", "on_fail": "log"},
            {"kind": "rule", "name": "never", "finds": "zz"},
        ]
        async with railed(rails) as world:
            answer = await world.ask(chat(CANARY, stream=stream))
            # The masked text has no word any more that another rail could object to.
            assert answer.rails == {"mask": "redact", "log": "pass", "never": "pass"}
            world.engine.says = says(f"A {CANARY}.")
            answer = await world.ask(chat(stream=stream))
            assert answer.rails == {"mask": "pass" if stream else "redact", "log": "pass", "never": "pass"}
            assert "x-tidegate-rails" not in world.engine.asked[0].ask.onward

    run(work())


def test_a_call_without_rails_has_no_header() -> None:
    async def work() -> None:
        async with railed([MASK], policy={"rails": "none"}) as world:
            answer = await world.ask(chat(CANARY))
            assert "x-tidegate-rails" not in answer.headers
            assert world.record.findings == ()

    run(work())


def test_a_request_may_ask_for_a_stricter_profile_only() -> None:
    async def work() -> None:
        strict = {"rails": [{"kind": "rule", "name": "strict"}]}
        loose = {"rails": [{"kind": "rule", "name": "loose", "on_fail": "log"}]}
        async with railed(
            [MASK],
            section={"profiles": {"strict-one": strict, "loose": loose}},
            policy={"stricter_rails": ["strict-one"]},
        ) as world:
            assert (await world.ask(chat())).rails == {"mask": "pass"}
            assert (await world.ask(chat(), "x-tidegate-profile: strict-one")).rails == {"strict": "pass"}
            assert (await world.ask(chat(), "x-tidegate-profile: p")).rails == {"mask": "pass"}
            world.engine.asked.clear()
            for name in ("loose", "none", "nosuch", "", "\u00e9"):
                answer = await world.ask(chat(), f"x-tidegate-profile: {name}")
                assert answer.status == 400
                assert "x-tidegate-profile" in answer.error["message"]
                assert "strict-one" in answer.error["message"]
            assert world.engine.asked == []

    run(work())


@STREAM
def test_metrics_count_verdicts_errors_and_times(stream: bool) -> None:
    async def work() -> None:
        slow = {"kind": "check", "name": "slow", "surfaces": ["input"], "takes_ms": 40}
        fails = {"kind": "rule", "name": "fails", "fails": "raise", "on_error": "open", "surfaces": ["input"]}
        async with railed([MASK, fails, slow]) as world:
            world.engine.says = says("It is", " a bad", "canary.", itl_s=0.5)
            await world.ask(chat(CANARY, stream=stream))
            verdicts = "tidegate_rail_verdicts_total"
            assert world.metric(f'{verdicts}{{action="redact",rail="mask",surface="input"}}') == 1
            assert world.metric(f'{verdicts}{{action="redact",rail="mask",surface="output"}}') == 1
            assert world.metric(f'{verdicts}{{action="log",rail="fails",surface="input"}}') == 1
            assert world.metric(f'{verdicts}{{action="pass",rail="slow",surface="input"}}') == 1
            assert world.metric('tidegate_rail_errors_total{rail="fails"}') == 1
            assert world.metric('tidegate_rail_seconds_sum{rail="slow"}') == pytest.approx(0.04, abs=0.01)
            assert world.metric('tidegate_rails_added_seconds_count{to="ttft"}') == 1
            assert world.metric('tidegate_rails_added_seconds_count{to="itl"}') == stream

    run(work())


def test_added_times_are_those_for_which_text_was_held() -> None:
    async def work() -> None:
        judge = {"kind": "check", "name": "judge", "surfaces": ["output"], "takes_ms": 30}
        async with railed([judge]) as world:
            # The first sentence is complete after a second, and the judge takes its time.
            world.engine.says = says("One.", " Two", " three. ", "Four.", itl_s=0.5)
            await world.ask(chat(stream=True))
            record = world.record
            assert record.added_ttft_s == pytest.approx(0.53, abs=0.02)
            assert record.held_s == pytest.approx(0.53 + 0.53 + 0.53, abs=0.6)

    run(work())


# ------------------------------------------------------------------------------------------------------------ the audit


def everything(world: World, caplog: pytest.LogCaptureFixture) -> str:
    logged = "\n".join(one.getMessage() + (one.exc_text or "") for one in caplog.records)
    return logged + world.gateway.runtime.metrics.render().decode() + repr(world.logged)


@STREAM
def test_the_audit_has_a_line_for_each_rail_and_surface_and_no_text_of_users(
    stream: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "audit.jsonl"
    rails: list[dict[str, Any]] = [
        {"kind": "rule", "name": "log", "on_fail": "log", "finds": "very"},
        {**MASK, "finds": "bad[a-z]{0,20}"},
        {"kind": "check", "name": "judge", "finds": "very", "on_fail": "log", "surfaces": ["output"]},
        {"kind": "rule", "name": "fails", "fails": "raise", "on_error": "open", "surfaces": ["input"]},
    ]

    async def work() -> None:
        async with railed(rails, section={"audit_path": str(path), **KEY}, keys=None or {}) as world:
            world.engine.says = says("A very ", "bad", "canary.")
            await world.ask(chat(f"The very {CANARY}", stream=stream), "x-request-id: mine-1")
            found = lines(path)
            by = {(one["rail"], one["surface"]): one for one in found}
            assert len(by) == len(found)
            assert {place: one["action"] for place, one in by.items()} == {
                ("log", "input"): "log", ("log", "output"): "log", ("mask", "input"): "redact",
                ("mask", "output"): "redact", ("judge", "output"): "log", ("fails", "input"): "log",
            }  # fmt: skip
            assert {one["version"] for one in found} == {"7"}
            assert {one["request"] for one in found} == {"mine-1"}
            assert {one["policy"] for one in found} == {"default"}
            assert {one["model"] for one in found} == {"m"}
            assert by["fails", "input"]["error"] == "raised ValueError"
            assert by["log", "input"]["category"] == "badness"
            assert by["log", "input"]["score"] == 0.75
            assert all(
                re.fullmatch("[0-9a-f]{32}", one["hash"]) for one in found if one["surface"] == "input"
            )
            told = path.read_text() + everything(world, caplog)
            assert "canary" not in told
            assert SECRET not in told

            await world.ask(chat("All is well.", stream=stream))
            assert {one["rail"] for one in lines(path)[len(found) :]} <= {"log", "mask", "judge", "fails"}

    run(work())


def test_hashes_are_equal_for_equal_texts_and_differ_under_another_key(tmp_path: Path) -> None:
    async def hashes(name: str, **key: str) -> list[str]:
        path = tmp_path / name
        async with railed(
            [{"kind": "rule", "surfaces": ["input"]}], section={"audit_path": str(path), **key}
        ) as world:
            for text in (CANARY, CANARY, f"{CANARY}!"):
                await world.ask(chat(text))
            return [one["hash"] for one in lines(path)]

    one, same, other = run(hashes("a", **KEY))
    assert one == same != other
    assert run(hashes("b", **KEY)) == [one, same, other]
    assert run(hashes("c", audit_key="another key of 32 bytes and more")) != [one, same, other]
    own = run(hashes("d"))
    assert own[0] == own[1]
    assert own[0] not in (one, run(hashes("e"))[0])


@pytest.mark.parametrize("on_fail", ["redact", "log", "block"])
def test_what_a_rail_has_found_in_a_stream_has_a_hash(on_fail: str, tmp_path: Path) -> None:
    path = tmp_path / "audit"
    rail = {"kind": "scans", "on_fail": on_fail, "surfaces": ["output"]}

    async def work() -> None:
        async with railed([rail], section={"audit_path": str(path), **KEY}) as world:
            for text in (f"One {CANARY} here.", f"{'Another text. ' * 200}{CANARY}, too", "And baddest"):
                world.engine.says = says(text[:7], text[7:])
                await world.ask(chat("hello", stream=True))

    run(work())
    one, same, other = [line["hash"] for line in lines(path)]
    assert one == same != other
    assert all(len(one) == len(hashed) > 0 for hashed in (same, other))


def test_hashes_of_one_run_stay_comparable_when_the_configuration_is_loaded_again(tmp_path: Path) -> None:
    async def work() -> None:
        audit, path = tmp_path / "audit", tmp_path / "tidegate.json"
        async with railed([{"kind": "rule"}], section={"audit_path": str(audit)}, path=path) as world:
            await world.ask(chat(CANARY))
            path.write_text(path.read_text() + "\n")
            await world.gateway.reload()
            await world.ask(chat(CANARY))
            one, two = [line["hash"] for line in lines(audit)]
            assert one == two

    run(work())


def test_an_audit_that_cannot_be_written_is_told_of_and_breaks_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        section = {"audit_path": str(tmp_path), **KEY}  # a folder
        async with railed([{**MASK, "surfaces": ["input"]}], section=section) as world:
            answer = await world.ask(chat(CANARY))
            assert answer.text == "Good day."
            assert world.metric("tidegate_rail_verdicts_total") == 1

    run(work())
    [told] = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert str(tmp_path) in told.getMessage()


# ------------------------------------------------------------------------------------------------------------- refusals


@STREAM
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, EMBEDDINGS])
@pytest.mark.parametrize("kind", ["rule", "check"])
def test_a_refusal_may_be_an_error(endpoint: str, stream: bool, kind: str) -> None:
    if endpoint == EMBEDDINGS and stream:
        return

    async def work() -> None:
        more = {"stream": True} if stream else {}
        profile = {"refuse_as": "error", "refusal": "Not here."}
        async with railed([{"kind": kind, "name": "it"}], profile=profile) as world:
            answer = await world.ask(request(endpoint, CANARY, **more), path=endpoint)
            assert answer.status == 400
            assert answer.error["code"] == answer.error["type"] == "content_filter"
            assert answer.error["message"] == "Not here. The request was blocked: the rail 'it' (badness)"
            assert world.engine.asked == []
            assert answer.rails == {"it": "block"}
            assert (world.record.outcome, world.record.status) == ("content_filter", 400)

            if endpoint != EMBEDDINGS and not stream:
                world.engine.says = says(CANARY)
                answer = await world.ask(request(endpoint), path=endpoint)
                assert answer.status == 400
                assert answer.error["message"] == "Not here. The answer was blocked: the rail 'it' (badness)"

    run(work())


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_in_a_stream_that_has_begun_the_error_is_an_event(endpoint: str) -> None:
    async def work() -> None:
        rail = {"kind": "scans", "surfaces": ["output"]}
        async with railed([rail], profile={"refuse_as": "error"}) as world:
            world.engine.says = says("All is well, ", "but ", CANARY, " came.")
            answer = await world.ask(request(endpoint, stream=True), path=endpoint)
            assert answer.status == 200
            assert not answer.is_done
            assert answer.events[-1]["error"]["code"] == "content_filter"
            assert answer.text == "All is well, but "
            assert b"canary" not in answer.client.received

    run(work())


@STREAM
def test_words_of_a_refusal_come_in_every_choice(stream: bool) -> None:
    async def work() -> None:
        async with railed([{"kind": "rule"}], profile={"refusal": "Not here."}) as world:
            answer = await world.ask(chat(CANARY, n=2, stream=stream))
            assert answer.texts == {(0, "content"): "Not here.", (1, "content"): "Not here."}
            assert answer.finish == {0: "content_filter", 1: "content_filter"}
            assert answer.is_done

    run(work())


# ----------------------------------------------------------------------------------------------------- what is not known


def odd(ask: Ask) -> Iterable[Step]:
    """An answer with a text at a place that nobody knows."""
    if ask.stream:
        one = event(ask, 0, "hello", "content")
        one["choices"][0]["delta"]["thoughts_of_mine"] = "a text"
        yield one
        yield event(ask, 0, None, "content", finish="stop")
    else:
        yield {"choices": [{"index": 0, "message": {"content": "hello", "thoughts_of_mine": "a text"}}]}


@STREAM
def test_text_at_an_unknown_place_is_refused_under_rails_and_passes_without(stream: bool) -> None:
    async def work(policy: dict[str, Any]) -> None:
        async with railed([MASK], policy=policy) as world:
            free = bool(policy)
            message = {"role": "user", "content": "hi", "my_own_text": "a text"}
            answer = await world.ask(
                json.dumps({"model": "m", "messages": [message], "stream": stream}).encode()
            )
            assert answer.status == (200 if free else 400)
            assert free or "my_own_text" in answer.error["message"]

            ids = json.dumps({"model": "m", "prompt": [1, 2, 3], "stream": stream}).encode()
            answer = await world.ask(ids, path=COMPLETIONS)
            assert answer.status == (200 if free else 400)
            assert free or "prompt" in answer.error["message"]

            world.engine.says = odd
            answer = await world.ask(chat(stream=stream))
            assert answer.status == (200 if free else 502)
            assert (b"a text" in answer.client.received) is free

    run(work({}))
    run(work({"rails": "none"}))
