"""The answers of judges: `yes` or `no`, as one word or in a JSON object that is demanded of the engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from tidegate.rails.asked.answers import without_fence, without_thought
from tidegate.rails.asked.asking import Completion, NoAnswer, share

YES, NO = "yes", "no"
Word = Literal["yes", "no"]
Form = Literal["json", "word"]
_KEY = "verdict"
_SCHEMA = {
    "type": "object",
    "properties": {_KEY: {"type": "string", "enum": [YES, NO]}},
    "required": [_KEY],
    "additionalProperties": False,
}
_DEMAND = {"type": "json_schema", "json_schema": {"name": _KEY, "strict": True, "schema": _SCHEMA}}
_ONLY = re.compile(r"[\s*_\"'`.]*(yes|no)[\s*_\"'`.!]*", re.IGNORECASE)
_OBJECT = re.compile(rf'\s*\{{\s*"{_KEY}"\s*:\s*"(yes|no)"\s*\}}\s*')


class Answer(NamedTuple):
    """What a judge says. `chance` is the probability of `yes`; None if the engine does not tell."""

    word: str
    chance: float | None = None


def demand(form: Form) -> Mapping[str, Any]:
    """Return the fields of a request that demand the form."""
    return {"response_format": _DEMAND} if form == "json" else {}


def told(form: Form) -> str:
    """Return what a judge is told of the form."""
    if form == "json":
        return f'Answer with a JSON object alone: {{"{_KEY}": "{YES}"}} or {{"{_KEY}": "{NO}"}}.'
    return f"Answer with one word alone: {YES} or {NO}."


def read(form: Form, found: Completion) -> Answer:
    """Read the answer of a judge. Raises NoAnswer for an answer that is anything else than a verdict."""
    if not found.is_complete:
        raise NoAnswer("the answer of the judge was cut off: allow more `answer_tokens`")
    text = without_thought(found.text)
    word, place = (_in_object if form == "json" else _alone)(text)
    return Answer(word, _chance(found, len(found.text) - len(text) + place))


def _alone(text: str) -> tuple[str, int]:
    found = _ONLY.fullmatch(text)
    if found is None:
        raise NoAnswer("the judge answered something else than 'yes' or 'no'")
    return found.group(1).lower(), found.start(1)


def _in_object(text: str) -> tuple[str, int]:
    inner, start = without_fence(text)
    # A JSON parser would take the last of two keys of one name.
    found = _OBJECT.fullmatch(inner)
    if found is None:
        raise NoAnswer(
            f"the judge answered something else than an object with the '{_KEY}' '{YES}' or '{NO}'"
        )
    return found.group(1), start + found.start(1)


def _chance(found: Completion, place: int) -> float | None:
    """Return the probability of `yes` against `no` at a place, if the tokens are those of the text."""
    if "".join(token for token, _ in found.tokens) != found.text:
        return None
    return share({token.strip("\"'`*_{:. "): chance for token, chance in found.at(place).items()}, YES, NO)
