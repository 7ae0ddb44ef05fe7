"""What the stage `limit` reserves, charges and tells: a gateway with a scripted engine, on the clock of the test."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from in_hand import gateway_in_hand, until
from limited import ANN, BOB, KEYS, Answered, Limited, limited, sections, tree
from talking import chat, said, stream
from virtual import run

# -------------------------------------------------------------------------------------------------------------- refusals


def test_a_call_over_the_limit_is_refused_until_it_fits() -> None:
    async def scene() -> None:
        async with limited({"requests_per_minute": 60, "burst_requests": 2}) as one:
            assert [(await one.ask(chat())).status for _ in range(2)] == [200, 200]
            refused = await one.ask(chat())
            assert refused.status == 429
            assert refused.error["code"] == "rate_limit_exceeded"
            assert refused.error["param"] == "key.requests_per_minute"
            wait_ms = int(refused.headers["retry-after-ms"])
            assert 900 < wait_ms <= 1100
            assert refused.headers["retry-after"] in ("1", "2")
            assert (await one.ask(chat(), BOB)).status == 200  # who has the limit for himself
            await asyncio.sleep(wait_ms / 1000)
            assert (await one.ask(chat())).status == 200

    run(scene())


def test_waiting_cannot_help_against_the_limit_of_a_day_or_a_call_that_never_fits() -> None:
    async def scene() -> None:
        async with limited({"requests_per_day": 1, "tokens_per_minute": 100}) as one:
            never = await one.ask(chat(max_tokens=1000))
            assert never.status == 400
            assert never.headers["x-should-retry"] == "false"
            assert "100" in never.error["message"]
            assert "1000" not in never.error["message"]  # it needs those of the prompt too
            assert (await one.ask(chat())).status == 200
            refused = await one.ask(chat())
            assert refused.status == 429
            assert refused.headers["x-should-retry"] == "false"
            assert int(refused.headers["retry-after"]) > 60

    run(scene())


def test_a_call_without_max_tokens_is_never_refused_for_good_because_of_the_estimate() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_minute": 200}) as one:
            assert (await one.ask(chat())).status == 200

    run(scene())


# ------------------------------------------------------------------------------------------------------------ what is told


def test_every_reply_to_a_known_caller_tells_what_remains() -> None:
    async def scene() -> None:
        limits = {"requests_per_minute": 6, "burst_requests": 3, "tokens_per_minute": 60_000}
        async with limited(limits) as one:
            whole = await one.ask(chat(max_tokens=10))
            assert whole.headers["x-ratelimit-limit-requests"] == "6"
            assert whole.headers["x-ratelimit-remaining-requests"] == "2"
            assert whole.headers["x-ratelimit-reset-requests"] == "10s"
            assert whole.headers["x-ratelimit-limit-tokens"] == "60000"
            assert int(whole.headers["x-ratelimit-remaining-tokens"]) < 6000
            assert whole.headers["ratelimit-policy"] == (
                '"key.requests_per_minute";q=6;w=60;qu="requests", '
                '"key.tokens_per_minute";q=60000;w=60;qu="tokens"'
            )
            assert whole.headers["ratelimit"].startswith('"key.requests_per_minute";r=2;t=10, ')
            answers = {
                "a stream": await one.ask(stream(max_tokens=10)),
                "a wrong field": await one.ask(chat(n="x")),
                "a wrong body": await one.ask(b"{"),
                "a field that the engine lacks": await one.ask(chat(guided=1)),
                "an error of the engine": await one.ask(chat("fault=error_status status=500")),
                "no room": await one.ask(chat()),
            }
            assert {name: answer.status for name, answer in answers.items()} == {
                "a stream": 200,
                "a wrong field": 400,
                "a wrong body": 400,
                "a field that the engine lacks": 400,
                "an error of the engine": 502,
                "no room": 429,
            }
            for name, answer in answers.items():
                assert answer.headers["x-ratelimit-limit-requests"] == "6", name
                assert answer.headers["ratelimit"], name

    run(scene())


def test_a_list_of_models_tells_it_too() -> None:
    async def scene() -> None:
        async with limited({"requests_per_minute": 60}) as one:
            client = one.in_hand.connect()
            client.send(
                f"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ANN}\r\n"
                "connection: close\r\n\r\n".encode()
            )
            await until(lambda: client.wire.closed_at is not None, "the answer")
            answer = Answered(client)
            assert answer.status == 200
            assert answer.headers["x-ratelimit-remaining-requests"] == "6"
            assert one.used() == {"key requests_per_minute": 0}

    run(scene())


def test_nothing_is_told_without_limits_or_without_a_valid_key() -> None:
    async def scene() -> None:
        async with limited() as one:
            assert not [name for name in (await one.ask(chat())).headers if "ratelimit" in name]
        async with limited({"requests_per_minute": 60}) as one:
            stranger = await one.ask(chat(), "a-key-that-nobody-has")
            assert stranger.status == 401
            assert not [name for name in stranger.headers if "ratelimit" in name]

    run(scene())


# -------------------------------------------------------------------------------------------------------- what is charged


@pytest.mark.parametrize(
    "body",
    [
        chat("prompt_tokens=7", max_tokens=500),
        chat("prompt_tokens=7"),
        stream("prompt_tokens=7", max_tokens=500),
        stream("prompt_tokens=7"),
    ],
)
def test_what_the_engine_reports_is_charged(body: bytes) -> None:
    async def scene() -> None:
        async with limited({"requests_per_day": 100, "tokens_per_day": 10_000}) as one:
            whole = (await one.ask(chat("prompt_tokens=7"))).json["usage"]
            before = one.used()["key tokens_per_day"]
            assert before == whole["prompt_tokens"] + whole["completion_tokens"]
            await one.ask(body)
            assert one.used() == {"key requests_per_day": 2, "key tokens_per_day": 2 * before}

    run(scene())


def test_a_stream_has_its_token_counts_only_if_the_client_asks() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_day": 10_000}) as one:
            plain = await one.ask(stream())
            assert b'"usage":{' not in plain.body
            asked = await one.ask(stream(stream_options={"include_usage": True}))
            assert b'"usage":{' in asked.body
            refused = await one.ask(stream(stream_options={"include_usage": False}))
            assert said(refused.body) == said(plain.body)

    run(scene())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (chat(model="nothing/like/it"), 404),
        (chat(guided=1), 400),
        (chat("fault=error_status status=500"), 502),
        (chat("fault=error_status status=429"), 503),
    ],
)
def test_a_call_that_got_nothing_costs_no_tokens(body: bytes, status: int) -> None:
    async def scene() -> None:
        models = {"models": {"m": {"deployments": [{"engine": "script"}]}}}
        async with limited({"requests_per_day": 100, "tokens_per_day": 10_000}, sections=models) as one:
            assert (await one.ask(body)).status == status
            used = one.used()
            assert used.get("key tokens_per_day", 0) == 0
            # The call itself is counted only if an engine was asked.
            assert used.get("key requests_per_day", 0) == (1 if status >= 500 else 0)

    run(scene())


def test_a_client_that_leaves_pays_for_what_has_arrived() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_day": 10_000, "concurrent_calls": 5}) as one:
            client = one.send(stream("tokens=1000 itl=100", max_tokens=1000))
            await until(lambda: client.received.count(b"data: ") >= 50, "some events")
            assert one.used()["key tokens_per_day"] >= 1000
            client.wire.abort()
            await until(lambda: one.used()["key concurrent_calls"] == 0, "the end of the call")
            prompt = 12
            assert 50 <= one.used()["key tokens_per_day"] <= 50 + prompt + 50

    run(scene())


def test_a_client_that_leaves_before_the_first_token_pays_for_its_prompt() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_day": 10_000, "concurrent_calls": 5}) as one:
            client = one.send(chat("ttft=60000", max_tokens=1000))
            await until(lambda: one.used().get("key concurrent_calls") == 1, "the call")
            await asyncio.sleep(1)
            client.wire.abort()
            await until(lambda: one.used()["key concurrent_calls"] == 0, "the end of the call")
            assert 1 <= one.used()["key tokens_per_day"] <= 40

    run(scene())


# ------------------------------------------------------------------------------------------------------------ every level


def test_a_call_meets_the_limits_of_every_tenant_that_names_a_policy() -> None:
    limits = {level: {"limits": {"requests_per_day": 100}} for level in ("user", "team", "organisation")}
    keys = {**KEYS, "ann": {**KEYS["ann"], "policy": "key"}}
    names = tree(user="user", team="team", organisation="organisation")
    policies = {"policies": {**limits, "key": limits["user"]}, "keys": keys, "organisations": names}

    async def scene() -> None:
        async with limited(sections=policies) as one:
            await one.ask(chat())
            await one.ask(chat(), BOB)
            assert one.used() == {
                "key requests_per_day": 1,
                "user requests_per_day": 1,
                "team requests_per_day": 2,
                "organisation requests_per_day": 2,
            }

    run(scene())


def test_a_refusal_at_one_level_charges_no_other() -> None:
    policies = {
        "policies": {
            "wide": {"limits": {"requests_per_day": 100}},
            "narrow": {"limits": {"requests_per_day": 1}},
        },
        "organisations": tree(user="wide", team="narrow"),
    }

    async def scene() -> None:
        async with limited(sections=policies) as one:
            assert (await one.ask(chat(), BOB)).status == 200
            refused = await one.ask(chat())
            assert refused.error["param"] == "team.requests_per_day"
            assert one.used()["team requests_per_day"] == 1
            assert one.used().get("user requests_per_day", 0) == 0

    run(scene())


def test_limits_of_a_model_of_a_pair_and_of_an_end_user() -> None:
    policy = {
        "limits_by_model": {"big-*": {"requests_per_day": 1}},
        "end_user_limits": {"requests_per_day": 2},
    }
    models = {
        "models": {
            "small": {"deployments": [{"engine": "script"}], "limits": {"requests_per_day": 3}},
            "big-*": {"deployments": [{"engine": "script"}]},
        }
    }

    async def scene() -> None:
        async with limited(policy=policy, sections=models) as one:
            assert (await one.ask(chat(model="big-1"))).status == 200
            assert (await one.ask(chat(model="big-2"))).error["param"] == "key_model.requests_per_day"
            assert (await one.ask(chat(model="big-1"), BOB)).status == 200
            for _ in range(2):
                assert (await one.ask(chat(model="small", user="eve"))).status == 200
            assert (await one.ask(chat(model="small", user="eve"))).error[
                "param"
            ] == "end_user.requests_per_day"
            assert (await one.ask(chat(model="small"), BOB)).status == 200
            assert (await one.ask(chat(model="small", user="mal"))).error["param"] == "model.requests_per_day"

    run(scene())


def test_callers_without_a_key_share_the_limits_of_the_policy_default() -> None:
    async def scene() -> None:
        policies = {"policies": {"default": {"limits": {"requests_per_day": 1}}}}
        async with gateway_in_hand(sections=policies) as gateway:
            one = Limited(gateway)
            assert (await one.ask(chat())).status == 200
            assert (await one.ask(chat())).error["param"] == "policy.requests_per_day"

    run(scene())


# --------------------------------------------------------------------------------------------------------- the other rules


def test_a_policy_can_have_its_calls_wait() -> None:
    async def scene() -> None:
        limits = {"requests_per_minute": 60, "burst_requests": 1}
        async with limited(limits, policy={"on_limit": "wait"}) as one:
            loop, times = asyncio.get_running_loop(), list[float]()
            clients = [one.send(chat()) for _ in range(4)]
            for client in clients:
                await until(lambda client=client: client.wire.closed_at is not None, "an answer in turn")
                times.append(loop.time())
                assert Answered(client).status == 200
            assert [round(later - times[0]) for later in times] == [0, 1, 2, 3]

    run(scene())


def test_a_call_does_not_wait_longer_than_its_deadline() -> None:
    async def scene() -> None:
        limits = {"requests_per_minute": 60, "burst_requests": 1}
        policy = {"on_limit": "wait", "defaults": {"deadline_s": 2.5}}
        async with limited(limits, policy=policy) as one:
            clients = [one.send(chat()) for _ in range(6)]
            await until(lambda: all(client.wire.closed_at is not None for client in clients), "all answers")
            statuses = [Answered(client).status for client in clients]
            assert statuses[:3] == [200, 200, 200]
            assert set(statuses[3:]) <= {429, 504}

    run(scene())


def test_a_call_that_waits_for_quota_has_no_seat() -> None:
    async def scene() -> None:
        async with limited({"concurrent_calls": 1}, policy={"on_limit": "wait"}, max_in_flight=2) as one:
            first = one.send(chat("ttft=5000"))
            await asyncio.sleep(1)
            second = one.send(chat())
            await asyncio.sleep(1)
            [engine] = one.gateway.runtime.engines()
            assert (engine.seats.in_flight, engine.seats.waiting) == (1, 0)
            assert b"quota_waiting 1.0" in await one.gateway.scrape()
            assert (await one.ask(chat("ttft=100"), BOB)).status == 200  # another key does not wait behind it
            await until(lambda: second.wire.closed_at is not None, "its turn")
            assert Answered(first).status == Answered(second).status == 200

    run(scene())


def test_without_enforcement_calls_are_only_counted() -> None:
    async def scene() -> None:
        async with limited({"requests_per_day": 1}, policy={"enforce": False}) as one:
            assert [(await one.ask(chat())).status for _ in range(3)] == [200] * 3
            assert one.used() == {"key requests_per_day": 3}
            page = (await one.gateway.scrape()).decode()
            assert 'quota_over_total{dimension="requests_per_day",level="key"} 2.0' in page

    run(scene())


def test_a_strict_policy_bounds_the_answer_and_says_so() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_minute": 1000}, policy={"strict": True}) as one:
            bounded = await one.ask(chat("tokens=5000"))
            assert bounded.status == 200
            most = int(bounded.headers["x-tidegate-max-tokens"])
            assert bounded.json["usage"]["completion_tokens"] == most < 1000
            assert "x-tidegate-max-tokens" not in (await one.ask(chat(max_tokens=5))).headers

    run(scene())


def test_the_engine_may_count_the_prompt() -> None:
    async def scene(count: str) -> int:
        async with limited({"tokens_per_minute": 90_000}, policy={"count": count}) as one:
            told = await one.ask(chat("prompt_tokens=5000", max_tokens=1))
            return int(told.headers["x-ratelimit-remaining-tokens"])

    assert run(scene("engine")) == 9000 - 5001
    assert run(scene("estimate")) > 8900


def test_refusals_are_counted_without_names() -> None:
    async def scene() -> None:
        async with limited({"requests_per_day": 1}) as one:
            for _ in range(3):
                await one.ask(chat())
            page = (await one.gateway.scrape()).decode()
            assert 'quota_refusals_total{dimension="requests_per_day",level="key"} 2.0' in page
            assert "quota_reservations_total 1.0" in page
            assert "ann" not in "".join(line for line in page.splitlines() if "quota" in line)

    run(scene())


@pytest.mark.parametrize(
    "content",
    ["a few words " * 5000, "語" * 20_000, [{"type": "text", "text": "x"}] * 3000],
    ids=["long", "of many bytes", "of many parts"],
)
def test_a_long_prompt_is_counted_in_a_thread(content: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def count(text: str) -> int:
        threads.append(threading.current_thread().name)
        return len(text) // 4

    async def scene() -> None:
        async with limited({"tokens_per_minute": 10_000_000}) as one:
            monkeypatch.setattr(one.gateway.snapshot.limit.counting, "_count", count)
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()
            assert (await one.ask(body)).status == 200
            assert (await one.ask(chat())).status == 200

    run(scene())
    main = threading.main_thread().name
    assert main not in threads[:-1]
    assert threads[-1] == main


# ------------------------------------------------------------------------------------------- requests that try to get more


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 10**400},
        {"max_tokens": 2**31},
        {"max_completion_tokens": 10**30},
        {"n": 2**40},
        {"n": 10**400},
    ],
)
@pytest.mark.parametrize("enforce", [True, False])
def test_a_length_that_no_engine_can_have_is_refused_by_name(fields: dict[str, int], enforce: bool) -> None:
    async def scene() -> None:
        async with limited({"tokens_per_minute": 100_000}, policy={"enforce": enforce}) as one:
            answer = await one.ask(chat(**fields))
            assert answer.status == 400
            assert answer.error["param"] in fields
            assert (await one.ask(chat())).status == 200
            assert b"tidegate_quota" in await one.gateway.scrape()

    run(scene())


@pytest.mark.parametrize(
    ("policy", "fields", "most"),
    [
        ({"defaults": {"max_tokens": 10}}, {}, 10),
        ({"defaults": {"max_tokens": 10}, "strict": True}, {}, 10),
        ({"defaults": {"max_tokens": 10}}, {"max_tokens": 20}, 20),
        ({"defaults": {"max_tokens": 10}}, {"max_completion_tokens": 20}, 20),
        ({"strict": True}, {"max_completion_tokens": None}, 984),
    ],
)
def test_the_default_length_is_what_is_reserved(policy: Any, fields: dict[str, Any], most: int) -> None:
    async def scene() -> None:
        async with limited({"tokens_per_minute": 1000, "burst_tokens": 1000}, policy=policy) as one:
            answer = await one.ask(chat("tokens=5000 prompt_tokens=7", **fields))
            assert answer.json["usage"]["completion_tokens"] == most
            left = int(answer.headers["x-ratelimit-remaining-tokens"])
            assert 1000 - most - 30 <= left <= 1000 - most

    run(scene())


@pytest.mark.parametrize("value", ["false", "no", "0", 1, 0, None, {}, False])
def test_token_counts_cannot_be_switched_off(value: Any) -> None:
    async def scene() -> None:
        async with limited({"tokens_per_day": 10_000}) as one:
            answer = await one.ask(stream("prompt_tokens=70", stream_options={"include_usage": value}))
            assert answer.status == 200
            assert b'"usage":{' not in answer.body
            assert one.used()["key tokens_per_day"] >= 70

    run(scene())


def test_long_names_are_not_kept() -> None:
    async def scene() -> None:
        limits = {"end_user_limits": {"requests_per_day": 1}}
        async with limited({"requests_per_day": 100}, policy=limits) as one:
            long = "u" * 200_000
            assert (await one.ask(chat(user=long))).status == 200
            refused = await one.ask(chat(user=long))
            assert refused.status == 429
            assert len(refused.body) < 1000
            assert (await one.ask(chat(user=long + "v"))).status == 200
            assert (await one.ask(chat(model="m" * 200_000))).status == 200
            kept = one.gateway.runtime.quotas.limiter.consumption()
            assert max(len(limit.limit.bucket) for limit in kept) < 300

    run(scene())


def test_a_caller_without_the_scope_is_told_its_limits_too() -> None:
    async def scene() -> None:
        tree = sections({"requests_per_minute": 60})
        tree["keys"] = {"ann": {"secret": ANN, "scopes": ["metrics"]}}
        async with gateway_in_hand(sections=tree) as gateway:
            answer = await Limited(gateway).ask(chat())
            assert answer.status == 403
            assert answer.headers["x-ratelimit-limit-requests"] == "60"

    run(scene())
