import msgspec
import pytest

from tidegate.errors import BadRequest
from tidegate.structure.asked import asked, respelled

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TEXT = msgspec.json.encode(SCHEMA).decode()
OPENAI = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA, "strict": True}}


def fields(**said):
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in said.items()}


def plain(raws):
    return {name: msgspec.json.decode(raw) for name, raw in raws.items()}


@pytest.mark.parametrize(
    ("said", "kind", "value"),
    [
        ({"response_format": OPENAI}, "json_schema", SCHEMA),
        ({"response_format": {"type": "json_schema", "schema": SCHEMA}}, "json_schema", SCHEMA),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, "json_schema", SCHEMA),
        ({"response_format": {"type": "json_object"}}, "json_object", None),
        ({"response_format": {"type": "regex", "value": "a+"}}, "regex", "a+"),
        ({"response_format": {"type": "grammar", "grammar": "root ::= x"}}, "grammar", "root ::= x"),
        ({"structured_outputs": {"json": SCHEMA}}, "json_schema", SCHEMA),
        ({"structured_outputs": {"json": TEXT}}, "json_schema", SCHEMA),
        ({"structured_outputs": {"regex": "a+", "json": None, "json_object": False}}, "regex", "a+"),
        ({"structured_outputs": {"choice": ["a", "b"]}}, "choice", ("a", "b")),
        ({"structured_outputs": {"grammar": "root ::= x"}}, "grammar", "root ::= x"),
        ({"structured_outputs": {"json_object": True}}, "json_object", None),
        ({"guided_json": SCHEMA}, "json_schema", SCHEMA),
        ({"guided_regex": "a+"}, "regex", "a+"),
        ({"guided_choice": ["a"]}, "choice", ("a",)),
        ({"guided_grammar": "g"}, "grammar", "g"),
        ({"json_schema": TEXT}, "json_schema", SCHEMA),
        ({"json_schema": SCHEMA}, "json_schema", SCHEMA),
        ({"regex": "a+"}, "regex", "a+"),
        ({"ebnf": "g"}, "grammar", "g"),
        ({"grammar": "g"}, "grammar", "g"),
    ],
)
def test_every_spelling_is_read(said, kind, value):
    shape = asked(fields(**said, temperature=1))
    assert shape.kind == kind
    assert shape.field == next(iter(said))
    assert (shape.schema or shape.pattern or shape.choices or shape.grammar or None) == value


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"response_format": None},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "structural_tag", "structures": []}},
        {"structured_outputs": None},
        {"structured_outputs": {"structural_tag": "{}"}},
        {"guided_json": None, "guided_choice": None, "grammar": "", "json_schema": ""},
    ],
)
def test_no_form_is_demanded(said):
    assert asked(fields(**said)) is None


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": None}}, "response_format.type"),
        ({"response_format": {"type": ["text"]}}, "response_format.type"),
        ({"response_format": {"type": "JSON_SCHEMA"}}, "response_format.type"),
        ({"response_format": {**OPENAI, "type": "json_schem"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "scheme": SCHEMA}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strickt": True}}},
            "response_format.json_schema.strickt",
        ),
        ({"structured_outputs": {"jsn": SCHEMA}}, "structured_outputs.jsn"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"guided_choice": []}, "guided_choice"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "regex"}}, "response_format.regex"),
        ({"structured_outputs": {"json": SCHEMA, "regex": "a"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"choice": [1]}}, "structured_outputs.choice"),
        ({"guided_json": "{"}, "guided_json"),
        ({"json_schema": 5}, "json_schema"),
        ({"regex": 5}, "regex"),
        ({"response_format": OPENAI, "regex": "a"}, "regex"),
        ({"guided_json": {"x": "y" * 300_000}}, "guided_json"),
    ],
)
def test_a_wrong_demand_is_named(said, param):
    with pytest.raises(BadRequest) as caught:
        asked(fields(**said))
    assert caught.value.param == param
    assert f"'{param.split('.')[0]}" in caught.value.message


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"response_format": {"type": "x"}}, ["json_object", "json_schema", "regex", "structural_tag"]),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            ["name", "schema", "strict", "description"],
        ),
        ({"structured_outputs": {"x": 1}}, ["json", "regex", "choice", "grammar"]),
        ({"guided_choice": []}, ["is empty: give at least one choice"]),
    ],
)
def test_the_error_says_what_can_be_sent(said, told):
    with pytest.raises(BadRequest) as caught:
        asked(fields(**said))
    assert all(one in caught.value.message for one in told)


@pytest.mark.parametrize(
    ("said", "spelling", "written"),
    [
        ({"guided_json": SCHEMA}, "vllm", {"structured_outputs": {"json": SCHEMA}}),
        ({"guided_choice": ["a", "b"]}, "vllm", {"structured_outputs": {"choice": ["a", "b"]}}),
        ({"ebnf": "g"}, "vllm", {"structured_outputs": {"grammar": "g"}}),
        ({"response_format": OPENAI}, "vllm", {"response_format": OPENAI}),
        ({"response_format": OPENAI}, "openai", {"response_format": OPENAI}),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            "vllm",
            {"structured_outputs": {"json": SCHEMA}},
        ),
        ({"guided_json": SCHEMA}, "sglang", {"json_schema": TEXT}),
        ({"json_schema": SCHEMA}, "sglang", {"json_schema": TEXT}),
        ({"guided_choice": ["a.", "b"]}, "sglang", {"regex": r"(a\.|b)"}),
        ({"structured_outputs": {"json_object": True}}, "sglang", {"json_schema": '{"type":"object"}'}),
        ({"json_schema": TEXT}, "llamacpp", {"json_schema": SCHEMA}),
        ({"guided_choice": ['a"', "b"]}, "llamacpp", {"grammar": 'root ::= "a\\"" | "b"'}),
        ({"grammar": "g"}, "llamacpp", {"grammar": "g"}),
        ({"guided_regex": "a+"}, "llamacpp", {"grammar": "root ::= ([a]){1,}"}),
        ({"guided_regex": "a+"}, "openai", {}),
        (
            {"json_schema": TEXT},
            "openai",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}},
        ),
    ],
)
def test_a_demand_is_written_in_another_spelling(said, spelling, written):
    asking = fields(**said, temperature=1)
    shape = asked(asking)
    assert plain(respelled(asking, shape, spelling)) == {**written, "temperature": 1}
    if written:
        again = asked(respelled(asking, shape, spelling))
        if again.kind == shape.kind:
            assert (again.schema, again.pattern, again.choices) == (
                shape.schema,
                shape.pattern,
                shape.choices,
            )
