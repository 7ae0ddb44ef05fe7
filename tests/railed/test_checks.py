"""`POST /v1/checks`: what the rails say of texts, without an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from virtual import run

from railed.made import seen
from railed.world import Answer, World, chat, railed

CANARY = "badcanary"
MASK = {"kind": "scans", "name": "mask", "on_fail": "redact"}
BLOCK = {"kind": "rule", "name": "stop", "on_fail": "block"}
LOG = {"kind": "rule", "name": "log", "on_fail": "log"}
SLOW = {"kind": "check", "name": "slow", "on_fail": "block"}
ASKS = {"kind": "rule", "name": "asks", "on_fail": "review", "hold": "whole"}
SLOW_ASKS = {**ASKS, "kind": "check"}
KEYS = {
    "both": {"secret": "the-key-that-may-do-both-01", "scopes": ["checks", "inference"]},
    "checks": {"secret": "the-key-that-only-checks-01", "scopes": ["checks"]},
    "calls": {"secret": "the-key-that-only-calls-012"},
}


async def checked(world: World, *headers: str, key: str = "", **body: Any) -> Answer:
    named = [f"authorization: Bearer {KEYS[key]['secret']}"] if key else []
    return await world.ask(json.dumps(body).encode(), *headers, *named, path="checks")


@pytest.mark.parametrize(
    ("rails", "body", "expected"),
    [
        ([BLOCK], {"input": "hello"}, {"status": "passed", "content": "hello", "rail": None}),
        (
            [MASK],
            {"input": f"a {CANARY} sings"},
            {"status": "modified", "content": "a <BAD> sings", "rail": "mask"},
        ),
        (
            [MASK],
            {"input": ["fine", CANARY]},
            {"status": "modified", "content": ["fine", "<BAD>"], "rail": "mask"},
        ),
        ([LOG], {"input": CANARY}, {"status": "passed", "content": CANARY, "rail": "log"}),
        (
            [BLOCK],
            {"answer": f"a {CANARY}", "input": "what sings?"},
            {"status": "blocked", "content": "I'm sorry, but I can't help with that.", "rail": "stop"},
        ),
        ([SLOW], {"input": CANARY}, {"status": "blocked", "rail": "slow"}),
        ([ASKS], {"input": "hello"}, {"status": "passed", "content": "hello", "rail": None}),
    ],
)
def test_it_says_what_the_rails_make_of_texts(
    rails: list[dict[str, Any]], body: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    async def work() -> None:
        async with railed(rails) as world:
            answer = await checked(world, **body)
            assert answer.status == 200, answer.body
            assert expected.items() <= answer.json.items()
            assert world.engine.asked == []

    run(work())


@pytest.mark.parametrize(
    ("rails", "body", "rail", "actions"),
    [
        ([ASKS], {"input": CANARY}, "asks", ["review"]),
        ([SLOW_ASKS], {"input": CANARY}, "asks", ["review"]),
        ([ASKS], {"input": ["fine", CANARY]}, "asks", ["review"]),
        ([ASKS], {"messages": [{"role": "user", "content": CANARY}]}, "asks", ["review"]),
        ([ASKS], {"input": "fine", "answer": CANARY}, "asks", ["review"]),
        ([ASKS], {"input": CANARY, "answer": "fine"}, "asks", ["review"]),
        ([ASKS, LOG], {"input": CANARY}, "asks", ["review", "log"]),
        ([ASKS, BLOCK], {"input": CANARY}, "stop", ["review", "block"]),
        (
            [ASKS, {**BLOCK, "surfaces": ["output"]}],
            {"input": CANARY, "answer": CANARY},
            "stop",
            ["review", "review", "block"],
        ),
    ],
)
def test_what_a_person_would_decide_about_is_blocked(
    rails: list[dict[str, Any]], body: Mapping[str, Any], rail: str, actions: list[str]
) -> None:
    async def work() -> None:
        async with railed(rails) as world:
            answer = await checked(world, **body)
            told = answer.json
            assert (told["status"], told["rail"]) == ("blocked", rail)
            assert told["content"] == "I'm sorry, but I can't help with that."
            assert "messages" not in told
            assert [one["action"] for one in told["verdicts"]] == actions
            assert CANARY not in json.dumps(told)

    run(work())


def test_verdicts_say_where_and_which_rail() -> None:
    async def work() -> None:
        async with railed([MASK, {**LOG, "finds": "hello"}]) as world:
            messages = [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": f"hello {CANARY}", "name": "ann"},
            ]
            answer = await checked(world, messages=messages, answer=f"hello, {CANARY}")
            assert answer.json["status"] == "modified"
            assert answer.json["content"] == "hello, <BAD>"
            assert answer.json["messages"] == [messages[0], {**messages[1], "content": "hello <BAD>"}]
            told = [
                (one["rail"], one["action"], one["where"], one["surface"]) for one in answer.json["verdicts"]
            ]
            assert told == [
                ("mask", "redact", "messages[1].content", "input"),
                ("log", "log", "messages[1].content", "input"),
                ("mask", "redact", "answer", "output"),
                ("log", "log", "answer", "output"),
            ]
            spans = answer.json["verdicts"][0]["spans"]
            assert [(one["start"], one["end"], one["kind"]) for one in spans] == [(6, 15, "BAD")]
            assert answer.rails == {"mask": "redact", "log": "log"}
            on_answer = [one for one in seen if one.surface == "output"]
            assert {one.scene.question for one in on_answer} <= {"hello <BAD>", f"hello {CANARY}"}

    run(work())


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "input", "nothing to check"),
        ({"input": None}, "input", "nothing to check"),
        ({"input": 1}, "input", "is wrong"),
        ({"input": ["a", 1]}, "input[1]", "is wrong"),
        ({"input": []}, "input", "is empty"),
        ({"messages": []}, "messages", "is empty"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "is missing"),
        ({"input": "a", "messages": [{"role": "user", "content": "a"}]}, "input", "not both"),
        ({"answer": {"text": "a"}}, "answer", "is wrong"),
        ({"inptu": "a"}, "inptu", "did you mean 'input'"),
        ({"input": "a", "model": "m"}, "model", "is not known here"),
        ({"input": "a", "profile": "loose"}, "profile", "send one of tight"),
        ({"input": "a", "profile": 1}, "profile", "is wrong"),
    ],
)
def test_a_wrong_body_is_refused_and_names_the_field(body: Mapping[str, Any], param: str, words: str) -> None:
    async def work() -> None:
        profiles = {"tight": {"rails": [BLOCK]}, "loose": {"rails": []}}
        policy = {"stricter_rails": ["tight"]}
        async with railed([MASK], policy=policy, section={"profiles": profiles}) as world:
            answer = await checked(world, **body)
            assert answer.status == 400
            assert answer.json["error"]["param"] == param
            assert words in answer.json["error"]["message"]

    run(work())


def test_other_methods_and_broken_json_are_refused() -> None:
    async def work() -> None:
        async with railed([MASK]) as world:
            answer = await world.ask(b'{"input": "a"', path="checks")
            assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request")

    run(work())


@pytest.mark.parametrize("by", ["field", "header"])
def test_a_request_may_choose_a_stricter_profile(by: str) -> None:
    async def work() -> None:
        profiles = {"tight": {"rails": [BLOCK]}}
        async with railed(
            [MASK], policy={"stricter_rails": ["tight"]}, section={"profiles": profiles}
        ) as world:
            headers = ["x-tidegate-profile: tight"] if by == "header" else []
            body = {"input": CANARY} | ({"profile": "tight"} if by == "field" else {})
            assert (await checked(world, *headers, **body)).json["status"] == "blocked"
            assert (await checked(world, input=CANARY)).json["status"] == "modified"
            assert (await checked(world, input=CANARY, profile="p")).json["status"] == "modified"

    run(work())


def test_a_policy_without_rails_checks_nothing_and_says_so() -> None:
    async def work() -> None:
        profiles = {"tight": {"rails": [BLOCK]}}
        policy = {"rails": "none", "stricter_rails": ["tight"]}
        async with railed([MASK], policy=policy, section={"profiles": profiles}) as world:
            answer = await checked(world, input=CANARY)
            assert answer.status == 400
            assert "tight" in answer.json["error"]["message"]
            assert (await checked(world, input=CANARY, profile="tight")).json["status"] == "blocked"

    run(work())


@pytest.mark.parametrize(
    ("key", "check", "call"), [("both", 200, 200), ("checks", 200, 403), ("calls", 403, 200), ("", 401, 401)]
)
def test_checks_need_a_scope_of_their_own(key: str, check: int, call: int) -> None:
    async def work() -> None:
        async with railed([MASK], keys=KEYS) as world:
            assert (await checked(world, input="a", key=key)).status == check
            named = [f"authorization: Bearer {KEYS[key]['secret']}"] if key else []
            assert (await world.ask(chat(), *named)).status == call

    run(work())


def test_checks_are_counted_by_the_quota_of_requests_and_of_nothing_else() -> None:
    async def work() -> None:
        limits = {"requests_per_day": 3, "tokens_per_day": 5}
        async with railed([MASK, BLOCK], policy={"limits": limits}, keys=KEYS) as world:
            long = "a word or two " * 50
            for body in ({"input": long}, {"input": CANARY}, {"wrong": 1}):
                await checked(world, key="both", **body)
            third = await checked(world, key="both", answer="fine")
            assert third.status == 200, "a request with a wrong body costs nothing"
            refused = await checked(world, key="both", input="a")
            assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
            assert (
                await world.ask(chat("a"), f"authorization: Bearer {KEYS['both']['secret']}")
            ).status == 429

    run(work())


def test_metrics_and_the_audit_see_checks(tmp_path: Path) -> None:
    async def work() -> None:
        section = {"audit_path": str(tmp_path / "audit.jsonl")}
        async with railed([BLOCK], section=section) as world:
            await checked(world, input=CANARY)
            await checked(world, input="fine")
            assert world.metric('tidegate_requests_total{endpoint="checks"') == 2
            assert world.metric('tidegate_rail_verdicts_total{action="block",rail="stop"') == 1
            lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
            assert [(one["rail"], one["action"], one["surface"]) for one in lines] == [
                ("stop", "block", "input")
            ]

    run(work())


def test_a_large_body_is_read_in_steps_and_checked_whole() -> None:
    async def work() -> None:
        async with railed([MASK]) as world:
            text = "word " * 80_000 + CANARY
            messages = [{"role": "user", "content": text}]
            for body in ({"input": text}, {"input": ["a", text]}, {"messages": messages}, {"answer": text}):
                answer = await checked(world, **body)
                assert answer.status == 200, answer.body[:300]
                assert answer.json["status"] == "modified"
                assert CANARY not in json.dumps(answer.json)

    run(work())
