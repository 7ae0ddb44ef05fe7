"""What `check` says of a file is all that is wrong with it, once, and in words of the file."""

from __future__ import annotations

import re
from typing import Any

import pytest
from config.mistakes import GOOD, problems
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import config, registry
from tidegate.config import Config
from tidegate.errors import ConfigError, Problem

# -------------------------------------------------------------------------------------- keys that stand twice


def test_all_keys_that_stand_twice_are_told_at_once_with_their_lines() -> None:
    found = problems("""\
server: {port: 1, port: 2}
engines:
  near:
    kind: openai
    url: "http://127.0.0.1:8000/v1"
    kind: vllm
  near: {kind: scripted}
models:
  m: {deployments: [{engine: near, engine: near}]}
models: {}
models: {}
""")
    assert found == [
        Problem("server", "'port' is given twice, in lines 1 and 1"),
        Problem("engines.near", "'kind' is given twice, in lines 4 and 6"),
        Problem("engines", "'near' is given twice, in lines 3 and 7"),
        Problem("models.m.deployments[0]", "'engine' is given twice, in lines 9 and 9"),
        Problem("", "'models' is given 3 times, in lines 8, 10 and 11"),
    ]


@pytest.mark.parametrize(
    "twice",
    [
        GOOD + "engines: {far: {kind: scripted}}",  # the model's engine stands in the first
        "engines: {}\n" + GOOD,
        GOOD + "models: {}",
        GOOD + "engines: 3",
        GOOD.replace("  m:", "  m: {deployments: 4}\n  m:"),
        GOOD.replace("kind: openai,", "kind: openai, kind: scripted,"),
        GOOD.replace("kind: openai,", "kind: scripted, kind: openai,"),
    ],
)
def test_nothing_else_follows_from_a_key_that_stands_twice(twice: str) -> None:
    (problem,) = problems(twice)
    assert "is given twice" in problem.message


def test_other_mistakes_are_told_with_it() -> None:
    found = problems(GOOD + "server: {port: x}\nserver: {hots: y}\nadmin: {port: -1}")
    assert [problem.path for problem in found] == ["", "server.port", "server.hots", "admin.port"]


def test_what_is_merged_may_be_replaced() -> None:
    text = "engines: {a: &a {kind: scripted, tokens: 1}, b: {<<: *a, tokens: 2}, c: {<<: [*a], <<: *a}}\n"
    loaded = config.parse_text(text + "models: {m: {deployments: [{engine: b}]}}", source="x")
    assert [engine.model_dump()["tokens"] for engine in loaded.engines.values()] == [1, 2, 1]


# -------------------------------------------------------------------------------------- names without quotes


@pytest.mark.parametrize(
    "name", ["on", "4", "yes", "No", "TRUE", "0x1F", "1.10", "2020-01-01", "null", "~", "1_000"]
)
def test_a_name_without_quotes_is_shown_as_it_is_written(name: str) -> None:
    found = problems(GOOD.replace("  m:", f"  {name}:"))
    assert found == [Problem(f"models.{name}", f"a name must be text: write '{name}' in quotes")]
    config.parse_text(GOOD.replace("  m:", f"  '{name}':"), source="x")


@pytest.mark.parametrize("name", ["off", "4", "y e s", "1e3", "012"])
def test_a_value_without_quotes_is_shown_as_it_is_written(name: str) -> None:
    text = GOOD.replace("engine: near", f"engine: near, model: {name}")
    if name in {"y e s", "1e3"}:  # YAML 1.1 reads these as text
        config.parse_text(text, source="x")
        return
    assert problems(text) == [
        Problem("models.m.deployments[0].model", f"must be text: write '{name}' in quotes")
    ]


def test_mistakes_below_a_name_without_quotes_are_told_there() -> None:
    found = problems(GOOD.replace("m: {deployments: [{engine: near}]}", "on: {deployments: [{engine: far}]}"))
    assert [problem.path for problem in found] == ["models.on", "models.on.deployments[0].engine"]


# -------------------------------------------------------------------------------------- environment variables


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        (None, "${T9:-10.0.0.1}", "10.0.0.1"),
        ("", "${T9:-10.0.0.1}", "10.0.0.1"),
        ("10.0.0.2", "${T9:-10.0.0.1}", "10.0.0.2"),
        ("", "10.0.0.${T9:-3}", "10.0.0.3"),
        ("", "10.0${T9}.0.4", "10.0.0.4"),
        ("", "10.0${T9:-}.0.5", "10.0.0.5"),
        (" ", "10.0.0.6${T9:-7}", "10.0.0.6 "),
    ],
)
def test_a_default_holds_for_a_variable_that_is_missing_or_empty_as_in_shells(
    value: str | None, text: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("T9", raising=False)
    if value is not None:
        monkeypatch.setenv("T9", value)
    loaded = config.parse_text(f"{GOOD}\nserver: {{host: '{text}'}}", source="x")
    assert loaded.server.host == found


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (GOOD.replace("http://127.0.0.1:8000/v1", "${T9}"), "engines.near.url"),
        (GOOD.replace("openai", "'${T9}'"), "engines.near.kind"),
        (GOOD.replace("engine: near", "engine: '${T9}'"), "models.m.deployments[0].engine"),
        (GOOD + "server: {port: '${T9}'}", "server.port"),
        (GOOD + "server: {allowed_hosts: ['${T9}']}", "server.allowed_hosts[0]"),
        (GOOD + "server: '${T9}'", "server"),
        (
            GOOD + "server: {tls: {certificate_path: '${T9}', key_path: '${T9}'}}",
            "server.tls.certificate_path",
        ),
    ],
)
def test_nothing_else_follows_from_a_variable_that_is_not_set(
    text: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("T9", raising=False)
    found = problems(text)
    assert found[0] == Problem(path, "the environment variable T9 is not set")
    assert {problem.message for problem in found} == {"the environment variable T9 is not set"}


# -------------------------------------------------------------------------------------- one mistake, one line


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (GOOD.replace("engines:", "engine:"), "engine"),
        (GOOD.replace("models:", "model:"), "model"),
        (GOOD.replace("url:", "urll:"), "engines.near.urll"),
        (GOOD.replace("engine: near", "engin: near"), "models.m.deployments[0].engin"),
        (GOOD.replace("deployments:", "deployment:"), "models.m.deployment"),
        (GOOD.replace("kind: openai, ", "knd: openai, "), "engines.near.kind"),
        ("engines: 3\nmodels: {m: {deployments: [{engine: near}]}}", "engines"),
        (GOOD.partition("models:")[0] + "models: []", "models"),
        (GOOD + "server:", "server"),
        (GOOD.replace("near: {kind: openai, url", "near: {kind: opnai, url"), "engines.near.kind"),
    ],
)
def test_one_mistake_is_one_line(text: str, path: str) -> None:
    assert [problem.path for problem in problems(text)] == [path]


# -------------------------------------------------------------------------------------- in words of the file

_PYTHON = re.compile(
    r"\b([Tt]uple|dict(ionary)?|[Ii]nput|instance|class|None|NoneType|True|False|pydantic|str|Struct|Config)\b"
    r"|<[a-z ]+>|Unused|unicode string"
)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (GOOD + "server: {cors_origins: x}", "server.cors_origins", "must be a list"),
        (GOOD.replace("[{engine: near}]", "{engine: near}"), "models.m.deployments", "must be a list"),
        (GOOD.replace("[{engine: near}]", "[]"), "models.m.deployments", "must have at least 1 entry"),
        (GOOD.replace("[{engine: near}]", "[a]"), "models.m.deployments[0]", "mapping with settings such as engine"),
        (GOOD + "server: 3", "server", "must be a mapping with settings such as host, port, tls"),
        (GOOD + "server: {host: [a]}", "server.host", "must be text"),
        (GOOD + "server: {port: 1.5}", "server.port", "without a fraction"),
        (GOOD + "server: {port: -1}", "server.port", "must be 0 or more"),
        (GOOD + "server: {drain_grace_s: soon}", "server.drain_grace_s", "a valid number"),
        (GOOD + "server: {call_deadline_s: .inf}", "server.call_deadline_s", "a finite number"),
        ("engines: {a: {kind: embedded, speculation: x}}", "engines.a.speculation", "'none' or 'ngram'"),
        ("engines: {a: {kind: embedded, share_prefixes: x}}", "engines.a.share_prefixes", "true or false"),
        ("engines: {a: {kind: embedded, model_path: [x]}}", "engines.a.model_path", "path of a file"),
        ("a: 1\nb: \x01", "", "line 2: YAML must not contain control characters"),
        ("a: 1\n---\nb: 2", "", "line 2, column 1: expected a single document in the file, but found another"),
        ("engines: {a: {kind: off}}", "engines.a.kind", "must be one of: embedded"),
        ("engines: {a: }", "engines.a.kind", "is missing; one of: embedded"),
        ("a: b: c", "", "not valid YAML: line 1, column 5: mapping values are not allowed here"),
        ("a: !include b", "", "line 1, column 4: '"),
        ("a: !!set {b}", "", "the tag"),
        ("a: 2020-99-99", "", "'2020-99-99' cannot be read"),
        ("a: [1", "", "line 1"),
        ("a: {<<: 3}", "", "'<<' takes a mapping"),
        ("? [a]\n: 3", "", "line 1: a key must be a word"),
        ("? \n: 3", "", "line 1: a key is empty"),
        ("engines: {'': {kind: scripted}}", "engines.''", "a name must not be empty"),
    ],
)  # fmt: skip
def test_messages_speak_of_the_file_and_not_of_python(text: str, path: str, words: str) -> None:
    found = problems(text)
    assert any(problem.path == path and words in problem.message for problem in found), found
    assert not [problem for problem in found if _PYTHON.search(problem.message)]


@given(st.text() | st.text("{}[]:,'\"&*!<>|-? ab1\n\t#%@~.", max_size=30))
def test_any_text_is_a_configuration_or_a_list_of_mistakes(text: str) -> None:
    try:
        config.parse_text(text, source="x")
    except ConfigError as error:
        found = error.problems
    else:
        return
    assert all(problem.message for problem in found)


def _keys(model: Any) -> list[str]:
    return list(model.model_fields)


_KINDS = registry.kinds("tidegate.engines")
_SETTINGS = sorted(
    {key for kind in _KINDS for key in _keys(registry.find("tidegate.engines", kind).Config)}
    | {key for name in ("server", "admin") for key in _keys(Config.model_fields[name].annotation)}
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab/:", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*_SETTINGS, "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
_SECTION = st.dictionaries(st.sampled_from(_SETTINGS), _VALUES, max_size=4)


@settings(max_examples=300)
@given(kind=st.sampled_from(_KINDS), engine=_SECTION, server=_SECTION, admin=_SECTION, models=_VALUES)
def test_whatever_is_wrong_it_is_told_once_a_place_and_without_python(
    kind: str, engine: Any, server: Any, admin: Any, models: Any
) -> None:
    tree = {"engines": {"e": engine | {"kind": kind}}, "server": server, "admin": admin, "models": models}
    try:
        config.parse(tree, source="x")
    except ConfigError as error:
        found = error.problems
    else:
        return
    paths = [problem.path for problem in found]
    assert len(set(paths)) == len(paths)
    assert not [problem for problem in found if _PYTHON.search(problem.message)]
