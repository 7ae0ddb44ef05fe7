"""What would keep `serve` from starting, or every call from working, is found when the file is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import config
from tidegate.config import Config, urls
from tidegate.engines.scripted.script import Fault
from tidegate.errors import ConfigError, Problem


def read(engine: str, more: str = "") -> Config:
    models = "models: {m: {deployments: [{engine: e}]}}"
    return config.parse_text(f"engines: {{e: {{{engine}}}}}\n{more or models}\n", source="tidegate.yaml")


def problem(engine: str, more: str = "") -> Problem:
    with pytest.raises(ConfigError) as raised:
        read(engine, more)
    (found,) = raised.value.problems
    return found


def to(url: str) -> str:
    return f"kind: openai, url: '{url}'"


# ------------------------------------------------------------------------------------------------------------------ URLs


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://gpu:8000/v1/chat/completions", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/chat/completions/", "http://gpu:8000/v1"),
        ("http://gpu:8000/chat/completions", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/completions", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/embeddings", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/models", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/models/llama", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/responses", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/messages", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/chat", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/audio/speech", "http://gpu:8000/v1"),
        ("http://gpu:8000/V1/Chat/Completions", "http://gpu:8000/V1"),
        ("http://ollama:11434/api/chat", "http://ollama:11434/v1"),
        ("https://far/openai/v1/chat/completions", "https://far/openai/v1"),
        ("https://far/api/paas/v4/chat/completions", "https://far/api/paas/v4"),
    ],
)
def test_a_url_that_ends_in_an_endpoint_is_a_mistake_that_names_the_right_one(url: str, right: str) -> None:
    found = problem(to(url))
    assert found.path == "engines.e.url"
    assert found.message.endswith(f"write {right}")
    read(to(right))


@pytest.mark.parametrize(
    ("url", "likely"),
    [
        ("http://gpu:8000", "http://gpu:8000/v1"),
        ("http://gpu:8000/", "http://gpu:8000/v1"),
        ("http://ollama:11434/api", "http://ollama:11434/v1"),
        ("https://far/openai-proxy", "https://far/openai-proxy/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("https://api.perplexity.ai", "https://api.perplexity.ai/v1"),
    ],
)
def test_a_url_without_a_version_is_warned_of_with_the_likely_one(url: str, likely: str) -> None:
    (warning,) = config.warnings(read(to(url)))
    assert warning.path == "engines.e.url"
    assert f"at {likely}." in warning.message
    assert config.warnings(read(to(likely))) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://gpu:8000/v1",
        "http://gpu:8000/v1/",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "https://open.bigmodel.cn/api/paas/v4",
        "https://gateway.ai.cloudflare.com/v1/account/gateway/openai",
        "https://api.groq.com/openai/v1",
        "https://far/openai",
    ],
)
def test_base_urls_of_known_servers_are_right_as_they_are(url: str) -> None:
    assert config.warnings(read(to(url))) == []


@given(
    st.lists(st.sampled_from(["v1", "api", "chat", "completions", "models", "openai", "x", "v4"]), max_size=4)
)
def test_the_right_url_is_right(parts: list[str]) -> None:
    url = "/".join(["http://h", *parts])
    try:
        good = urls.check(url)
    except ValueError as error:
        good = str(error).rpartition(" ")[2]
    while True:  # of `…/models/models` the last one goes first
        try:
            assert urls.check(good) == good
        except ValueError as error:
            shorter = str(error).rpartition(" ")[2]
            assert len(shorter) <= len(good)
            assert shorter != good
            good = shorter
        else:
            break
    assert urls.likely(urls.likely(good) or good) is None


# ----------------------------------------------------------------------------------------------------------------- files


def test_weights_have_to_be_there_and_to_be_weights(tmp_path: Path) -> None:
    gguf, other = tmp_path / "a.gguf", tmp_path / "b.gguf"
    gguf.write_bytes(b"GGUF...")
    other.write_bytes(b"PK")
    read(f"kind: embedded, model_path: '{gguf}', lora: [{{path: '{gguf}'}}]")
    for path, words in (
        (tmp_path / "none.gguf", "there is no file"),
        (tmp_path, "there is no file"),
        (other, "is not a GGUF file"),
    ):
        found = problem(f"kind: embedded, model_path: '{path}'")
        assert (found.path, words in found.message) == ("engines.e.model_path", True)
        found = problem(f"kind: embedded, lora: [{{path: '{path}'}}]")
        assert (found.path, words in found.message) == ("engines.e.lora[0]", True)
    assert problem("kind: embedded, model_path: ''").message.startswith("is empty")
    with pytest.raises(ConfigError, match="there is no file"):
        config.built_in(model_path=tmp_path / "none.gguf")


@pytest.mark.parametrize(
    "fault", ["oops", "oops@1", "", "@3", "reset@", "reset@-1", "reset@x", "reset@1.5", "Reset", "reset 3"]
)
def test_a_fault_that_is_none_is_a_mistake(fault: str) -> None:
    found = problem(f"kind: scripted, fault: '{fault}'")
    assert found.path == "engines.e.fault"
    assert ("there are: none, close, reset" in found.message) or ("as in reset@10" in found.message)


@given(st.sampled_from(Fault), st.none() | st.integers(0, 999_999))
def test_every_fault_is_one(fault: Fault, place: int | None) -> None:
    read(f"kind: scripted, fault: {fault.value}{'' if place is None else f'@{place}'}")


# ----------------------------------------------------------------------------------------------------------- empty values


@pytest.mark.parametrize(
    ("engine", "more", "path"),
    [
        ("kind: openai, url: 'http://h/v1', api_key: ''", "", "engines.e.api_key"),
        ("kind: openai, url: 'http://h/v1', api_key: ' '", "", "engines.e.api_key"),
        ("kind: openai, url: 'http://h/v1', api_key: '${T9_EMPTY}'", "", "engines.e.api_key"),
        ("kind: openai, url: 'http://h/v1', api_key: '${T9_EMPTY:-}'", "", "engines.e.api_key"),
        ("kind: openai, url: ''", "", "engines.e.url"),
        ("kind: openai, url: 'http://h/v1', ca_path: ''", "", "engines.e.ca_path"),
        ("kind: scripted", "models: {m: {deployments: [{engine: e, model: ''}]}}", "models.m.deployments[0].model"),
        ("kind: scripted", "models: {'': {deployments: [{engine: e}]}}", "models.''"),
        ("kind: scripted", "models: {m: {deployments: [{engine: e}]}}\nserver: {host: ''}", "server.host"),
        ("kind: scripted", "models: {m: {deployments: [{engine: e}]}}\nserver: {host: ' '}", "server.host"),
        ("kind: scripted", "models: {m: {deployments: [{engine: e}]}}\nadmin: {host: ''}", "admin.host"),
        ("kind: scripted", "models: {m: {deployments: [{engine: e}]}}\nadmin: {token: ''}", "admin.token"),
    ],
)  # fmt: skip
def test_what_is_empty_is_not_taken_for_a_value(
    engine: str, more: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T9_EMPTY", "")
    assert problem(engine, more).path == path
