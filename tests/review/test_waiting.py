"""Calls that wait for a person, through a whole gateway: what each decision does, and what the deadline does."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from in_hand import InHand, until
from railed.world import Answer, World, answered, chat, railed, request, says
from talking import CHAT, COMPLETIONS
from virtual import run

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
REFUSAL = "I'm sorry, but I can't help with that."
REVIEW: dict[str, Any] = {"kind": "rule", "surfaces": ["output"], "hold": "whole", "on_fail": "review"}
BEARER = "authorization: Bearer reviewer-0123456789abcdef"
JSON = "content-type: application/json"
KEYS = {"ann": {"secret": "reviewer-0123456789abcdef", "scopes": ["inference", "review"]}}


@asynccontextmanager
async def waiting(
    *rails: Mapping[str, Any], review: Mapping[str, Any] | None = None, **more: Any
) -> AsyncGenerator[World]:
    """A gateway with people. Clients wait for an hour."""
    section = {"path": ":memory:", "wait_s": 3000, **(review or {})}
    more.setdefault("server", {"call_deadline_s": 3600})
    async with railed(
        list(rails) or [REVIEW],
        review=section,
        keys=KEYS,
        **more,
    ) as world:
        world.engine.says = says("A bad", "word here.", usage=True)
        yield world


async def admin(world: World, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Ask the admin API."""
    client = world.in_hand.connect()
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    lines = (f"{method} /admin/reviews{path} HTTP/1.1", "host: localhost", "connection: close", BEARER, JSON)
    client.send("\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode() + data)
    await until(lambda: client.wire.closed_at is not None, "the end of the answer")
    body_text = client.received.partition(b"\r\n\r\n")[2]
    if path.startswith("/export"):
        return client.status, [json.loads(line) for line in body_text.splitlines()]
    return client.status, json.loads(body_text)


async def cases(world: World, count: int = 1) -> list[dict[str, Any]]:
    """Wait until there are so many open cases."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        _, page = await admin(world, "")
        found = page["cases"]
    return found


async def decide(world: World, id: str, action: str, **more: str) -> tuple[int, Any]:
    return await admin(world, f"/{id}/decision", {"action": action, **more})


def sent(world: World, *, stream: bool, path: str = CHAT, **more: Any) -> InHand:
    return world.send(request(path, stream=stream, **more), BEARER, path=path)


async def decided(world: World, client: InHand, action: str, **more: str) -> Answer:
    [case] = await cases(world)
    status, _ = await decide(world, case["id"], action, **more)
    assert status == 200
    return await answered(client)


@STREAM
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_an_approved_answer_leaves_as_it_is(stream: bool, path: str) -> None:
    async def work() -> None:
        async with waiting() as world:
            client = sent(world, stream=stream, path=path)
            answer = await decided(world, client, "approve")
            assert answer.status == 200
            assert answer.text == "A badword here."
            assert answer.finish == {0: "stop"}
            assert answer.is_done
            assert answer.rails == {"rule": "review"}
            assert [one.action.word for one in world.record.findings] == ["review"]

    run(work())


@STREAM
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_an_edited_answer_leaves_in_the_form_of_the_answer(stream: bool, path: str) -> None:
    async def work() -> None:
        async with waiting() as world:
            client = sent(world, stream=stream, path=path)
            answer = await decided(world, client, "edit", text="A kind word here.")
            assert answer.text == "A kind word here."
            assert answer.finish == {0: "stop"}
            assert answer.is_done
            assert b"badword" not in client.received

    run(work())


@STREAM
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_rejected_answer_becomes_the_refusal(stream: bool, path: str) -> None:
    async def work() -> None:
        async with waiting() as world:
            client = sent(world, stream=stream, path=path)
            answer = await decided(world, client, "reject", reason="It is rude.")
            assert answer.text == REFUSAL
            assert answer.finish == {0: "content_filter"}
            assert b"badword" not in client.received
            assert b"rude" not in client.received
            assert [one.action.word for one in world.record.findings] == ["block"]

    run(work())


@STREAM
def test_a_call_that_waits_holds_no_seat(stream: bool) -> None:
    async def work() -> None:
        async with waiting(engines={"script": {"kind": "scripted", "max_in_flight": 1}}) as world:
            first = sent(world, stream=stream)
            [case] = await cases(world)
            assert world.gateway.snapshot.engines["script"].seats.in_flight == 0
            assert world.engine.asked[0].state == "ok"
            # The only seat is free for another call.
            world.engine.says = says("Fine.")
            assert (await world.ask(chat(stream=stream), BEARER)).text == "Fine."
            assert first.wire.closed_at is None
            await decide(world, case["id"], "approve")
            assert (await answered(first)).text == "A badword here."

    run(work())


def test_a_client_of_a_stream_gets_keep_alives() -> None:
    async def work() -> None:
        server = {"call_deadline_s": 3600, "sse_keep_alive_s": 2}
        async with waiting(server=server) as world:
            client = sent(world, stream=True)
            await until(lambda: client.received.count(b": keep-alive") >= 3, "keep-alives")
            assert b"badword" not in client.received
            answer = await decided(world, client, "approve")
            assert answer.text == "A badword here."

    run(work())


def test_a_case_says_what_a_person_has_to_know() -> None:
    async def work() -> None:
        async with waiting() as world:
            client = world.send(chat("What do you think?"), BEARER)
            [case] = await cases(world)
            assert case["text"] == "A badword here."
            assert case["question"] == "What do you think?"
            assert (case["rail"], case["category"], case["surface"]) == ("rule", "badness", "output")
            assert (case["policy"], case["profile"], case["model"]) == ("default", "p", "m")
            assert (case["at"], case["place"], case["decision"]) == (0, "content", None)
            assert case["id"].startswith("case_")
            answer = await decided(world, client, "approve")
            assert answer.headers["x-tidegate-review"] == f"{case['id']};approve"
            status, shown = await admin(world, f"/{case['id']}")
            assert status == 200
            assert shown["call_id"] == world.record.id
            assert shown["decision"]["action"] == "approve"
            assert shown["decision"]["by"] == "key:ann"

    run(work())


AT_DEADLINE = [("block", REFUSAL, "block"), ("release", "A badword here.", "review")]


@STREAM
@pytest.mark.parametrize(("policy", "text", "action"), AT_DEADLINE)
def test_the_deadline_decides(stream: bool, policy: str, text: str, action: str) -> None:
    async def work() -> None:
        async with waiting(review={"wait_s": 5, "at_deadline": policy}) as world:
            answer = await world.ask(chat(stream=stream), BEARER)
            assert answer.text == text
            assert world.now >= 5
            assert world.record.findings[-1].action.word == action
            _, page = await admin(world, "?state=all")
            [case] = page["cases"]
            assert (case["decision"]["action"], case["decision"]["by"]) == (policy, "deadline")
            status, error = await decide(world, case["id"], "approve")
            assert status == 409
            assert f"decided before: {policy} by deadline" in error["error"]["message"]
            assert world.metric(f'tidegate_review_decisions_total{{action="{policy}"}}') == 1

    run(work())


@STREAM
def test_a_case_may_stay_open_after_the_deadline(stream: bool) -> None:
    async def work() -> None:
        async with waiting(
            review={"wait_s": 5, "at_deadline": "later", "notice": "Ask for {case}."}
        ) as world:
            answer = await world.ask(chat(stream=stream), BEARER)
            [case] = await cases(world)
            assert answer.text == f"Ask for {case['id']}."
            assert answer.finish == {0: "content_filter"}
            status, shown = await decide(world, case["id"], "edit", text="A kind word.")
            assert (status, shown["decision"]["action"]) == (200, "edit")

    run(work())


def test_the_deadline_of_the_call_holds_as_well() -> None:
    async def work() -> None:
        async with waiting() as world:
            answer = await world.ask(chat(), BEARER, "x-tidegate-deadline-ms: 7000")
            assert answer.text == REFUSAL

    run(work())


@STREAM
def test_the_case_of_a_client_that_leaves_stays_open(stream: bool) -> None:
    async def work() -> None:
        async with waiting() as world:
            client = sent(world, stream=stream)
            [case] = await cases(world)
            client.wire.protocol.connection_lost(None)
            await until(lambda: bool(world.logged), "the end of the call")
            assert world.record.status == 499
            assert [one["id"] for one in await cases(world)] == [case["id"]]
            assert (await decide(world, case["id"], "reject", reason="Rude."))[0] == 200
            _, lines = await admin(world, "/export")
            assert [(one["case"], one["label"], one["reason"]) for one in lines] == [
                (case["id"], "bad", "Rude.")
            ]

    run(work())


def test_only_one_reviewer_decides() -> None:
    async def work() -> None:
        async with waiting() as world:
            client = world.send(chat(), BEARER)
            [case] = await cases(world)
            found = await asyncio.gather(
                decide(world, case["id"], "reject", reason="Rude."),
                decide(world, case["id"], "edit", text="Kind."),
                decide(world, case["id"], "approve"),
            )
            assert sorted(status for status, _ in found) == [200, 409, 409]
            await answered(client)

    run(work())


def test_beyond_the_bound_nobody_is_asked() -> None:
    async def work() -> None:
        async with waiting(review={"most_open": 1}) as world:
            first = world.send(chat(), BEARER)
            [case] = await cases(world)
            refused = await world.ask(chat(), BEARER)
            assert (refused.text, refused.headers["x-tidegate-review"]) == (REFUSAL, "none;full")
            assert world.metric("tidegate_review_full_total") == 1
            await decide(world, case["id"], "approve")
            assert (await answered(first)).text == "A badword here."
            second = world.send(chat(), BEARER)
            await decided(world, second, "approve")

    run(work())


def test_each_text_has_a_case_of_its_own_and_all_of_them_have_to_pass() -> None:
    async def work() -> None:
        async with waiting() as world:
            world.engine.says = says("A badword.", choices=2)
            for stream in (False, True):
                client = sent(world, stream=stream, n=2)
                one, two = await cases(world, 2)
                assert {one["at"], two["at"]} == {0, 1}
                second = two if two["at"] == 1 else one
                first = one if second is two else two
                await decide(world, first["id"], "approve")
                assert client.wire.closed_at is None
                await decide(world, second["id"], "edit", text="Kind.")
                answer = await answered(client)
                assert answer.texts == {(0, "content"): "A badword.", (1, "content"): "Kind."}

    run(work())


def test_the_first_rejection_ends_the_waiting() -> None:
    async def work() -> None:
        async with waiting() as world:
            world.engine.says = says("A badword.", choices=2)
            client = sent(world, stream=False, n=2)
            one, two = await cases(world, 2)
            await decide(world, two["id"], "reject", reason="Rude.")
            assert (await answered(client)).text == REFUSAL
            assert [case["id"] for case in await cases(world)] == [one["id"]]

    run(work())


@STREAM
def test_what_another_rail_blocks_no_person_has_to_see(stream: bool) -> None:
    async def work() -> None:
        blocks = {"kind": "rule", "name": "second", "surfaces": ["output"], "finds": "here"}
        async with waiting(REVIEW, blocks) as world:
            answer = await world.ask(chat(stream=stream), BEARER)
            assert answer.text == REFUSAL
            _, page = await admin(world, "?state=all")
            assert page["cases"] == []

    run(work())


@STREAM
def test_two_rails_that_object_to_one_text_make_one_case(stream: bool) -> None:
    async def work() -> None:
        other = {**REVIEW, "name": "second", "finds": "here"}
        async with waiting(REVIEW, other) as world:
            client = sent(world, stream=stream)
            [case] = await cases(world)
            assert (case["rail"], case["others"]) == ("rule", ["second"])
            assert (await decided(world, client, "approve")).text == "A badword here."

    run(work())


@STREAM
@pytest.mark.parametrize("kind", ["rule", "check"])
def test_a_request_waits_for_a_person(stream: bool, kind: str) -> None:
    async def work() -> None:
        rail = {"kind": kind, "surfaces": ["input"], "on_fail": "review"}
        async with waiting(rail) as world:
            world.engine.says = says("Yes.")
            client = world.send(chat("A badword?", stream=stream), BEARER)
            [case] = await cases(world)
            assert (case["surface"], case["text"]) == ("input", "A badword?")
            assert not world.engine.asked
            assert (await decided(world, client, "edit", text="A word?")).text == "Yes."
            assert world.engine.asked[0].messages == [{"role": "user", "content": "A word?"}]
            client = world.send(chat("A badword?", stream=stream), BEARER)
            assert (await decided(world, client, "approve")).text == "Yes."
            assert world.engine.asked[1].messages == [{"role": "user", "content": "A badword?"}]
            client = world.send(chat("A badword?", stream=stream), BEARER)
            assert (await decided(world, client, "reject", reason="Rude.")).text == REFUSAL
            assert len(world.engine.asked) == 2

    run(work())


@STREAM
def test_after_the_last_round_a_person_decides(stream: bool) -> None:
    async def work() -> None:
        again = {**REVIEW, "on_fail": "regenerate"}
        profile = {"after_rounds": "review", "most_rounds": 2}
        async with waiting(again, profile=profile) as world:
            client = sent(world, stream=stream)
            answer = await decided(world, client, "edit", text="Kind.")
            assert answer.text == "Kind."
            assert len(world.engine.asked) == 3
            assert b"badword" not in client.received

    run(work())


@pytest.mark.parametrize(
    ("action", "more", "outcome"),
    [("approve", {}, "native"), ("edit", {"text": "No JSON."}, "edited"), ("edit", {"text": "{}"}, "edited")],
)
@STREAM
def test_an_edited_answer_is_not_said_to_have_the_demanded_form(
    stream: bool, action: str, more: dict[str, str], outcome: str
) -> None:
    async def work() -> None:
        async with waiting() as world:
            world.engine.says = says('{"to": "a badword"}')
            client = sent(world, stream=stream, response_format={"type": "json_object"})
            answer = await decided(world, client, action, **more)
            assert answer.text == more.get("text", '{"to": "a badword"}')
            said = answer.body.decode() if stream else str(answer.headers)
            assert re.findall(r"x-tidegate-structure\W+(\w+)", said) == [outcome]
            assert world.record.structure == outcome

    run(work())


def test_a_text_in_the_arguments_of_a_tool_call_is_edited_in_its_place() -> None:
    async def work() -> None:
        async with waiting() as world:
            world.engine.says = says('{"to": "a badword"}', channel="arguments")
            for stream in (False, True):
                client = sent(world, stream=stream)
                answer = await decided(world, client, "edit", text='"kind" words')
                assert json.loads(answer.texts[0, "arguments"]) == {"to": '"kind" words'}

    run(work())


def test_refusals_may_be_errors() -> None:
    async def work() -> None:
        async with waiting(profile={"refuse_as": "error"}) as world:
            client = world.send(chat(), BEARER)
            answer = await decided(world, client, "reject", reason="Rude.")
            assert answer.status == 400
            assert answer.json["error"]["code"] == "content_filter"

    run(work())


def test_decisions_are_in_the_audit(tmp_path: Path) -> None:
    async def work() -> None:
        audit = tmp_path / "audit.jsonl"
        async with waiting(section={"audit_path": str(audit)}) as world:
            client = world.send(chat(), BEARER)
            await decided(world, client, "reject", reason="It is rude.")
            lines = [json.loads(line) for line in audit.read_text().splitlines()]
            [line] = [one for one in lines if one["action"] == "reject"]
            assert (line["by"], line["reason"], line["rail"]) == ("key:ann", "It is rude.", "rule")
            assert line["call"] == world.record.id
            assert "badword" not in audit.read_text()

    run(work())


def test_cases_are_counted() -> None:
    async def work() -> None:
        async with waiting() as world:
            client = world.send(chat(), BEARER)
            counts = world.gateway.runtime.review_counts
            await until(lambda: counts.open_cases == 1, "the open case is counted")
            assert world.metric("tidegate_review_open_cases") == 1
            assert world.metric("tidegate_review_waiting") == 1
            await decided(world, client, "approve")
            assert world.metric("tidegate_review_waiting") == 0
            assert world.metric("tidegate_review_cases_total") == 1
            assert world.metric('tidegate_review_decisions_total{action="approve"}') == 1
            assert world.metric("tidegate_review_wait_seconds_count") == 1
            await until(lambda: counts.open_cases == 0, "no case is open")

    run(work())


def test_a_new_case_is_told_to_the_webhook_and_no_call_waits_for_it() -> None:
    async def work() -> None:
        hook = {"url": "http://127.0.0.1:9/hook", "secret": "0123456789abcdef"}
        async with waiting(review={"webhook": hook}) as world:
            client = world.send(chat(), BEARER)
            assert (await decided(world, client, "approve")).text == "A badword here."
            told = world.gateway.runtime.review_counts.told
            while not told["failed"]:  # after two minutes, so it does not look every few milliseconds
                await asyncio.sleep(1)
            assert world.metric('tidegate_review_webhooks_total{outcome="failed"}') == 1

    run(work())


def test_cases_that_cannot_be_stored_keep_the_text_from_leaving() -> None:
    async def work() -> None:
        async with waiting(review={"at_deadline": "release"}) as world:
            desk = world.gateway.snapshot.desk
            assert desk is not None
            await desk.close()
            answer = await world.ask(chat(), BEARER)
            assert answer.status == 503
            assert b"badword" not in answer.client.received

    run(work())


def test_the_lists_are_filtered_and_have_pages() -> None:
    async def work() -> None:
        async with waiting(review={"wait_s": 0, "at_deadline": "later"}) as world:
            for _ in range(3):
                await world.ask(chat(), BEARER)
            _, page = await admin(world, "?limit=2")
            assert [one["number"] for one in page["cases"]] == [1, 2]
            _, rest = await admin(world, f"?limit=2&after={page['next']}")
            assert ([one["number"] for one in rest["cases"]], rest["next"]) == ([3], None)
            for query, count in (
                ("rail=rule", 3),
                ("rail=other", 0),
                ("model=m", 3),
                ("policy=x", 0),
                ("state=decided", 0),
            ):
                _, page = await admin(world, f"?{query}")
                assert len(page["cases"]) == count, query
            status, error = await admin(world, "?state=opne")
            assert (status, error["error"]["param"]) == (400, "state")
            assert "did you mean 'open'" in error["error"]["message"]

    run(work())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"action": "edit"}, "text"),
        ({"action": "edit", "text": ""}, "text"),
        ({"action": "approve", "text": "x"}, "text"),
        ({"action": "reject"}, "reason"),
        ({"action": "reject", "reason": " "}, "reason"),
        ({"action": "release"}, "action"),
        ({"action": "approve", "by": "me"}, "by"),
    ],
)
def test_a_decision_that_is_not_one_is_refused(body: dict[str, str], param: str) -> None:
    async def work() -> None:
        async with waiting() as world:
            status, error = await admin(world, "/case_0/decision", body)
            assert (status, error["error"]["param"]) == (400, param)

    run(work())
