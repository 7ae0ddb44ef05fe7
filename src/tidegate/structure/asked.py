"""The form that a request demands of its answer, read from and written to the spellings of the engines.

Sources: OpenAI's `response_format` (https://platform.openai.com/docs/guides/structured-outputs), vLLM's
`structured_outputs` and its older `guided_*` (https://docs.vllm.ai/en/latest/features/structured_outputs.html), SGLang's
`json_schema`, `regex` and `ebnf`, llama.cpp's `json_schema` and `grammar` (its tools/server/README.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tidegate.errors import BadRequest
from tidegate.structure.gbnf import gbnf_of

LARGEST_BYTES = 256 * 1024
"""The size of the largest demand, in bytes of JSON."""


class Shape(msgspec.Struct, frozen=True):
    """The form that a request demands.

    `kind` is `json_object`, `json_schema` (with `schema`), `regex` (with `pattern`: the whole answer matches it), `choice`
    (with `choices`: the answer is one of them) or `grammar` (with `grammar`, in the form of GBNF or Lark). `name` is the
    schema's name, and `field` the request's field that demands the form.
    """

    kind: str
    schema: Any = None
    pattern: str = ""
    choices: tuple[str, ...] = ()
    grammar: str = ""
    name: str = ""
    field: str = ""


def asked(fields: Mapping[str, msgspec.Raw]) -> Shape | None:
    """Return the form that the fields of a request demand, or None.

    Raises BadRequest if a field has a wrong type, or if more than one demands a form.
    """
    found: Shape | None = None
    for field, read in _READERS.items():
        raw = fields.get(field)
        if raw is None:
            continue
        if len(memoryview(raw)) > LARGEST_BYTES:
            raise BadRequest(
                f"'{field}' is larger than {LARGEST_BYTES} bytes; send a smaller schema or grammar",
                param=field,
            )
        shape = read(_decoded(raw, field), field)
        if shape is None:
            continue
        if found is not None:
            raise BadRequest(
                f"'{found.field}' and '{field}' both demand a form of the answer; send one of them",
                param=field,
            )
        found = shape
    return found


def respelled(fields: Mapping[str, msgspec.Raw], shape: Shape, spelling: str) -> Mapping[str, msgspec.Raw]:
    """Return the fields with the demand in another spelling: `openai`, `vllm`, `sglang` or `llamacpp`.

    A demand that is in this spelling already stays as it is. One that the spelling has no words for is left out: then only
    the gateway checks it. `openai` has no words for a regex, a choice or a grammar, and `llamacpp` none for some regexes.
    """
    if _is_own(fields[shape.field], shape, spelling):
        return fields
    kept = {name: raw for name, raw in fields.items() if name != shape.field}
    written = {
        name: msgspec.Raw(msgspec.json.encode(value)) for name, value in _WRITERS[spelling](shape).items()
    }
    return {**kept, **written}


def _decoded(raw: msgspec.Raw, field: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"'{field}' cannot be read: {error}", param=field) from error


# ------------------------------------------------------------------------------------------------------------- reading


def _response_format(value: Any, field: str) -> Shape | None:
    if value is None:
        return None
    form = _mapping(value, field)
    kind = form.get("type")
    if kind not in _TYPES:
        raise BadRequest(f"'{field}.type' has to be one of: {', '.join(_TYPES)}", param=f"{field}.type")
    if kind == "json_object":
        return _json_object(form.get("schema"), f"{field}.schema", field)
    if kind == "json_schema":
        return _named_schema(form, field)
    if kind == "regex":
        name = "pattern" if "pattern" in form else "value" if "value" in form else "regex"
        return Shape("regex", pattern=_text(form.get(name), f"{field}.{name}"), field=field)
    if kind == "grammar":
        return Shape("grammar", grammar=_text(form.get("grammar"), f"{field}.grammar"), field=field)
    return None  # `text`, and `structural_tag`, which is passed on to the engine without a check


def _json_object(schema: Any, param: str, field: str) -> Shape:
    """llama.cpp takes a schema beside `json_object`."""
    if schema is None or schema == {}:
        return Shape("json_object", field=field)
    return Shape("json_schema", schema=_schema(schema, param), field=field)


def _named_schema(form: Mapping[str, Any], field: str) -> Shape:
    """OpenAI has the schema in `json_schema.schema`; llama.cpp also takes `schema` beside `type`."""
    if "json_schema" not in form and "schema" in form:
        return Shape("json_schema", schema=_schema(form["schema"], f"{field}.schema"), field=field)
    at = f"{field}.json_schema"
    inner = _mapping(form.get("json_schema"), at)
    name = inner.get("name")
    schema = inner.get("schema")
    if schema is None:
        raise BadRequest(
            f"'{at}.schema' is missing; send the JSON schema there. {_known(at, _SCHEMA_MEMBERS)}",
            param=f"{at}.schema",
        )
    _refuse_unknown(inner, at, _SCHEMA_MEMBERS)
    return Shape(
        "json_schema",
        schema=_schema(schema, f"{at}.schema"),
        name=name if isinstance(name, str) else "",
        field=field,
    )


def _structured_outputs(value: Any, field: str) -> Shape | None:
    if value is None:
        return None
    form = {
        name: said for name, said in _mapping(value, field).items() if said is not None and said is not False
    }
    _refuse_unknown(form, field, (*_CONSTRAINTS, *_UNREAD))
    found = [read(form[name], f"{field}.{name}") for name, read in _CONSTRAINTS.items() if name in form]
    shapes = [shape for shape in found if shape is not None]
    if len(shapes) > 1:
        named = [name for name in _CONSTRAINTS if name in form]
        raise BadRequest(
            f"'{field}' has {named[0]!r} and {named[1]!r}; send exactly one", param=f"{field}.{named[1]}"
        )
    return msgspec.structs.replace(shapes[0], field=field) if shapes else None


def _json(value: Any, field: str) -> Shape | None:
    """A schema, as an object or as a text with JSON in it."""
    if value is None or value == "":
        return None
    return Shape("json_schema", schema=_schema(value, field), field=field)


def _regex(value: Any, field: str) -> Shape | None:
    return Shape("regex", pattern=_text(value, field), field=field) if value not in (None, "") else None


def _grammar(value: Any, field: str) -> Shape | None:
    return Shape("grammar", grammar=_text(value, field), field=field) if value not in (None, "") else None


def _choice(value: Any, field: str) -> Shape | None:
    if value is None:
        return None
    if value == []:
        raise BadRequest(f"'{field}' is empty: give at least one choice", param=field)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):  # pyright: ignore[reportUnknownVariableType]
        raise BadRequest(f"'{field}' has to be a list of strings", param=field)
    return Shape("choice", choices=tuple(value), field=field)  # pyright: ignore[reportUnknownArgumentType]


def _any_object(value: Any, field: str) -> Shape | None:
    return Shape("json_object", field=field) if value else None


def _refuse_unknown(form: Mapping[str, Any], param: str, members: Sequence[str]) -> None:
    """Raise BadRequest if an object has a member that means nothing: it may be a demand with a typing error."""
    unknown = next((name for name in form if name not in members), None)
    if unknown is not None:
        at = f"{param}.{unknown[:64]}"
        raise BadRequest(f"'{at}' is unknown. {_known(param, members)}", param=at)


def _known(param: str, members: Sequence[str]) -> str:
    return f"The members of '{param}' are: {', '.join(members)}"


def _mapping(value: Any, param: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"'{param}' has to be an object", param=param)
    return value  # pyright: ignore[reportUnknownVariableType]


def _text(value: Any, param: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadRequest(f"'{param}' has to be a string that is not empty", param=param)
    return value


def _schema(value: Any, param: str) -> Any:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            raise BadRequest(f"'{param}' is not JSON: {error}", param=param) from error
    if not isinstance(value, (dict, bool)):
        raise BadRequest(f"'{param}' has to be a JSON schema: an object, or true or false", param=param)
    return value  # pyright: ignore[reportUnknownVariableType]


_TYPES = ("text", "json_object", "json_schema", "regex", "grammar", "structural_tag")
_SCHEMA_MEMBERS = ("name", "schema", "strict", "description")
_Read = Callable[[Any, str], Shape | None]
_CONSTRAINTS: dict[str, _Read] = {
    "json": _json,
    "regex": _regex,
    "choice": _choice,
    "grammar": _grammar,
    "json_object": _any_object,
}
_UNREAD = (
    "structural_tag",
    "whitespace_pattern",
    "disable_any_whitespace",
    "disable_additional_properties",
    "disable_fallback",
)
"""The other members of vLLM's `structured_outputs`. They are passed on."""
_READERS: dict[str, _Read] = {
    "response_format": _response_format,
    "structured_outputs": _structured_outputs,
    "guided_json": _json,
    "guided_regex": _regex,
    "guided_choice": _choice,
    "guided_grammar": _grammar,
    "json_schema": _json,
    "regex": _regex,
    "ebnf": _grammar,
    "grammar": _grammar,
}
FIELDS = frozenset(_READERS)
"""The fields that can demand a form, in all spellings."""

# ------------------------------------------------------------------------------------------------------------- writing


def _is_own(raw: msgspec.Raw, shape: Shape, spelling: str) -> bool:
    """Whether a field already is in the spelling. One with `strict` or a description then keeps it."""
    if shape.field == "response_format":
        form = msgspec.json.decode(raw)
        return "json_schema" in form or form == {"type": "json_object"}
    if shape.field == "json_schema":  # SGLang takes a text, llama.cpp an object
        return (spelling == "sglang" and bytes(raw)[:1] == b'"') or (
            spelling == "llamacpp" and bytes(raw)[:1] == b"{"
        )
    return shape.field in _OWN[spelling]


def _as_openai(shape: Shape) -> dict[str, Any]:
    if shape.kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if shape.kind == "json_schema":
        named = {"name": shape.name or "answer", "schema": shape.schema}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {}


def _as_vllm(shape: Shape) -> dict[str, Any]:
    value = {
        "json_object": True,
        "json_schema": shape.schema,
        "regex": shape.pattern,
        "choice": shape.choices,
        "grammar": shape.grammar,
    }[shape.kind]
    return {"structured_outputs": {"json" if shape.kind == "json_schema" else shape.kind: value}}


def _as_sglang(shape: Shape) -> dict[str, Any]:
    if shape.kind in {"json_object", "json_schema"}:
        schema = {"type": "object"} if shape.kind == "json_object" else shape.schema
        return {"json_schema": msgspec.json.encode(schema).decode()}  # SGLang takes it as a text
    if shape.kind == "choice":
        return {"regex": "(" + "|".join(map(re.escape, shape.choices)) + ")"}
    return {"regex": shape.pattern} if shape.kind == "regex" else {"ebnf": shape.grammar}


def _as_llamacpp(shape: Shape) -> dict[str, Any]:
    if shape.kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if shape.kind == "json_schema":
        return {"json_schema": shape.schema}
    if shape.kind == "choice":
        quoted = (msgspec.json.encode(choice).decode() for choice in shape.choices)
        return {"grammar": "root ::= " + " | ".join(quoted)}
    grammar = shape.grammar if shape.kind == "grammar" else gbnf_of(shape.pattern)
    return {} if grammar is None else {"grammar": grammar}


_WRITERS = {"openai": _as_openai, "vllm": _as_vllm, "sglang": _as_sglang, "llamacpp": _as_llamacpp}
_OWN = {
    "openai": frozenset[str](),
    "vllm": frozenset({"structured_outputs"}),
    "sglang": frozenset({"regex", "ebnf"}),
    "llamacpp": frozenset({"grammar"}),
}
"""The fields of each spelling, besides `response_format`, which all of them take."""
