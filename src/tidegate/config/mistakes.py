"""Converts pydantic's errors to messages for operators: the path of the setting, the mistake, and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from tidegate.config.document import joined
from tidegate.config.kinds import Kinded
from tidegate.config.settings import Settings
from tidegate.config.tree import Config
from tidegate.errors import Problem

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is missing",
        "mapping_type": "must be a mapping from names to values",
        "dict_type": "must be a mapping from names to values",
        "tuple_type": "must be a list, such as [a, b]",
        "list_type": "must be a list, such as [a, b]",
        "string_type": "must be text",
        "path_type": "must be the path of a file",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "int_type": "should be a valid integer",
        "int_parsing": "should be a valid integer",
        "int_parsing_size": "should be a valid integer, and this one is too long",
        "int_from_float": "should be a valid integer, without a fraction",
        "float_type": "should be a valid number",
        "float_parsing": "should be a valid number",
        "finite_number": "should be a finite number",
        "greater_than": "must be greater than {gt}",
        "greater_than_equal": "must be {ge} or more",
        "less_than": "must be less than {lt}",
        "less_than_equal": "must be {le} or less",
        "too_short": "must have at least {min_length} entry",
        "literal_error": "must be {expected}",
    }
)


def told(error: ValidationError, data: Mapping[str, Any], unquoted: Mapping[str, str]) -> list[Problem]:
    """Return every mistake, in the order of the file.

    `unquoted` has the spelling of values that YAML does not read as text. A setting that is missing because its name is
    misspelt is reported only once, as misspelt.
    """
    order = {str(name): place for place, name in enumerate(data)}
    # A name that is not text may be written in another way in the file, so it is not in `order` and comes first.
    mistakes = sorted(error.errors(), key=lambda mistake: order.get(str(mistake["loc"][0]), -1))
    meant = {
        (*mistake["loc"][:-1], close)
        for mistake in mistakes
        if mistake["type"] == "extra_forbidden" and (close := _meant(mistake["loc"], data))
    }
    return [
        Problem(path := _dotted(mistake["loc"], data), _in_words(mistake, data, unquoted.get(path)))
        for mistake in mistakes
        if mistake["type"] != "missing" or mistake["loc"] not in meant
    ]


def meant_at_top(data: Mapping[str, Any]) -> set[str]:
    """Return the sections that the misspelt keys at the top of the file most likely mean."""
    return {close for key in data if key not in Config.model_fields and (close := _meant((key,), data))}


def _dotted(location: tuple[int | str, ...], data: Any) -> str:
    """Return a path for messages: `engines.near.url`, `deployments[0]`. A number may also be a name without quotes."""
    path = ""
    for part in location:
        if part == "[key]":  # pydantic's mark for a mistake in a name; the part before it is the name
            break
        path = joined(path, part if isinstance(data, list) else str(part))
        data = _inside(data, part)
    return path


def _inside(data: Any, part: int | str) -> Any:
    try:
        return data[part]
    except (LookupError, TypeError):
        return None


def _in_words(mistake: ErrorDetails, data: Any, unquoted: str | None) -> str:
    """Return the message of a mistake: what is wrong, and how to fix it."""
    kind = mistake["type"]
    if kind == "extra_forbidden":
        close = _meant(mistake["loc"], data)
        return "is not a setting" + (f"; did you mean '{close}'?" if close else "")
    if kind in {"model_type", "model_attributes_type"}:
        section = _section(mistake["loc"], data)
        keys = ", ".join(list(section.model_fields)[:3]) if section else ""
        return "must be a mapping" + (f" with settings such as {keys}" if keys else "")
    if kind == "string_type" and unquoted:
        shown = "it" if _is_secret(mistake["loc"], data) else f"'{unquoted}'"
        return f"must be text: write {shown} in quotes"
    if words := _WORDS.get(kind):
        return words.format(**mistake.get("ctx", {}))
    return mistake["msg"].removeprefix("Value error, ").replace("Input should", "should")


def _meant(location: tuple[int | str, ...], data: Any) -> str | None:
    """Return the setting whose name is closest to an unknown name."""
    section = _section(location[:-1], data)
    known = list(section.model_fields) if section else []
    return next(iter(get_close_matches(str(location[-1]), known, n=1)), None)


def _section(location: tuple[int | str, ...], data: Any) -> type[Settings] | None:
    """Return the model of the settings at a place in the tree. If it depends on the kind, the kind is taken from `data`."""
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


def _is_secret(location: tuple[int | str, ...], data: Any) -> bool:
    """Whether a place holds what no message may show."""
    if isinstance(location[-1], int):  # an entry of a list is as secret as the list
        return _is_secret(location[:-1], data)
    section = _section(location[:-1], data)
    field = section.model_fields.get(str(location[-1])) if section else None
    return field is not None and SecretStr in _types(field.annotation)


def _types(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and the types inside it: for `tuple[A, ...] | None`, also A."""
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)
