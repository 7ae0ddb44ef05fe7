"""Schemas that would take long, or would make the gateway ask elsewhere, are refused before anything compiles them."""

import socket
import time

import pytest

from tidegate.errors import BadRequest
from tidegate.structure.asked import Shape
from tidegate.structure.checker import checker_of

DEPTH = 200
DOUBLING = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)} | {
    "a40": {"type": "integer"}
}


def nested(depth):
    schema = {"type": "integer"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


def check(schema):
    return checker_of(Shape("json_schema", schema=schema, field="response_format"))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (nested(DEPTH), "deeper than 64 levels"),
        ({"enum": list(range(20_000))}, "more than 5000 values"),
        ({"properties": {f"p{i}": {"pattern": "a"} for i in range(300)}}, "more than 200 patterns"),
        ({"pattern": "a" * 2000}, "more than 1000 characters"),
        ({"pattern": "("}, "cannot be used"),
        ({"pattern": "(((a{1000}){1000}){1000}){1000}"}, "cannot be used"),
        ({"$ref": "https://example.com/schema.json"}, "refers outside of itself"),
        ({"$ref": "http://127.0.0.1:9/x"}, "refers outside of itself"),
        ({"$ref": "file:schema.json"}, "refers outside of itself"),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "refers outside of itself"),
        ({"$schema": "https://example.com/meta"}, "'$schema'"),
        ({"$ref": "#/$defs/none"}, "cannot be used"),
        ({"type": "text"}, "at type"),
        ({"$ref": "#"}, "endlessly"),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, "endlessly"),
        (
            {
                "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
                "$ref": "#/$defs/a",
            },
            "endlessly",
        ),
        ({"$defs": DOUBLING, "$ref": "#/$defs/a0"}, "2000 times"),
    ],
)
def test_a_schema_is_refused(schema, said):
    with pytest.raises(BadRequest) as caught:
        check(schema)
    assert caught.value.param == "response_format"
    assert "response_format" in caught.value.message
    assert said in caught.value.message


def test_no_reference_opens_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema"
        for schema in (
            {"$ref": url},
            {"$schema": url},
            {"$dynamicRef": url},
            {"properties": {"a": {"$ref": f"{url}#a"}}},
        ):
            with pytest.raises(BadRequest):
                check(schema)
        check({"$id": url, "type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}})
        with pytest.raises(TimeoutError):
            server.accept()


def _cpu_s(work):
    began = time.thread_time()
    result = work()
    return result, time.thread_time() - began


def test_a_pattern_that_backtracks_is_read_in_linear_time():
    checker = check({"type": "string", "pattern": "^(a+)+$"})
    wrong, spent = _cpu_s(lambda: checker.errors('"' + "a" * 20_000 + 'b"'))
    assert wrong
    assert spent < 2  # a backtracking engine would need years
    looking = check({"type": "string", "pattern": "^(?=a)(a+)+$"})
    assert "'pattern'" in looking.unsupported
    wrong, spent = _cpu_s(lambda: looking.errors('"' + "a" * 5_000 + 'b"'))
    assert wrong
    assert spent < 2


def test_branches_that_fork_at_each_level_are_checked_in_bounded_time():
    fork = {"$ref": "#/$defs/f"}
    branches = [
        {"type": "array", "items": fork, "prefixItems": [fork]},
        {"type": "array", "items": fork},
        {"const": 1},
    ]
    checker = check({"$defs": {"f": {"anyOf": branches}}, **fork})
    deep = "[" * 150 + "{0}" + "]" * 150
    good, good_s = _cpu_s(lambda: checker.errors(deep.format(1)))
    wrong, wrong_s = _cpu_s(lambda: checker.errors(deep.format(2)))
    assert good == ""
    assert wrong
    assert good_s + wrong_s < 2
    beginning = checker.begin()
    assert beginning.feed("[" * 150 + "1")
    assert not beginning.feed("2")


def test_a_schema_with_very_many_combinations_is_checked_at_the_end():
    properties = {
        f"p{i}": {"anyOf": [{"type": "string", "maxLength": j} for j in range(3)]} for i in range(40)
    }
    many = {"allOf": [{"anyOf": [{"required": [f"p{i}"]}, {"required": [f"p{i + 1}"]}]} for i in range(12)]}
    checker = check({"type": "object", "properties": properties, **many})
    assert "combinations" in checker.unsupported
    assert checker.errors("{}")
    assert checker.begin().feed("{}")


def test_patterns_whose_conjunction_would_take_for_ever_are_left_to_the_end():
    patterns = [{"type": "string", "pattern": f"[a-{chr(98 + i % 20)}]{{{i % 7},40}}.*x"} for i in range(60)]
    checker, spent = _cpu_s(lambda: check({"allOf": patterns}))
    assert "'pattern'" in checker.unsupported
    assert spent < 2


def test_a_deep_answer_is_refused_at_the_same_level_on_the_way_and_at_the_end():
    checker = check({})
    for depth, right in ((200, True), (201, False), (100_000, False)):
        text = "[" * depth + "]" * depth
        assert checker.begin().feed(text) is right
        assert (checker.errors(text) == "") is right


def test_a_long_number_is_refused_on_the_way_and_at_the_end():
    checker = check({"type": "number"})
    for text, right in (("1" * 300, True), ("1" * 500, False), ("1e400", False), ("1e-400", True)):
        beginning = checker.begin()
        assert (beginning.feed(text) and beginning.feed(" ")) is right
        assert (checker.errors(text) == "") is right


def test_the_checks_of_large_schemas_are_not_kept():
    """A client could fill the memory with them."""
    small, large = ({"type": "string", "description": "x" * size} for size in (100, 40_000))
    assert check(small) is check(small)
    assert check(large) is not check(large)
