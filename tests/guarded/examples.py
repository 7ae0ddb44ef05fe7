"""An example for each kind of rail that asks a model or a service: what the other side says, and what it means.

`test_matrix.py` takes the kinds from the registry, so a new kind needs a row here.
"""

from __future__ import annotations

from guarded.example import GuardExample
from guarded.remote_examples import REMOTE
from guarded.server import chat

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
    **REMOTE,
}
