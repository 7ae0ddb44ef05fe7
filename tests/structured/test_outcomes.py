"""What becomes of an answer whose form the request demands: native, repaired, asked for again, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from railed.world import TOP, USAGE, Answer, Says, Step, World, chat, event, railed, said_by
from virtual import run

from tidegate.types import FAILED, Ask

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
USER = {"role": "user", "content": "Go on."}
GOOD, FENCED, WRONG, PROSE = '{"n": 1}', '```json\n{"n": 1}\n```', '{"n": "one"}', "Sorry, not today!"


def answers(*texts: str, finish: str = "stop", channel: str = "content") -> Says:
    """Say another text each time, a few characters an event; the last one again and again."""
    left = list(texts)

    def steps(ask: Ask) -> Iterable[Step]:
        text = left.pop(0) if len(left) > 1 else left[0]
        yield from spoken(ask, [text], finish, channel)

    return steps


def spoken(ask: Ask, texts: list[str], finish: str = "stop", channel: str = "content") -> Iterable[Step]:
    if not ask.stream:
        choices = [
            {"index": at, "message": {"role": "assistant", **said_by(channel, text)}, "finish_reason": finish}
            for at, text in enumerate(texts)
        ]
        yield {**TOP, "object": "chat.completion", "choices": choices, "usage": USAGE}
        return
    for at, text in enumerate(texts):
        for begin in range(0, len(text), 4):
            yield event(ask, at, text[begin : begin + 4], channel)
        yield event(ask, at, None, channel, finish=finish)


def asked(
    says: Says, *, stream: bool = False, then: Callable[[World, Answer], Any] | None = None, **more: Any
) -> tuple[Answer, World]:
    """Ask for the form, of a model with these settings."""
    settings = more.pop("structure", {})
    models = more.pop("models", None) or {"*": {"deployments": [{"engine": "script"}], "structure": settings}}
    found: list[tuple[Answer, World]] = []

    async def main() -> None:
        async with railed(models=models) as world:
            world.engine.says = says
            body = chat(stream=stream, **(more or {"response_format": FORM}))
            answer = await world.ask(body)
            if then is not None:
                then(world, answer)
            found.append((answer, world))

    run(main())
    return found[0]


def outcome(answer: Answer) -> str:
    return answer.headers.get("x-tidegate-structure", "")


def test_a_valid_answer_passes_byte_for_byte():
    answer, world = asked(answers(GOOD))
    assert (answer.status, outcome(answer), answer.text) == (200, "native", GOOD)
    assert len(world.engine.asked) == 1
    assert world.record.structure == "native"


def test_an_answer_without_a_demand_has_no_header():
    answer, world = asked(answers(PROSE), temperature=0.5)
    assert (answer.status, outcome(answer), answer.text) == (200, "", PROSE)
    assert world.record.structure == ""


def test_an_answer_that_can_be_repaired_is():
    answer, world = asked(answers(FENCED))
    assert (answer.status, outcome(answer), answer.text) == (200, "repaired", GOOD)
    assert len(world.engine.asked) == 1


def test_without_repair_the_engine_is_asked_again():
    answer, world = asked(answers(FENCED, GOOD), structure={"repair": False})
    assert (outcome(answer), answer.text) == ("reasked", GOOD)
    assert len(world.engine.asked) == 2


def test_the_engine_is_asked_again_with_the_error_and_the_house_pays():
    answer, world = asked(answers(WRONG, GOOD))
    assert (answer.status, outcome(answer), answer.text) == (200, "reasked", GOOD)
    first, second = world.engine.asked
    assert [one["role"] for one in second.messages] == ["user", "assistant", "user"]
    assert second.messages[0] == first.messages[0]
    assert second.messages[1]["content"] == WRONG
    assert "demanded form" in second.messages[2]["content"]
    assert [one.purpose for one in world.record.spent] == [FAILED, "answer"]
    assert len([name for name in answer.headers if name == "x-tidegate-route"]) == 1


def test_what_stays_wrong_is_an_error_that_says_what_and_where():
    answer, world = asked(answers(WRONG))
    assert (answer.status, outcome(answer)) == (502, "rejected")
    error = answer.json["error"]
    assert (error["code"], error["param"], error["type"]) == (
        "invalid_structure",
        "response_format",
        "server_error",
    )
    assert "n" in error["message"]
    assert len(world.engine.asked) == 2
    assert [one.purpose for one in world.record.spent] == [FAILED, FAILED]
    assert world.record.structure == "rejected"


@pytest.mark.parametrize("reasks", [0, 3])
def test_the_number_of_times_is_a_setting(reasks: int):
    _, world = asked(answers(WRONG), structure={"reasks": reasks})
    assert len(world.engine.asked) == 1 + reasks


def test_another_deployment_is_asked_in_the_end():
    models = {
        "m": {
            "deployments": [{"engine": "script", "model": "small"}],
            "fallbacks": ["big"],
            "structure": {"reasks": 1},
        },
        "big": {"deployments": [{"engine": "script"}]},
    }

    def says(ask: Ask) -> Iterable[Step]:
        yield from spoken(ask, [GOOD if ask.model == "big" else WRONG])

    answer, world = asked(says, models=models, response_format=FORM)
    assert (answer.status, outcome(answer), answer.text) == (200, "reasked", GOOD)
    assert [one.ask.model for one in world.engine.asked] == ["small", "small", "big"]
    assert len(world.engine.asked[-1].messages) == 1
    assert "model=big" in answer.headers["x-tidegate-route"]


def test_each_choice_is_repaired_by_itself():
    def says(ask: Ask) -> Iterable[Step]:
        yield from spoken(ask, [GOOD, FENCED])

    answer, _ = asked(says, n=2, response_format=FORM)
    assert outcome(answer) == "repaired"
    assert answer.texts == {(0, "content"): GOOD, (1, "content"): GOOD}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("says", "told"),
    [
        (answers(PROSE, channel="refusal"), "refusal"),
        (answers(PROSE[:5], finish="content_filter"), "refusal"),
        (answers('{"n": 1', finish="length"), "length"),
    ],
)
def test_refusals_and_cut_answers_pass_as_they_are(says: Says, told: str, *, stream: bool):
    answer, world = asked(says, stream=stream, structure={"hold": "whole"})
    assert answer.status == 200
    assert world.record.structure == told
    assert len(world.engine.asked) == 1


# ------------------------------------------------------------------------------------------------------------- streams


def test_a_valid_stream_passes_and_its_last_comment_says_so():
    answer, world = asked(answers(GOOD), stream=True)
    assert (answer.text, answer.is_done, world.record.structure) == (GOOD, True, "native")
    assert b": x-tidegate-structure: native\n" in answer.body


def test_an_impossible_beginning_cuts_the_engine_and_ends_in_an_error_event():
    text = '{"m": 1, "n": "' + "9" * 4000
    answer, world = asked(answers(text), stream=True)
    assert answer.status == 200
    assert answer.events[-1]["error"]["code"] == "invalid_structure"
    assert answer.text == '{"m": 1, "n"'
    assert world.engine.asked[0].state == "GeneratorExit"
    assert [one.purpose for one in world.record.spent] == [FAILED]


def test_an_impossible_first_event_is_an_error_with_a_status():
    answer, _ = asked(answers(PROSE), stream=True)
    assert (answer.status, outcome(answer)) == (502, "rejected")


def test_a_stream_whose_end_is_wrong_ends_in_an_error_event_and_not_as_if_it_were_complete():
    answer, _ = asked(answers('{"n": 1'), stream=True)
    assert answer.text == '{"n": 1'
    assert answer.finish == {}
    assert answer.events[-1]["error"]["code"] == "invalid_structure"


def test_in_a_stream_a_wrong_choice_ends_and_the_others_go_on():
    def says(ask: Ask) -> Iterable[Step]:
        yield from spoken(ask, [PROSE, GOOD])

    answer, _ = asked(says, stream=True, n=2, response_format=FORM)
    assert answer.texts == {(1, "content"): GOOD}
    assert answer.finish == {1: "stop"}
    assert "answer 0" in answer.events[-1]["error"]["message"]


@pytest.mark.parametrize(
    ("texts", "told"), [([GOOD], "native"), ([FENCED], "repaired"), ([WRONG, GOOD], "reasked")]
)
def test_a_held_stream_is_repaired_and_asked_for_again(texts: list[str], told: str):
    answer, _ = asked(answers(*texts), stream=True, structure={"hold": "whole"})
    assert (answer.text, answer.is_done, outcome(answer)) == (GOOD, True, told)


def test_a_held_stream_that_stays_wrong_is_an_error_with_a_status():
    answer, _ = asked(answers(WRONG), stream=True, structure={"hold": "whole"})
    assert (answer.status, outcome(answer)) == (502, "rejected")


# ---------------------------------------------------------------------------------------------------------- tool calls


@pytest.mark.parametrize("stream", [False, True])
def test_valid_arguments_pass(*, stream: bool):
    def says(ask: Ask) -> Iterable[Step]:
        yield from called(ask, "add", GOOD)

    answer, world = asked(says, stream=stream, tools=[TOOL])
    assert answer.texts == {(0, "arguments"): GOOD}
    assert world.record.structure == "native"


@pytest.mark.parametrize(("name", "arguments"), [("add", WRONG), ("add", "{"), ("subtract", GOOD)])
def test_wrong_calls_are_asked_for_again(name: str, arguments: str):
    told = [(name, arguments), ("add", GOOD)]

    def says(ask: Ask) -> Iterable[Step]:
        yield from called(ask, *told.pop(0))

    answer, world = asked(says, tools=[TOOL])
    assert outcome(answer) == "reasked"
    assert answer.texts == {(0, "arguments"): GOOD}
    assert world.engine.asked[1].messages[1]["content"] == f"{name}({arguments})"


def test_a_streamed_call_that_is_wrong_ends_in_an_error_event():
    def says(ask: Ask) -> Iterable[Step]:
        yield from called(ask, "add", WRONG)

    answer, _ = asked(says, stream=True, tools=[TOOL])
    assert answer.finish == {}
    assert answer.events[-1]["error"]["code"] == "invalid_structure"
    assert answer.events[-1]["error"]["param"] == "tools"


def test_a_text_needs_no_call():
    answer, world = asked(answers(PROSE), tools=[TOOL])
    assert (answer.text, world.record.structure) == (PROSE, "")


def called(ask: Ask, name: str, arguments: str) -> Iterable[Step]:
    function = {"name": name, "arguments": arguments}
    if not ask.stream:
        calls = [{"id": "c", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        yield {**TOP, "choices": [choice], "usage": USAGE}
        return
    parts = [{"name": name, "arguments": ""}, *({"arguments": one} for one in arguments)]
    for part in parts:
        delta = {"tool_calls": [{"index": 0, "function": part}]}
        yield {**TOP, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**TOP, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}


# ------------------------------------------------------------------------------------------------------------ settings


def test_without_the_check_answers_pass():
    answer, _ = asked(answers(PROSE), structure={"check": False})
    assert (answer.status, answer.text, outcome(answer)) == (200, PROSE, "")


def test_the_outcomes_are_counted():
    def then(world: World, answer: Answer) -> None:
        del answer
        assert world.metric('tidegate_structured_answers_total{model="*",outcome="repaired"}') == 1

    asked(answers(FENCED), then=then)


def test_a_schema_in_two_fields_is_refused():
    answer, world = asked(answers(GOOD), response_format=FORM, guided_json=SCHEMA)
    assert answer.status == 400
    assert "guided_json" in json.dumps(answer.json)
    assert world.engine.asked == []


def test_rules_that_only_the_end_is_checked_for_are_told():
    schema = {**SCHEMA, "not": {"properties": {"n": {"const": 1}}}}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer, _ = asked(answers(GOOD), stream=True, response_format=form)
    assert "not" in answer.headers["x-tidegate-structure-at-end"]
    assert answer.events[-1]["error"]["code"] == "invalid_structure"


def test_the_same_call_again_and_again_is_stopped():
    def says(ask: Ask) -> Iterable[Step]:
        yield from called(ask, "add", GOOD)

    function = {"name": "add", "arguments": GOOD}
    history: list[dict[str, Any]] = []
    for number in range(3):
        call = {"id": f"c{number}", "type": "function", "function": function}
        history += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": "1"},
        ]

    async def main() -> list[Answer]:
        models = {"*": {"deployments": [{"engine": "script"}], "structure": {"most_repeats": 3, "reasks": 0}}}
        async with railed(models=models) as world:
            world.engine.says = says
            bodies = [
                json.dumps({**json.loads(chat(tools=[TOOL])), "messages": messages}).encode()
                for messages in ([USER, *history], [USER, *history[:4]], [*history, USER], [USER, history[1]])
            ]
            return [await world.ask(one) for one in bodies]

    over, within, anew, stray = run(main())
    assert (over.status, over.json["error"]["code"]) == (502, "invalid_structure")
    assert "structure.most_repeats" in over.json["error"]["message"]
    assert "form" not in over.json["error"]["message"]
    assert within.status == anew.status == 200
    assert (stray.status, stray.json["error"]["param"]) == (400, "messages")


def test_a_stream_that_is_cut_says_after_how_much():
    answer, _ = asked(answers(PROSE), stream=True)
    assert b"nothing valid begins with what the engine has said so far (characters: 4)" in answer.body
