"""`POST /v1/moderations` by a guard model: its categories and scores, and images that it sees."""

from __future__ import annotations

import asyncio
from typing import Any

from guarded.server import Guard, answers, chat, guard
from guarded.world import GUARD, GuardedWorld, guarded

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TEXT = {"type": "text", "text": "look at this"}
SEES = {"kind": "llama_guard", "model": GUARD, "version": 4}
SECTION = {"moderation": {"omni-moderation-latest": "p"}}


async def moderated(world: GuardedWorld, given: Any) -> Any:
    return await world.ask({"input": given}, path="moderations")


def asked(rail: dict[str, Any], says: Any, given: Any, **more: Any) -> tuple[Any, Guard, GuardedWorld]:
    async def run() -> tuple[Any, Guard, GuardedWorld]:
        with guard(says) as server:
            async with guarded(rail, server, section=SECTION, **more) as world:
                return await moderated(world, given), server, world

    return asyncio.run(run())


def flagged(result: dict[str, Any]) -> list[str]:
    return [name for name, value in result["categories"].items() if value]


def test_a_guard_model_gives_its_categories_and_scores() -> None:
    tops = [{"\n\n": 1.0}, {"unsafe": 0.9, "safe": 0.1}]
    answer, server, world = asked({**SEES, "version": 3}, answers(chat("\n\nunsafe\nS11,S1", tops)), "hello")
    [result] = answer.json["results"]
    assert result["flagged"]
    assert flagged(result) == ["illicit", "illicit/violent", "self-harm", "violence"]
    assert result["category_scores"]["self-harm"] == 0.9
    assert result["category_scores"]["hate"] == 0.0
    assert len(server.bodies) == 1
    [spent] = world.logged[-1].spent
    assert (spent.purpose, spent.engine) == ("judge:llama_guard", GUARD)


def test_what_has_no_place_among_openai_s_categories_is_flagged_without_one() -> None:
    answer, _, _ = asked(SEES, answers(chat("unsafe\nS6")), "hello")
    [result] = answer.json["results"]
    assert result["flagged"]
    assert flagged(result) == []


def test_an_image_and_its_text_are_one_input_and_the_guard_sees_both() -> None:
    answer, server, _ = asked(SEES, answers(chat("unsafe\nS12")), [TEXT, IMAGE])
    [result] = answer.json["results"]
    assert flagged(result) == ["sexual"]
    assert result["category_applied_input_types"]["sexual"] == ["text", "image"]
    assert result["category_applied_input_types"]["hate"] == ["text"]
    [body] = server.bodies
    assert body["messages"] == [{"role": "user", "content": [IMAGE, TEXT]}]


def test_an_image_alone_is_seen() -> None:
    answer, server, _ = asked(SEES, answers(chat("unsafe\nS12")), [IMAGE])
    [result] = answer.json["results"]
    assert flagged(result) == ["sexual"]
    assert result["category_applied_input_types"]["sexual"] == ["image"]
    assert result["category_applied_input_types"]["hate"] == []
    assert IMAGE in server.bodies[0]["messages"][0]["content"]


def test_a_guard_that_sees_no_images_is_never_asked_about_one() -> None:
    answer, server, _ = asked({**SEES, "version": 3}, answers(chat("safe")), [TEXT, IMAGE])
    assert (answer.status, answer.json["error"]["param"]) == (400, "input[1]")
    assert "sees images" in answer.json["error"]["message"]
    assert server.bodies == []


def test_a_guard_that_fails_is_a_503() -> None:
    for says in (answers(chat("I am only a teapot.")), answers({"error": {"message": "busy"}}, status=503)):
        answer, _, _ = asked(SEES, says, ["fine", "hello"])
        assert (answer.status, answer.json["error"]["code"]) == (503, "rail_failed")


def test_texts_get_a_judgement_each_and_equal_ones_share_it() -> None:
    def says(heard: Any) -> Any:
        return answers(chat("unsafe\nS10" if b"hateful" in heard.body else "safe"))(heard)

    answer, server, _ = asked(SEES, says, ["hateful", "fine", "nice"])
    assert [flagged(one) for one in answer.json["results"]] == [["hate"], [], []]
    said = sorted(str(body["messages"][-1]["content"]) for body in server.bodies)
    assert said == ["fine", "hateful", "nice"]


def test_the_rails_of_a_model_need_not_be_those_of_a_policy() -> None:
    policies = {"default": {"rails": "none"}}
    answer, server, _ = asked(SEES, answers(chat("unsafe\nS10")), "hello", policies=policies)
    assert flagged(answer.json["results"][0]) == ["hate"]
    assert len(server.bodies) == 1


def test_the_tokens_of_rails_are_the_caller_s_only_if_the_policy_says_so() -> None:
    secret = "the-key-that-only-calls-012"

    def statuses(**policy: Any) -> list[int]:
        async def run() -> list[int]:
            with guard(answers(chat("safe"))) as server:
                more = {
                    "keys": {"k": {"secret": secret}},
                    "policies": {"default": {"limits": {"tokens_per_day": 300}, **policy}},
                }
                async with guarded(SEES, server, section=SECTION, **more) as world:
                    named = f"authorization: Bearer {secret}"
                    return [
                        (await world.ask({"input": text}, named, path="moderations")).status
                        for text in ("one", "two", "three")
                    ]

        return asyncio.run(run())

    assert statuses() == [200, 200, 200]
    assert statuses(internal_calls="caller") == [200, 200, 429], "a judgement takes 203 tokens"
