"""An example for each kind of rail that asks a model or a service: what the other side says, and what it means.

`test_matrix.py` takes the kinds from the registry, so a new kind needs a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from guarded.server import Guard, chat
from guarded.world import GUARD


def asks_model(_: Guard) -> Mapping[str, Any]:
    """The settings of a rail that asks the guard's model."""
    return {"model": GUARD}


class GuardExample(NamedTuple):
    """The answers of the other side, as JSON or as bytes, to the check of a text.

    `unsafe` means the `category`. `unknown` objects under a label that nobody knows; None if the format has no labels.
    `garbage` are answers that say nothing that can be trusted. `settings` makes the settings from the server.
    """

    safe: Any
    unsafe: Any
    category: str
    garbage: Sequence[Any]
    unknown: Any = None
    settings: Callable[[Guard], Mapping[str, Any]] = asks_model
    body: Mapping[str, Any] = {"input": "hello"}


TALK = (
    chat("I am only a teapot."),
    chat("Is it safe? unsafe? Who knows."),
    chat(""),
    chat("  \n "),
    chat(None),
)
"""Answers of models that keep to no format."""

EXAMPLES: dict[str, GuardExample] = {
    "llama_guard": GuardExample(
        safe=chat("\n\nsafe"),
        unsafe=chat("\n\nunsafe\nS1,S10"),
        category="violent_crimes",
        garbage=TALK,
        unknown=chat("unsafe\nS99"),
    ),
    "nemo_content_safety": GuardExample(
        safe=chat('{"User Safety": "safe"}'),
        unsafe=chat('{"User Safety": "unsafe", "Safety Categories": "Violence, Threat"}'),
        category="violence",
        garbage=(
            *TALK,
            chat("unsafe"),
            chat('{"Response Safety": "safe"}'),
            chat('{"User Safety": "unsa'),
            chat('"safe"'),
        ),
        unknown=chat('{"User Safety": "unsafe", "Safety Categories": "Sorcery"}'),
    ),
    "nemo_topic_control": GuardExample(
        safe=chat(" on-topic"),
        unsafe=chat("off-topic"),
        category="off_topic",
        garbage=(*TALK, chat("off-topic or on-topic"), chat("topic"), chat("not off-topic")),
        settings=lambda server: {**asks_model(server), "guidelines": "Talk about tea."},
    ),
    "gpt_oss_safeguard": GuardExample(
        safe=chat('{"violation": 0, "policy_category": null}'),
        unsafe=chat('{"violation": 1, "policy_category": "H1"}'),
        category="hate",
        garbage=(*TALK, chat("0"), chat('{"violation": "0"}'), chat('{"policy_category": null}'), chat("{}")),
        unknown=chat('{"violation": 1, "policy_category": "Z9"}'),
        settings=lambda server: {
            **asks_model(server),
            "policy": "H1: Do not hate.",
            "labels": {"H1": "hate"},
        },
    ),
    "nemo_jailbreak": GuardExample(
        safe={"jailbreak": False, "score": -0.9},
        unsafe={"jailbreak": True, "score": 0.7},
        category="jailbreak",
        garbage=({"score": 0.1}, {"jailbreak": None}, {"jailbreak": "false"}, {"jailbreak": 0}, "safe"),
        settings=lambda server: {"url": server.base_url},
    ),
}
