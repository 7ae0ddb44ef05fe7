"""The examples of the rails that ask services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from guarded.example import GuardExample
from guarded.server import Guard

KEY = "key-of-the-service"


def at_root(**more: Any) -> Callable[[Guard], Mapping[str, Any]]:
    """The settings of a rail whose service is the guard."""
    return lambda server: {"url": server.root, **more}


def moderation(flagged: bool, **categories: float) -> dict[str, Any]:
    """What OpenAI's moderation says; categories over 0.5 are true."""
    names = {name.replace("_", "/"): score for name, score in categories.items()}
    result = {
        "flagged": flagged,
        "categories": {name: score > 0.5 for name, score in names.items()},
        "category_scores": names,
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}


def lakera(*detected: str, payload: Any = ()) -> dict[str, Any]:
    """What Lakera Guard says."""
    one = {"project_id": "project-1", "policy_id": "policy-1", "detector_id": "detector-1", "message_id": 0}
    types = [*dict.fromkeys([*detected, "moderated_content/hate"])]
    return {
        "flagged": bool(detected),
        "breakdown": [{**one, "detector_type": each, "detected": each in detected} for each in types],
        "payload": list(payload),
        "metadata": {"request_uuid": "6a5b5ab4-0000-4000-8000-000000000000"},
    }


def analysis(**severities: int) -> dict[str, Any]:
    """What Azure's analysis of texts says."""
    known = {"Hate": 0, "SelfHarm": 0, "Sexual": 0, "Violence": 0, **severities}
    return {
        "blocklistsMatch": [],
        "categoriesAnalysis": [{"category": name, "severity": severity} for name, severity in known.items()],
    }


def found(kind: str, start: int, end: int, score: float = 0.85) -> dict[str, Any]:
    """One entity that Presidio has found."""
    return {"analysis_explanation": None, "end": end, "entity_type": kind, "score": score, "start": start}


REMOTE: dict[str, GuardExample] = {
    "openai_moderation": GuardExample(
        safe=moderation(False, violence=0.01, hate=0.002),
        unsafe=moderation(True, violence=0.97, hate=0.002),
        category="violence",
        garbage=(
            {"results": []},
            {"results": [{"flagged": "false", "categories": {}}]},
            {"results": [{"categories": {"violence": False}}]},
            {"results": [{"flagged": False, "categories": {}, "category_scores": {"violence": 7}}]},
            {"flagged": False},
        ),
        unknown=moderation(True, sorcery=0.9),
        settings=lambda server: {"url": server.base_url},
    ),
    "lakera": GuardExample(
        safe=lakera(),
        unsafe=lakera("prompt_attack"),
        category="injection",
        garbage=(
            {"flagged": "no"},
            {"flagged": None},
            {"breakdown": []},
            {**lakera("prompt_attack"), "flagged": False},
            lakera("pii/email", payload=[{"start": 3, "end": 999, "detector_type": "pii/email"}]),
            lakera("pii/email", payload=[{"start": 0, "end": 2, "detector_type": "pii/email", "text": "xy"}]),
        ),
        unknown=lakera("sorcery"),
        settings=at_root(),
    ),
    "azure_content_safety": GuardExample(
        safe=analysis(Hate=2),
        unsafe=analysis(Violence=6),
        category="violence",
        garbage=(
            {"categoriesAnalysis": []},
            {"categoriesAnalysis": [{"category": "Hate"}]},
            {"categoriesAnalysis": [{"category": "Hate", "severity": 99}]},
            {"userPromptAnalysis": {"attackDetected": False}, "documentsAnalysis": []},
        ),
        unknown=analysis(Sorcery=6),
        settings=at_root(shields=False, api_key=KEY),
    ),
    "presidio": GuardExample(
        safe=[],
        unsafe=[found("PERSON", 0, 5)],
        category="PERSON",
        garbage=(
            [found("PERSON", 0, 99)],
            [found("PERSON", 3, 3)],
            [found("PERSON", -1, 3)],
            [found("PERSON", 0, 5, score=85)],
            [{"entity_type": "PERSON"}],
            {"results": []},
        ),
        settings=at_root(),
    ),
}
