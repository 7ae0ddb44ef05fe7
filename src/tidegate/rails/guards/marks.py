"""Keeps texts under check from ending their own part of a guard's prompt, or from going on with a turn of their own.

A judged text is untrusted. With the marks of the prompt in it, such as `<|eot_id|>`, it could go on as the operator, or as
the model that answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tidegate.rails.asked.conversation import ASSISTANT, Turn

_CONTROL = ("<|", "|>")
"""What control tokens of Llama, Qwen and gpt-oss begin and end with. Servers read them in the texts of messages too."""
_SECTIONS = ("<BEGIN", "<END")
"""What the names of the sections of a prompt begin with in the format of Llama Guard and its relatives."""
_MARK = re.compile(
    "|".join(
        map(
            re.escape,
            (
                *_CONTROL,
                *_SECTIONS,
                *("<start_of_turn", "<end_of_turn", "<bos>", "<eos>"),
                *("<s>", "</s>", "[INST]", "[/INST]"),
                *("<guardian", "<think", "</think", "<no-think", "<score", "</score"),
            ),
        )
    ),
    re.IGNORECASE,
)
_TURN = re.compile(
    r"^[^\S\n]*(?=(?:user|agent|assistant|human[ ]user|ai[ ]assistant|human[ ]question|chatbot[ ]response|answers"
    r"|response)[ ]?:)",
    re.IGNORECASE | re.MULTILINE,
)


def unmarked(text: str) -> str:
    """Return a text in which no mark is left: a blank stands in each, and `> ` before lines that look like a turn.

    A line such as `USER: Hello` would otherwise be taken for the next turn, and be judged in place of the text.
    """
    # Most texts have none of these characters, and the patterns look at every place.
    if "<" in text or "[" in text or "|>" in text:
        text = _MARK.sub(_broken, text)
    return _TURN.sub("> ", text) if ":" in text else text


def transcript(turns: Iterable[Turn], *, user: str, assistant: str) -> str:
    """Return some turns as one text without marks. `user` and `assistant` are the names that stand before their words."""
    return "\n\n".join(
        f"{assistant if one.role == ASSISTANT else user}: {unmarked(one.text)}" for one in turns
    )


def exchange(turns: Sequence[Turn]) -> tuple[str, str | None]:
    """Return what the user said last, and the answer to it if that is what is judged, both without marks."""
    last = unmarked(turns[-1].text)
    if turns[-1].role != ASSISTANT:
        return last, None
    return unmarked(turns[-2].text) if len(turns) > 1 else "", last


def _broken(mark: re.Match[str]) -> str:
    return f"{mark[0][0]} {mark[0][1:]}"
