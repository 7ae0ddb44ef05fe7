"""Requests with one idempotency key: one engine call, and the same answer for all of them."""

from __future__ import annotations

import asyncio
import json

import pytest
from in_hand import until
from limited import ANN, BOB
from recalled import KEY, Recalled, answered, how, recalled, without_comments
from talking import chat, said, stream
from virtual import run

TEN = range(10)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_ten_at_once_are_one_engine_call_and_ten_equal_answers(streamed: bool):
    async def main() -> None:
        async with recalled() as world:
            body = (stream if streamed else chat)("ttft=200 itl=50 tokens=20")
            found = await asyncio.gather(*(world.ask(body) for _ in TEN))
            assert [one.status for one in found] == [200] * 10
            assert world.states == ["ok"]
            assert len({without_comments(one.body) for one in found}) == 1
            assert sorted(str(how(one)) for one in found) == ["joined"] * 9 + ["new"]
            if streamed:
                assert len(said(found[0].body).split()) == 20
            again = await world.ask(body)
            assert (how(again), again.status) == ("replayed", 200)
            assert without_comments(again.body) == without_comments(found[0].body)
            assert again.headers["content-type"] == found[0].headers["content-type"]
            assert world.states == ["ok"]

    run(main())


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_clients_join_at_any_time_of_an_answer(streamed: bool):
    async def main() -> None:
        async with recalled() as world:
            body = (stream if streamed else chat)("ttft=500 itl=100 tokens=20")
            sent = []
            for _ in range(30):
                sent.append(world.send(body))
                await asyncio.sleep(0.1)
            found = [await answered(one) for one in sent]
            assert len({without_comments(one.body) for one in found}) == 1
            assert {how(one) for one in found} == {"new", "joined", "replayed"}
            assert world.states == ["ok"]

    run(main())


@pytest.mark.parametrize("leavers", [[0], [0, 1, 2], [3], [9], [0, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8]])
def test_whoever_leaves_at_half_does_not_hurt_the_others(leavers: list[int]):
    async def main() -> None:
        async with recalled() as world:
            sent = [world.send(stream("ttft=100 itl=100 tokens=20")) for _ in TEN]
            await until(lambda: b"data: " in sent[0].received, "the first event")
            await asyncio.sleep(1)
            for at in leavers:
                sent[at].wire.abort()
                await asyncio.sleep(0.05)
            rest = [await answered(one) for at, one in enumerate(sent) if at not in leavers]
            assert {len(said(one.body).split()) for one in rest} == {20}
            assert len({without_comments(one.body) for one in rest}) == 1
            assert world.states == ["ok"]

    run(main())


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15, 1.0])
def test_when_all_leave_the_engine_is_freed_and_the_next_one_begins_anew(after_s: float):
    async def main() -> None:
        async with recalled() as world:
            body = stream("ttft=100 itl=100 tokens=20")
            sent = [world.send(body) for _ in TEN]
            await until(lambda: bool(world.asked), "the engine call")
            await asyncio.sleep(after_s)
            for one in sent[:-1]:
                one.wire.abort()
            await asyncio.sleep(0.01)
            assert world.states == ["running"]
            sent[-1].wire.abort()
            await until(lambda: world.states != ["running"], "the end of the stream")
            assert world.states[0] in ("GeneratorExit", "CancelledError")
            assert (len(world.answers), world.answers.held_bytes) == (0, 0)
            found = await world.ask(body)
            assert (how(found), len(said(found.body).split())) == ("new", 20)

    run(main())


def test_after_its_time_an_answer_is_made_anew():
    async def main() -> None:
        async with recalled(sections={"idempotency": {"ttl_s": 100}}) as world:
            first = await world.ask(chat("tokens=3"))
            for wait_s, expected in [
                (99, "replayed"),
                (0.5, "replayed"),
                (1, "new"),
                (99, "replayed"),
                (2, "new"),
            ]:
                await asyncio.sleep(wait_s)
                found = await world.ask(chat("tokens=3"))
                assert how(found) == expected
                assert found.json["choices"] == first.json["choices"]
            assert world.states == ["ok"] * 3

    run(main())


def test_without_a_time_only_those_who_come_together_get_one_answer():
    async def main() -> None:
        async with recalled(sections={"idempotency": {"ttl_s": 0}}) as world:
            together = await asyncio.gather(*(world.ask(chat("ttft=100")) for _ in range(3)))
            assert sorted(str(how(one)) for one in together) == ["joined", "joined", "new"]
            assert how(await world.ask(chat("ttft=100"))) == "new"
            assert world.states == ["ok"] * 2

    run(main())


OTHERS: dict[str, tuple[bytes, bytes]] = {
    "text": (chat("tokens=3"), chat("tokens=4")),
    "streamed": (chat("tokens=3"), stream("tokens=3")),
    "whole": (stream("tokens=3"), chat("tokens=3")),
    "one field more": (chat("tokens=3"), chat("tokens=3", seed=1)),
    "one field less": (chat("tokens=3", seed=1), chat("tokens=3")),
    "another value": (chat("tokens=3", temperature=0), chat("tokens=3", temperature=1)),
    "another model": (chat("tokens=3"), chat("tokens=3").replace(b'"m"', b'"n"')),
    "a length": (chat("tokens=3", max_tokens=16), chat("tokens=3", max_tokens=17)),
    "the length of the policy, by name": (chat("tokens=3"), chat("tokens=3", max_tokens=99)),
    "large": (chat("tokens=3", user="u" * 400_000), chat("tokens=3", user="u" * 399_999 + "v")),
}


@pytest.mark.parametrize("bodies", OTHERS.values(), ids=OTHERS.keys())
def test_a_key_with_another_body_is_refused(bodies: tuple[bytes, bytes]):
    async def main() -> None:
        async with recalled(policy={"defaults": {"max_tokens": 99}}) as world:
            first = asyncio.create_task(world.ask(bodies[0]))
            await until(lambda: bool(world.asked), "the engine call")
            for _ in range(2):  # in flight, and kept
                found = await world.ask(bodies[1])
                assert (found.status, found.error["code"]) == (422, "idempotency_key_reused")
                assert "'Idempotency-Key'" in found.error["message"]
                assert found.headers["x-should-retry"] == "false"
                assert how(found) is None
                assert (await first).status == 200
            assert how(await world.ask(bodies[0])) == "replayed"
            assert len(world.asked) == 1

    run(main())


def test_the_order_of_fields_makes_no_other_body():
    async def main() -> None:
        async with recalled() as world:
            body = json.loads(chat("tokens=3", seed=1))
            await world.ask(json.dumps(body).encode())
            turned = json.dumps(dict(reversed(body.items()))).encode()
            assert how(await world.ask(turned)) == "replayed"

    run(main())


def test_a_length_that_the_policy_sets_belongs_to_no_body():
    async def main() -> None:
        sections = {"idempotency": {"ttl_s": 100}}
        async with recalled(policy={"defaults": {"max_tokens": 99}}, sections=sections) as world:
            assert how(await world.ask(chat("tokens=3"))) == "new"
            config = world.gateway.snapshot.config
            policy = config.policies["default"]
            defaults = policy.defaults.model_copy(update={"max_tokens": 50})
            changed = {"default": policy.model_copy(update={"defaults": defaults})}
            following = await world.gateway.prepare(config.model_copy(update={"policies": changed}))
            world.gateway.put_in_force(following)
            assert how(await world.ask(chat("tokens=3"))) == "replayed"

    run(main())


def test_callers_are_apart():
    async def main() -> None:
        async with recalled() as world:
            found = await asyncio.gather(
                *(world.ask(chat("ttft=50"), KEY, who) for who in (ANN, BOB, ANN, BOB))
            )
            assert sorted(str(how(one)) for one in found) == ["joined", "joined", "new", "new"]
            other = await world.ask(chat("tokens=9"), "another", BOB)
            assert (other.status, how(other)) == (200, "new")
            assert len(world.asked) == 3

    run(main())


def test_callers_without_a_key_are_one_caller():
    async def main() -> None:
        async with recalled(sections={"keys": {}, "auth": {"mode": "none"}}) as world:
            found = await asyncio.gather(*(world.ask(chat("ttft=50"), KEY, who) for who in (ANN, BOB)))
            assert sorted(str(how(one)) for one in found) == ["joined", "new"]

    run(main())


@pytest.mark.parametrize(
    "value",
    ["", " ", "a b", "x" * 256, "x" * 4000, "\u00e4", "a\tb", "\u2014", '"a b"'],
)
def test_an_odd_key_is_refused_by_name(value: str):
    async def main() -> None:
        async with recalled() as world:
            found = await world.ask(chat(), value)
            assert (found.status, found.error["code"]) == (400, "invalid_request")
            assert "'Idempotency-Key'" in found.error["message"]
            assert world.asked == []

    run(main())


@pytest.mark.parametrize("value", ["a", "x" * 255, '"quoted"', "a:b/c=d", "!~", "42"])
def test_other_keys_are_taken(value: str):
    async def main() -> None:
        async with recalled() as world:
            assert how(await world.ask(chat(), value)) == "new"
            assert how(await world.ask(chat(), value)) == "replayed"

    run(main())


def test_without_the_header_nothing_is_kept():
    async def main() -> None:
        async with recalled() as world:
            found = await asyncio.gather(*(world.ask(chat("ttft=50"), None) for _ in range(3)))
            assert {how(one) for one in found} == {None}
            assert (len(world.asked), len(world.answers)) == (3, 0)

    run(main())


FAILURES = {
    "error": ("fault=error_status status=500", 502),
    "refused": ("fault=error_status status=400", 400),
    "busy": ("fault=error_status status=429", 503),
    "before the first byte": ("ttft=50 fault=reset@0", 502),
    "late": ("ttft=50 itl=50 tokens=9 fault=reset@5", 502),
    "stalled": ("ttft=50 itl=50 tokens=9 fault=stall@5", 504),
}


@pytest.mark.parametrize(("marker", "status"), FAILURES.values(), ids=FAILURES.keys())
def test_all_get_the_error_and_the_next_one_tries_anew(marker: str, status: int):
    async def main() -> None:
        async with recalled() as world:
            body = chat(marker)
            found = await asyncio.gather(*(world.ask(body) for _ in range(3)))
            assert {one.status for one in found} == {status}
            assert len({one.body for one in found}) == 1
            assert len(world.answers) == 0
            assert world.answers.held_bytes == 0
            before = len(world.asked)
            assert how(await world.ask(body)) == "new"
            assert len(world.asked) > before

    run(main())


def test_a_stream_that_breaks_off_breaks_off_for_all():
    async def main() -> None:
        async with recalled() as world:
            body = stream("ttft=50 itl=50 tokens=9 fault=reset@5")
            found = await asyncio.gather(*(world.ask(body) for _ in range(3)))
            assert {one.status for one in found} == {200}
            assert len({without_comments(one.body) for one in found}) == 1
            assert b"engine_error" in found[0].body
            assert b"[DONE]" not in found[0].body
            assert how(await world.ask(body)) == "new"

    run(main())


def test_each_client_has_its_own_deadline():
    async def main() -> None:
        async with recalled() as world:
            body = chat("ttft=3000")
            hasty = [f"x-tidegate-deadline-ms: {ms}" for ms in (500, 1000, 2000)]
            sent = [world.ask(body, KEY, ANN, one) for one in hasty]
            *late, last = await asyncio.gather(*sent, world.ask(body))
            assert [one.status for one in late] == [504] * 3
            assert (last.status, how(last)) == (200, "joined")
            assert world.states == ["ok"]

    run(main())


def test_a_client_that_is_alone_with_its_deadline_frees_the_engine():
    async def main() -> None:
        async with recalled() as world:
            found = await world.ask(chat("ttft=3000"), KEY, ANN, "x-tidegate-deadline-ms: 500")
            assert (found.status, found.error["code"]) == (504, "deadline_exceeded")
            assert world.states != ["running"]
            assert world.world.now < 1

    run(main())


@pytest.mark.parametrize("slow", [[0], [1], [0, 1]])
def test_a_client_that_reads_slowly_holds_up_nobody(slow: list[int]):
    async def main() -> None:
        async with recalled() as world:
            sent = [world.send(stream("ttft=10 itl=1 tokens=2000")) for _ in range(3)]
            for at in slow:
                sent[at].wire.takes = False
            fast = [await answered(one) for at, one in enumerate(sent) if at not in slow]
            assert {len(said(one.body).split()) for one in fast} == {2000}
            assert world.states == ["ok"]
            for at in slow:
                assert sent[at].wire.closed_at is None
                while sent[at].wire.closed_at is None:
                    sent[at].wire.take(65536)
                    await asyncio.sleep(0.01)
            found = [await answered(one) for one in sent]
            assert len({without_comments(one.body) for one in found}) == 1

    run(main())


def test_an_answer_that_is_too_long_arrives_and_cannot_be_joined():
    async def main() -> None:
        async with recalled(sections={"idempotency": {"max_answer_bytes": 50_000}}) as world:
            body = stream("ttft=10 itl=10 tokens=300")
            sent = [world.send(body) for _ in range(3)]
            await asyncio.sleep(1.5)
            late = await world.ask(body)
            assert (late.status, late.error["code"]) == (409, "conflict")
            assert "'Idempotency-Key'" in late.error["message"]
            found = [await answered(one) for one in sent]
            assert {len(said(one.body).split()) for one in found} == {300}
            assert (world.states, len(world.answers), world.answers.held_bytes) == (["ok"], 0, 0)
            assert how(await world.ask(body)) == "new"

    run(main())


def test_behind_a_client_that_does_not_read_a_long_answer_waits_at_the_engine():
    async def main() -> None:
        async with recalled(sections={"idempotency": {"max_answer_bytes": 50_000}}) as world:
            body = stream("itl=1 tokens=5000")
            sent = world.send(body)
            sent.wire.takes = False
            await asyncio.sleep(30)
            assert world.states == ["running"]
            assert world.answers.held_bytes < 150_000
            while sent.wire.closed_at is None:
                sent.wire.take(65536)
                await asyncio.sleep(0.01)
            assert len(said((await answered(sent)).body).split()) == 5000

    run(main())


def test_a_reload_in_between_changes_nothing():
    async def main() -> None:
        async with recalled() as world:
            body = stream("ttft=100 itl=100 tokens=20")
            sent = [world.send(body)]
            await asyncio.sleep(1)
            old, config = world.gateway.snapshot, world.gateway.snapshot.config
            engines = {"other": config.engines["script"]}
            models = {
                "*": config.models["*"].model_copy(
                    update={
                        "deployments": (
                            config.models["*"].deployments[0].model_copy(update={"engine": "other"}),
                        )
                    }
                )
            }
            changed = config.model_copy(update={"engines": engines, "models": models})
            world.gateway.put_in_force(await world.gateway.prepare(changed))
            sent += [world.send(body), world.send(body)]
            await asyncio.sleep(0.2)
            sent[0].wire.abort()
            found = [await answered(one) for one in sent[1:]]
            assert {len(said(one.body).split()) for one in found} == {20}
            assert world.states == ["ok"]
            await until(lambda: old.calls == 0, "the end of the old snapshot")
            assert how(await world.ask(body)) == "replayed"

    run(main())


def test_a_model_that_is_no_longer_allowed_is_not_replayed():
    async def main() -> None:
        async with recalled() as world:
            assert how(await world.ask(chat("tokens=3"))) == "new"
            config = world.gateway.snapshot.config
            narrow = {"default": config.policies["default"].model_copy(update={"models": ("n",)})}
            world.gateway.put_in_force(
                await world.gateway.prepare(config.model_copy(update={"policies": narrow}))
            )
            found = await world.ask(chat("tokens=3"))
            assert (found.status, found.error["code"]) == (404, "model_not_found")

    run(main())


LIMITS = {"requests_per_day": 100, "tokens_per_day": 100_000}


def used(world: Recalled) -> tuple[int, int]:
    found = world.world.used()
    return found.get("key requests_per_day", 0), found.get("key tokens_per_day", 0)


def test_a_replay_costs_one_request_and_no_tokens():
    async def main() -> None:
        async with recalled(LIMITS) as world:
            await world.ask(chat("tokens=20"), None)
            requests, tokens = used(world)
            assert requests == 1
            assert tokens > 20
            for times in range(2, 6):
                await world.ask(chat("tokens=20"))
                assert used(world) == (times, 2 * tokens)

    run(main())


@pytest.mark.parametrize("leavers", [[], [0], [0, 1], [2], [0, 2]])
def test_those_who_join_pay_for_one_answer_together(leavers: list[int]):
    async def main() -> None:
        async with recalled(LIMITS) as world:
            body = stream("ttft=100 itl=100 tokens=20")
            await world.ask(body, None)
            _, tokens = used(world)
            sent = [world.send(body) for _ in range(4)]
            await asyncio.sleep(1)
            for at in leavers:
                sent[at].wire.abort()
                await asyncio.sleep(0.1)
            assert len(said((await answered(sent[3])).body).split()) == 20
            await asyncio.sleep(0.1)
            assert used(world) == (5, 2 * tokens)

    run(main())


def test_when_all_leave_what_has_arrived_is_charged_once():
    async def main() -> None:
        async with recalled(LIMITS) as world:
            alone = world.send(stream("ttft=100 itl=100 tokens=20"), None)
            await asyncio.sleep(1)
            alone.wire.abort()
            await asyncio.sleep(0.1)
            _, tokens = used(world)
            assert tokens
            sent = [world.send(stream("ttft=100 itl=100 tokens=20")) for _ in range(3)]
            await asyncio.sleep(1)
            for one in sent:
                one.wire.abort()
            await asyncio.sleep(0.1)
            assert used(world) == (4, 2 * tokens)

    run(main())


def test_what_is_refused_before_an_engine_costs_nothing():
    async def main() -> None:
        async with recalled(LIMITS, max_in_flight=1, sections={"queue": {"max_size": 1}}) as world:
            busy = [world.send(chat("ttft=60000"), None) for _ in range(2)]
            await asyncio.sleep(1)
            found = await asyncio.gather(*(world.ask(chat("tokens=3")) for _ in range(3)))
            assert {one.status for one in found} == {503}
            for one in busy:
                one.wire.abort()
            await asyncio.sleep(0.1)
            assert used(world)[0] == 1  # for the one that an engine was asked for

    run(main())


def test_a_run_waits_in_the_queue_like_a_clients_call():
    async def main() -> None:
        async with recalled(max_in_flight=1) as world:
            first = world.send(chat("ttft=2000"), None)
            await asyncio.sleep(0.1)
            found = await asyncio.gather(*(world.ask(chat("ttft=100")) for _ in range(3)))
            assert {one.status for one in found} == {200}
            assert all("x-tidegate-queue" in one.headers for one in found)
            assert (await answered(first)).status == 200
            assert world.states == ["ok"] * 2

    run(main())


def test_a_silent_engine_keeps_all_its_streams_alive():
    async def main() -> None:
        async with recalled(server={"sse_keep_alive_s": 2}) as world:
            body = stream("ttft=8500 tokens=3")
            sent = [world.send(body)]
            await asyncio.sleep(3)
            sent.append(world.send(body))
            found = [await answered(one) for one in sent]
            assert [one.body.count(b": keep-alive") for one in found] == [4, 2]
            assert {len(said(one.body).split()) for one in found} == {3}
            assert [how(one) for one in found] == ["new", "joined"]

    run(main())
