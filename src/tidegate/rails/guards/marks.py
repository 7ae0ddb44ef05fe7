"""Keeps texts under check from ending their own part of a guard's prompt, or from going on with a turn of their own."""

from __future__ import annotations

import re

from tidegate.rails.marks import CONTROL, SECTIONS, breaking

_broken = breaking(
    *CONTROL,
    *SECTIONS,
    *("<start_of_turn", "<end_of_turn", "<bos>", "<eos>"),
    *("<s>", "</s>", "[INST]", "[/INST]"),
    *("<guardian", "<think", "</think", "<no-think", "<score", "</score"),
)
_TURN = re.compile(
    r"^[^\S\n]*(?=(?:user|agent|assistant|human[ ]user|ai[ ]assistant|human[ ]question|chatbot[ ]response|answers)[ ]?:)",
    re.IGNORECASE | re.MULTILINE,
)


def unmarked(text: str) -> str:
    """Return a text in which no mark is left: a blank stands in each, and `> ` before lines that look like a turn.

    A line such as `USER: Hello` would otherwise be taken for the next turn, and be judged in place of the text.
    """
    return _TURN.sub("> ", _broken(text))
