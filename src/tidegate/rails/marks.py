"""Marks that structure a prompt, such as `<|eot_id|>`, broken up where they stand in a text that is judged.

A judged text is untrusted. With the marks of the prompt in it, it could end its own part of the prompt and go on as the
operator, or as the model that answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

CONTROL = ("<|", "|>")
"""What control tokens of Llama, Qwen and gpt-oss begin and end with. Servers read them in the texts of messages too."""
SECTIONS = ("<BEGIN", "<END")
"""What the names of the sections of a prompt begin with in the format of Llama Guard and its relatives."""


def breaking(*marks: str) -> Callable[[str], str]:
    """Return the function that puts a blank behind the first character of each of some marks in a text, in any case."""
    found = re.compile("|".join(map(re.escape, marks)), re.IGNORECASE)
    return lambda text: found.sub(_broken, text)


def _broken(mark: re.Match[str]) -> str:
    return f"{mark[0][0]} {mark[0][1:]}"
