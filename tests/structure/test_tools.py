import msgspec
import pytest

from tidegate.errors import BadRequest
from tidegate.structure.tools import ToolCall, calls_of, repeated, stray_results, tools_of

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 7}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def raw(value):
    return msgspec.Raw(msgspec.json.encode(value))


def call(arguments, name="weather", id="c1"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = tools_of({"tools": raw([WEATHER, {"type": "function", "function": {"name": "now"}}])})


@pytest.mark.parametrize(
    ("arguments", "name", "wrong"),
    [
        ('{"city": "Rom"}', "weather", ""),
        ('{"days": 3, "city": "Rom"}', "weather", ""),
        ('{"days": 8, "city": "Rom"}', "weather", "$.days"),
        ('{"days": 3}', "weather", '"city" is a required property'),
        ('{"city": "Rom"', "weather", "not JSON"),
        ("", "weather", '"city" is a required property'),
        ("", "now", ""),
        ("{}", "now", ""),
        ("[]", "now", "$:"),
        ("{}", "delete_all", "No tool is called 'delete_all'; there are: now, weather"),
    ],
)
def test_arguments_follow_the_parameters(arguments, name, wrong):
    found = TOOLS.errors(calls_of([call(arguments, name)]))
    assert wrong in found if wrong else found == ""


def test_arguments_are_checked_as_they_arrive():
    beginning = TOOLS.checker("weather").begin()
    assert beginning.feed('{"days": 3, "ci')
    assert not beginning.feed("v")


def test_no_tools():
    assert tools_of({}) is None
    assert tools_of({"tools": raw([])}) is None
    assert (
        tools_of({"functions": raw([WEATHER["function"]])}).errors([ToolCall("", "weather", '{"city": ""}')])
        == ""
    )


def test_a_schema_of_parameters_that_cannot_be_used_is_named():
    tool = {"type": "function", "function": {"name": "x", "parameters": {"$ref": "http://127.0.0.1:1/x"}}}
    with pytest.raises(BadRequest, match=r"tools\[1\]\.function\.parameters") as caught:
        tools_of({"tools": raw([WEATHER, tool])})
    assert caught.value.param == "tools[1].function.parameters"


def test_what_is_no_call_is_left_out():
    assert calls_of(None) == []
    assert (
        calls_of([1, {}, {"function": {}}, {"type": "custom", "custom": {"name": "x", "input": "y"}}]) == []
    )
    assert calls_of([{"function": {"name": "x", "arguments": {"a": 1}}}]) == [ToolCall("", "x", '{"a":1}')]


def test_a_result_answers_a_call():
    asked = {"role": "assistant", "tool_calls": [call("{}", id="c1"), call("{}", id="c2")]}
    results = [{"role": "tool", "tool_call_id": one, "content": "5"} for one in ("c1", "c2")]
    assert stray_results([raw(one) for one in (asked, *results)]) == ""
    assert stray_results([raw(one) for one in (results[0], asked)]).startswith("'messages[0].tool_call_id'")
    stray = {"role": "tool", "tool_call_id": "c3", "content": "5"}
    assert stray_results([raw(one) for one in (asked, stray)]).startswith("'messages[1].tool_call_id'")
    assert stray_results([raw(one) for one in (asked, {"role": "tool", "content": "5"})])


def test_the_same_call_is_counted_in_any_spelling():
    spellings = [
        '{"city": "Rom", "days": 1}',
        '{"days":1,"city":"Rom"}',
        '{ "days": 1, "city": "\\u0052om" }',
    ]
    before = [raw({"role": "assistant", "tool_calls": [call(one)]}) for one in spellings]
    again = calls_of([call(spellings[0])])
    assert repeated(before, again, 4) == ""
    assert "'weather'" in repeated(before, again, 3)
    assert repeated(before, calls_of([call('{"city": "Bonn"}')]), 3) == ""
    assert repeated([], [*again, *again], 1)
    asked_anew = [*before, raw({"role": "user", "content": "And now?"})]
    assert repeated(asked_anew, again, 1) == ""
