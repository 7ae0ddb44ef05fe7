"""From a YAML file to the tree, with every mistake reported at once.

Secrets come only as `${NAME}` from the environment, and this module is the only one that reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tidegate import registry
from tidegate.config.engines import EngineConfig
from tidegate.config.settings import Settings
from tidegate.config.tree import Config
from tidegate.errors import ConfigError, Problem

DEFAULT_PATH = Path("tidegate.yaml")
EMBEDDED_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"


def load(path: Path | None) -> Config:
    """The configuration in a file. Raises ConfigError with every mistake found."""
    if path is None:
        return built_in()
    return parse_text(read_text(path), source=str(path))


def read_text(path: Path) -> str:
    """A configuration as it stands in its file. Raises ConfigError when there is nothing to read."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Problem("", "is not UTF-8 text")]) from error


def parse_text(text: str, *, source: str) -> Config:
    """The configuration in a YAML text. Raises ConfigError with every mistake found."""
    try:
        tree = yaml.load(text, _UniqueKeys)  # noqa: S506 - a SafeLoader
        return parse(tree if tree is not None else {}, source=source)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there is not
        raise ConfigError(source, [Problem("", f"not valid YAML: {error}")]) from error
    except RecursionError as error:
        raise ConfigError(source, [Problem("", "is nested too deeply, or in itself")]) from error


def parse(tree: Any, *, source: str) -> Config:
    """A configuration from plain data. Raises ConfigError with every mistake found."""
    if not isinstance(tree, dict):
        raise ConfigError(source, [Problem("", "must be a mapping with keys such as engines: and models:")])
    problems: list[Problem] = []
    top = cast("dict[str, Any]", _with_environment(tree, "", problems))
    if not top.get("engines"):
        top |= {key: value for key, value in _default_tree(None).items() if not top.get(key)}
    section = top.pop("engines")
    engines = _engines(section, problems)
    config = _validated(Config, top, "", problems)
    if not top.get("models"):
        problems.append(
            Problem("models", "names no model: add one, such as '*': {deployments: [{engine: NAME}]}")
        )
    problems += _dangling(top.get("models"), section)
    if problems or config is None:
        raise ConfigError(source, problems)
    return config.model_copy(update={"engines": engines})


def built_in(*, model_path: Path | None = None, demo: bool = False) -> Config:
    """What serves without a file: the embedded engine, and embeddings.

    `model_path` is a GGUF file instead of SmolLM2; `demo` adds the model `demo`, which answers by script.
    Raises ConfigError for a file that is not there.
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


class _UniqueKeys(yaml.SafeLoader):
    """YAML without its trap: the same key twice is an error, not the last one wins."""

    def construct_mapping(
        self,
        node: Any,
        deep: bool = False,  # noqa: FBT001, FBT002
    ) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<`: what it brings in may be replaced
                continue
            key: Any = self.construct_object(key_node, deep=True)  # pyright: ignore[reportUnknownMemberType]
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key}' stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


S = TypeVar("S", bound=Settings)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _with_environment(value: Any, path: str, problems: list[Problem]) -> Any:
    """The tree with every `${NAME}` and `${NAME:-default}` filled in."""
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
        found = os.environ.get(name, default)
        if found is None:
            problems.append(Problem(path, f"the environment variable {name} is not set"))
        return found or ""

    return _VARIABLE.sub(fill, value)


def _engines(section: Any, problems: list[Problem]) -> dict[str, EngineConfig]:
    if not isinstance(section, dict):
        problems.append(Problem("engines", "must be a mapping from a name to an engine"))
        return {}
    found: dict[str, EngineConfig] = {}
    for name, settings in cast("dict[Any, Any]", section).items():
        path = f"engines.{name}"
        if not isinstance(name, str):
            problems.append(Problem(path, f"a name must be text: write '{name}' in quotes"))
            continue
        kind = cast("dict[str, Any]", settings).get("kind") if isinstance(settings, dict) else None
        if not isinstance(kind, str):
            known = ", ".join(registry.kinds("tidegate.engines"))
            problems.append(Problem(f"{path}.kind", f"is missing; one of: {known}"))
            continue
        try:
            model: type[EngineConfig] = registry.find("tidegate.engines", kind).Config
        except registry.UnknownKind as error:
            problems.append(Problem(f"{path}.kind", str(error)))
            continue
        except (ImportError, AttributeError) as error:  # a package from outside that is broken, or too old
            problems.append(Problem(f"{path}.kind", f"cannot be loaded: {error}"))
            continue
        if engine := _validated(model, settings, path, problems):
            found[name] = engine
    return found


def _validated(model: type[S], data: Any, path: str, problems: list[Problem]) -> S | None:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems.extend(
            Problem(_dotted(path, mistake["loc"]), _in_words(mistake, model)) for mistake in error.errors()
        )
    return None


def _dotted(path: str, location: tuple[int | str, ...]) -> str:
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}" if path else part
    return path


def _in_words(mistake: ErrorDetails, model: type[Settings]) -> str:
    """A mistake as a person would put it: what is wrong, and what would be right."""
    if mistake["type"] == "missing":
        return "is missing"
    if mistake["type"] != "extra_forbidden":
        return mistake["msg"].removeprefix("Value error, ")
    section = _section(model, mistake["loc"][:-1])
    known = list(section.model_fields) if section else []
    close = get_close_matches(str(mistake["loc"][-1]), known, n=1)
    return "is not a setting" + (f"; did you mean '{close[0]}'?" if close else "")


def _section(model: type[Settings], location: tuple[int | str, ...]) -> type[Settings] | None:
    """The settings that a place in the tree holds; list indexes and the names in mappings lead nowhere new."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        nested = [t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, Settings)]
        if not nested:
            return None
        model = nested[0]
    return model


def _types(annotation: Any) -> Iterator[Any]:
    """An annotation and what stands inside it: of `tuple[A, ...] | None`, also A."""
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def _dangling(models: Any, engines: Any) -> list[Problem]:
    """Names that point nowhere, and patterns that could never match; what has the wrong shape is told elsewhere."""
    problems: list[Problem] = []
    for pattern, model in _entries(models):
        if "*" in pattern[:-1]:
            problems.append(Problem(f"models.{pattern}", "'*' may only stand at the end"))
        deployments = dict(_entries(model)).get("deployments")
        for i, deployment in enumerate(
            cast("list[Any]", deployments) if isinstance(deployments, list) else []
        ):
            engine = dict(_entries(deployment)).get("engine")
            if isinstance(engine, str) and engine not in dict(_entries(engines)):
                known = ", ".join(sorted(dict(_entries(engines)))) or "none"
                path = f"models.{pattern}.deployments[{i}].engine"
                problems.append(Problem(path, f"there is no engine '{engine}'; there are: {known}"))
    return problems


def _entries(value: Any) -> list[tuple[str, Any]]:
    return [(str(k), v) for k, v in cast("dict[Any, Any]", value).items()] if isinstance(value, dict) else []
