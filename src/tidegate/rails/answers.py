"""Answers of models that shall be JSON, read strictly: what could be read in two ways is no answer."""

from __future__ import annotations

import json
import re
from typing import Any

from tidegate.rails.asking import NoAnswer

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL | re.IGNORECASE)


def object_of(text: str) -> dict[str, Any]:
    """Return the JSON object that an answer is. Raises NoAnswer for everything else.

    Blanks, a code fence around the object and a `<think>` block before it are taken off. Text before or behind the object,
    and a key that comes twice, could mean that the model has changed its mind, so such answers are none.
    """
    bare = without_thought(text)
    fenced = _FENCED.fullmatch(bare.strip())
    try:
        found = _DECODER.decode(fenced[1] if fenced else bare)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("the model answered with something else than one JSON object") from error
    if not isinstance(found, dict):
        raise NoAnswer("the model answered with something else than a JSON object")
    return found  # pyright: ignore[reportUnknownVariableType]


def without_thought(text: str) -> str:
    """Return an answer without the `<think>` block that it begins with, if there is one."""
    thought = _THOUGHT.match(text)
    return text[thought.end() :] if thought else text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NoAnswer("the model answered with the same key twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
