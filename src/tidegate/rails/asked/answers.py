"""Answers of models that shall be JSON, read strictly: what could be read in two ways is no answer."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tidegate.kernel.repeated import repeats_key
from tidegate.rails.asked.asking import NoAnswer

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)


def object_of(text: str) -> dict[str, Any]:
    """Return the JSON object that an answer is. Raises NoAnswer for everything else.

    Blanks, a code fence around the object and a `<think>` block before it are taken off. Text before or behind the object,
    and a key that comes twice, could mean that the model has changed its mind, so such answers are none.
    """
    raw = without_fence(without_thought(text))[0].encode("utf-8", "surrogatepass")
    try:
        found = _DECODER.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise NoAnswer("the model answered with something else than one JSON object") from error
    if repeats_key(raw, found):
        raise NoAnswer("the model answered with the same key twice")
    return found


def without_thought(text: str) -> str:
    """Return an answer without the `<think>` block that it begins with, if there is one."""
    thought = _THOUGHT.match(text)
    return text[thought.end() :] if thought else text


def without_fence(text: str) -> tuple[str, int]:
    """Return an answer without the code fence around it, if there is one, and where in the text it begins."""
    fenced = _FENCED.fullmatch(text)
    return (fenced[1], fenced.start(1)) if fenced else (text, 0)


_DECODER = msgspec.json.Decoder(dict[str, Any])
