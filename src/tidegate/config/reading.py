"""From a YAML file to the tree, with every mistake reported at once.

Secrets come only as `${NAME}` from the environment, and this module is the only one that reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tidegate.config.kinds import Kinded
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
    config = _validated(top, problems)
    if not top.get("models"):
        problems.append(
            Problem("models", "names no model: add one, such as '*': {deployments: [{engine: NAME}]}")
        )
    problems += _dangling(top.get("models"), top["engines"])
    if problems or config is None:
        raise ConfigError(source, problems)
    return config


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


def _validated(data: dict[str, Any], problems: list[Problem]) -> Config | None:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        # Told in the order of the file; a name that is no text may be called otherwise there, and comes first.
        order = {str(name): place for place, name in enumerate(data)}
        problems.extend(
            Problem(_dotted(mistake["loc"], data), _in_words(mistake, data))
            for mistake in sorted(error.errors(), key=lambda mistake: order.get(str(mistake["loc"][0]), -1))
        )
    return None


def _dotted(location: tuple[int | str, ...], data: Any) -> str:
    """A place as people write it: `engines.near.url`, `deployments[0]`; a number may also be a name that lacks quotes."""
    path = ""
    for part in location:
        if part == "[key]":  # pydantic's mark for the name of an entry, which the part before it is
            break
        path += f"[{part}]" if isinstance(data, list) else f".{part}" if path else str(part)
        data = _inside(data, part)
    return path


def _inside(data: Any, part: int | str) -> Any:
    try:
        return data[part]
    except (LookupError, TypeError):
        return None


def _in_words(mistake: ErrorDetails, data: Any) -> str:
    """A mistake as a person would put it: what is wrong, and what would be right."""
    if mistake["type"] == "missing":
        return "is missing"
    if mistake["type"] in {"mapping_type", "dict_type"}:
        return "must be a mapping, from names to what they stand for"
    if mistake["type"] != "extra_forbidden":
        return mistake["msg"].removeprefix("Value error, ")
    section = _section(mistake["loc"][:-1], data)
    known = list(section.model_fields) if section else []
    close = get_close_matches(str(mistake["loc"][-1]), known, n=1)
    return "is not a setting" + (f"; did you mean '{close[0]}'?" if close else "")


def _section(location: tuple[int | str, ...], data: Any) -> type[Settings] | None:
    """The settings that a place in the tree holds; where there are kinds, the data says which."""
    model: type[Settings] = Config
    parts = iter(location)
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is None:
            return None
        data = _inside(data, part)
        found = [*_types(field.annotation), *field.metadata]
        if any(get_origin(t) in {tuple, Mapping} for t in found):
            data = _inside(data, next(parts, ""))
        kinded = next((t for t in found if isinstance(t, Kinded)), None)
        nested = next((t for t in found if isinstance(t, type) and issubclass(t, Settings)), None)
        if nested is None:
            return None
        model = kinded.model(data) if kinded else nested
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
