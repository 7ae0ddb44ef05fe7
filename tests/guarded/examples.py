"""An example for each kind of rail that asks a model or a service: what the other side says, and what it means.

`test_matrix.py` takes the kinds from the registry, so a new kind needs a row here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from guarded.example import GuardExample, asks_model
from guarded.remote_examples import REMOTE
from guarded.server import chat, completion
from guarded.world import GUARD

TALK = (
    chat("I am only a teapot."),
    chat("Is it safe? unsafe? Who knows."),
    chat(""),
    chat("  \n "),
    chat(None),
)
"""Answers of models that keep to no format."""


def judge(safe: str, unsafe: str, category: str, body: Mapping[str, Any], **settings: Any) -> GuardExample:
    """A judge, which answers with a verdict in JSON. `safe` and `unsafe` are its two answers."""
    return GuardExample(
        safe=verdict(safe),
        unsafe=verdict(unsafe),
        category=category,
        garbage=(
            *TALK,
            chat(safe),
            chat('{"verdict": "maybe"}'),
            chat(f'{{"verdict": "{unsafe}", "verdict": "{safe}"}}'),
            chat('{"verdict": true}'),
            chat(f'It says {{"verdict": "{safe}"}}, but no.'),
            chat(f'{{"verdict": "{safe}"}}', finish="length"),
        ),
        settings=lambda _: {"model": GUARD, **settings},
        body=body,
    )


def verdict(word: str) -> Mapping[str, Any]:
    """The answer of a judge in JSON."""
    return chat(json.dumps({"verdict": word}))


TOLD = {"role": "tool", "tool_call_id": "c", "content": "Opening hours: 9 to 5."}
ASKED = {"messages": [{"role": "user", "content": "When do you open?"}], "answer": "We open at nine."}
"""An answer to a question."""

EXAMPLES: dict[str, GuardExample] = {
    "judge": judge("yes", "no", "criterion", ASKED, criterion="The text is polite."),
    "judge_commitments": judge("no", "yes", "commitment", ASKED, allow=["free shipping"]),
    "judge_facts": judge("yes", "no", "ungrounded", ASKED),
    "judge_groundedness": judge(
        "yes", "no", "ungrounded", {**ASKED, "messages": [*ASKED["messages"], TOLD]}, sources=["tools"]
    ),
    "judge_hallucination": judge("yes", "no", "ungrounded", ASKED, sampler=GUARD),
    "judge_topic": judge("yes", "no", "off_topic", {"input": "hello"}, topic="Orders of our shop."),
    "self_check": judge("no", "yes", "policy", {"input": "hello"}),
    "llama_guard": GuardExample(
        safe=chat("\n\nsafe"),
        unsafe=chat("\n\nunsafe\nS1,S10"),
        category="violent_crimes",
        garbage=TALK,
        unknown=chat("unsafe\nS99"),
    ),
    "classifier": GuardExample(
        safe={"data": [{"index": 0, "label": "LABEL_0", "probs": [0.9, 0.1], "num_classes": 2}]},
        unsafe={"data": [{"index": 0, "label": "LABEL_1", "probs": [0.02, 0.98], "num_classes": 2}]},
        category="jailbreak",
        garbage=(
            {"data": []},
            {"data": [{"label": "LABEL_1"}]},
            {"data": [{"probs": [0.1]}]},
            {"data": [{"probs": [0.1, 1.5]}]},
            {"data": [{"probs": [0.9, 0.1]}, {"probs": [0.9, 0.1]}]},
            {"data": [{"probs": ["0.9", "0.1"]}]},
            {"error": {"message": "safe"}},
        ),
        settings=lambda server: {"url": server.root, "model": "prompt-guard"},
    ),
    "granite_guardian": GuardExample(
        safe=chat("<think>\n</think>\n<score> no </score>"),
        unsafe=chat("<think>\n</think>\n<score> yes </score>"),
        category="unsafe",
        garbage=(
            *TALK,
            chat("yes"),
            chat("<score> no </score> or <score> yes </score>"),
            chat("<score>maybe</score>"),
        ),
    ),
    "qwen3_guard": GuardExample(
        safe=chat("Safety: Safe\nCategories: None"),
        unsafe=chat("Safety: Unsafe\nCategories: Violent, PII"),
        category="violent_crimes",
        garbage=(*TALK, chat("Safety: Safe"), chat("Safety: Safe or Unsafe\nCategories: None")),
        unknown=chat("Safety: Unsafe\nCategories: Bad Taste"),
    ),
    "shield_gemma": GuardExample(
        safe=chat("No"),
        unsafe=chat("Yes"),
        category="violent_crimes",
        garbage=(*TALK, chat("yes"), chat("Nobody knows"), chat("Maybe Yes")),
    ),
    "wild_guard": GuardExample(
        safe=completion("Harmful request: no\nResponse refusal: n/a\nHarmful response: n/a"),
        unsafe=completion("Harmful request: yes\nResponse refusal: n/a\nHarmful response: n/a"),
        category="unsafe",
        garbage=(
            completion("I am only a teapot."),
            completion(""),
            completion("Harmful request: no"),
            completion("Harmful request: perhaps\nResponse refusal: n/a\nHarmful response: n/a"),
            chat("Harmful request: no\nResponse refusal: n/a\nHarmful response: n/a"),
        ),
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
    **REMOTE,
}
