"""Keeps texts under check from closing the delimiters of a guard's prompt.

Servers read marks such as `<end_of_turn>` as tokens of their own, also where they stand in the text of a message. A text
could thereby end its own turn and write the answer of the guard itself. A line such as `USER: Hello` would be taken for the
next turn.
"""

from __future__ import annotations

import re

_MARK = re.compile(
    r"""<(?=\|[^<>|\s]{1,40}\|>)
    | <(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|guardian|think|no-think|score|confidence|criteria)>)
    | <(?=(?:BEGIN|END)\s[A-Z\s]{1,60}>)
    | \[(?=/?INST\])""",
    re.IGNORECASE | re.VERBOSE,
)
_TURN = re.compile(
    r"^[^\S\n]*(?=(?:user|agent|assistant|human[ ]user|ai[ ]assistant|human[ ]question|chatbot[ ]response|answers)[ ]?:)",
    re.IGNORECASE | re.MULTILINE,
)


def unmarked(text: str) -> str:
    """Return a text in which no mark is left: a blank stands in each, and `> ` before lines that look like a turn."""
    return _TURN.sub("> ", _MARK.sub(lambda found: f"{found[0]} ", text))
