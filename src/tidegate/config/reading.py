"""Reads a YAML file into the configuration tree, and reports every mistake at once.

Secrets come only from the environment, as `${NAME}`. Only this module reads the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from tidegate.config import document, mistakes
from tidegate.config.document import Document
from tidegate.config.references import (
    dangling_engines,
    dangling_fallbacks,
    dangling_tenants,
    idle_continuations,
)
from tidegate.config.tree import Config
from tidegate.errors import ConfigError, Problem

DEFAULT_PATH = Path("tidegate.yaml")
EMBEDDED_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"


def load(path: Path | None) -> Config:
    """Read the configuration from a file. Raises ConfigError with every mistake found."""
    if path is None:
        return built_in()
    return parse_text(read_text(path), source=str(path))


def read_text(path: Path) -> str:
    """Return the text of a configuration file. Raises ConfigError if the file cannot be read."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Problem("", "is not UTF-8 text")]) from error


def parse_text(text: str, *, source: str) -> Config:
    """Parse a configuration from a YAML text. Raises ConfigError with every mistake found."""
    found = document.read(text, source=source)
    if found.tree is None:
        found = found._replace(tree={})
    try:
        return _parse(found, source)
    except RecursionError as error:
        raise ConfigError(source, [Problem("", "is nested too deeply, or contains itself")]) from error


def parse(tree: Any, *, source: str) -> Config:
    """Make a configuration from plain data. Raises ConfigError with every mistake found."""
    return _parse(Document(tree, [], {}, set()), source)


def _parse(found: Document, source: str) -> Config:
    if not isinstance(found.tree, dict):
        problem = Problem("", "must be a mapping with keys such as engines: and models:")
        raise ConfigError(source, [*found.problems, problem])
    missing: list[Problem] = []
    top = cast("dict[str, Any]", _with_environment(cast("Any", found.tree), "", missing))
    misspelt = mistakes.meant_at_top(top)
    if not top.get("engines"):
        top |= {key: value for key, value in _default_tree(None).items() if not top.get(key)}
    wrong: list[Problem] = []
    config = _validated(top, found.unquoted, wrong)
    if not top.get("models") and "models" not in misspelt:
        names_none = "names no model: add one, such as '*': {deployments: [{engine: NAME}]}"
        wrong.append(Problem("models", names_none))
    if "engines" not in misspelt and isinstance(top["engines"], dict):
        wrong += dangling_engines(top.get("models"), top["engines"])
        wrong += idle_continuations(top.get("models"), top["engines"])
    wrong += dangling_fallbacks(top.get("models"))
    if not misspelt & {"organisations", "policies", "queue", "keys", "auth", "models", "rails"}:
        wrong += dangling_tenants(top)
    causes = {problem.path for problem in missing} | found.doubtful
    told = {problem.path for problem in found.problems} - {""}
    followed = [one for one in _without_consequences(wrong, causes) if one.path not in told]
    problems = [*found.problems, *missing, *followed]
    if problems or config is None:
        raise ConfigError(source, problems)
    return config


def built_in(*, model_path: Path | None = None, demo: bool = False) -> Config:
    """Return the configuration for a gateway without a file: the embedded engine and the embedder.

    `model_path` is a GGUF file to serve instead of SmolLM2. `demo` adds the model `demo`, which answers by script. Raises
    ConfigError if there is no file at `model_path`.
    """
    tree = _default_tree(model_path)
    if demo:
        tree["engines"]["script"] = {"kind": "scripted", "ttft_ms": 200, "itl_ms": 30}
        tree["models"]["demo"] = {"deployments": [{"engine": "script"}]}
    return parse(tree, source="the built-in configuration")


def _default_tree(model_path: Path | None) -> dict[str, Any]:
    name = model_path.stem.lower() if model_path else EMBEDDED_MODEL
    embedded: dict[str, Any] = {"kind": "embedded"} | ({"model_path": str(model_path)} if model_path else {})
    local = {"deployments": [{"engine": "local", "model": name}]}
    return {
        "engines": {"local": embedded, "minilm": {"kind": "embedder"}},
        "models": {name: local, "default": local, EMBEDDING_MODEL: {"deployments": [{"engine": "minilm"}]}},
    }


def variable(name: str) -> str | None:
    """Return an environment variable, for a secret that has no place on a command line; None if it is empty or not set."""
    return os.environ.get(name) or None


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _with_environment(value: Any, path: str, problems: list[Problem]) -> Any:
    """Return the tree with every `${NAME}` and `${NAME:-default}` replaced."""
    if isinstance(value, dict):
        return {
            key: _with_environment(item, f"{path}.{key}" if path else str(key), problems)
            for key, item in cast("dict[Any, Any]", value).items()
        }
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_with_environment(item, f"{path}[{i}]", problems) for i, item in enumerate(items)]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name: str = match[1]
        default: str | None = match[2]
        found = os.environ.get(name)
        if found is None and default is None:
            problems.append(Problem(path, f"the environment variable {name} is not set"))
        return found or default or ""  # as in shells, the default also replaces an empty variable

    return _VARIABLE.sub(fill, value)


def _validated(data: dict[str, Any], unquoted: Mapping[str, str], problems: list[Problem]) -> Config | None:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        problems += mistakes.told(error, data, unquoted)
    return None


def _without_consequences(problems: list[Problem], causes: Collection[str]) -> list[Problem]:
    """Return the problems that do not merely follow from others.

    Of several problems at one path, the first is kept. A problem is dropped if another problem is below it, or if a cause
    is at its path, above it or below it.
    """

    def within(inner: str, outer: str) -> bool:
        return inner.startswith((f"{outer}.", f"{outer}["))

    def follows(path: str) -> bool:
        return (
            any(path == cause or within(path, cause) or within(cause, path) for cause in causes)
            or any(within(other, path) for other in first)
        )  # fmt: skip

    first = {problem.path: problem for problem in reversed(problems)}
    return [one for one in problems if first[one.path] is one and not follows(one.path)]
