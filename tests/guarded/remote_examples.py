"""The examples of the rails that ask services."""

from __future__ import annotations

import json
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


def assessed(
    *filters: str, action: str = "BLOCKED", text: str = "Blocked.", **policies: Any
) -> dict[str, Any]:
    """What ApplyGuardrail says when content filters have intervened, or other policies."""
    content = [
        {"type": one, "confidence": "HIGH", "filterStrength": "HIGH", "action": action} for one in filters
    ]
    assessment = {**({"contentPolicy": {"filters": content}} if filters else {}), **policies}
    return {
        "action": "GUARDRAIL_INTERVENED",
        "actionReason": "Guardrail blocked.",
        "assessments": [assessment],
        "outputs": [{"text": text}],
        "usage": {"contentPolicyUnits": 1},
    }


UNTOUCHED = {"action": "NONE", "assessments": [{}], "outputs": [], "usage": {"contentPolicyUnits": 1}}
"""What ApplyGuardrail says when nothing was found."""


def armor(
    state: str = "NO_MATCH_FOUND",
    *,
    invocation: str = "SUCCESS",
    ran: str = "EXECUTION_SUCCESS",
    **filters: Any,
) -> dict[str, Any]:
    """What Model Armor says. Of its filters, injections have the state; the others match nothing."""
    quiet = {"executionState": "EXECUTION_SUCCESS", "matchState": "NO_MATCH_FOUND"}
    injections = {"executionState": ran, "matchState": state}
    known = {
        "csam": {"csamFilterFilterResult": quiet},
        "malicious_uris": {"maliciousUriFilterResult": quiet},
        "pi_and_jailbreak": {"piAndJailbreakFilterResult": injections},
        "rai": {
            "raiFilterResult": {
                **quiet,
                "raiFilterTypeResults": {"dangerous": {"matchState": "NO_MATCH_FOUND"}},
            }
        },
        **filters,
    }
    matched = "MATCH_FOUND" if '"MATCH_FOUND"' in json.dumps(known) else "NO_MATCH_FOUND"
    return {
        "sanitizationResult": {
            "filterMatchState": matched,
            "filterResults": known,
            "invocationResult": invocation,
            "sanitizationMetadata": {},
        }
    }


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
            {"flagged": False, "breakdown": [{"detected": True}]},
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
    "bedrock": GuardExample(
        safe=UNTOUCHED,
        unsafe=assessed("PROMPT_ATTACK"),
        category="injection",
        garbage=(
            {"action": "SOMETHING"},
            {"assessments": [], "outputs": []},
            {"action": "NONE", "assessments": "none"},
            {"message": "The security token included in the request is invalid."},
        ),
        unknown=assessed("SORCERY"),
        settings=at_root(region="eu-central-1", guardrail_id="gr1", api_key=KEY),
    ),
    "model_armor": GuardExample(
        safe=armor(),
        unsafe=armor("MATCH_FOUND"),
        category="injection",
        garbage=(
            {
                "sanitizationResult": {
                    "filterMatchState": "NO_MATCH_FOUND",
                    "filterResults": {},
                    "invocationResult": "SUCCESS",
                }
            },
            {"sanitizationResult": {}},
            {"sanitizationResult": {"filterMatchState": "NO_MATCH_FOUND"}},
            {"sanitizationResult": {**armor()["sanitizationResult"], "filterMatchState": "UNSPECIFIED"}},
            armor(invocation="PARTIAL"),
            armor(invocation="FAILURE"),
            armor(ran="EXECUTION_SKIPPED"),
        ),
        unknown=armor(sorcery={"sorceryFilterResult": {"matchState": "MATCH_FOUND"}}),
        settings=at_root(template="projects/p/locations/europe-west4/templates/t", api_key=KEY),
    ),
    "http": GuardExample(
        safe={"label": "ok"},
        unsafe={"label": "bad", "why": ["rude"]},
        category="profanity",
        garbage=({"label": "fine"}, {"label": True}, {"label": ["ok"]}, {"why": []}, "ok"),
        unknown={"label": "bad", "why": ["sorcery"]},
        settings=at_root(
            request={"input": "{text}"},
            verdict={"at": "/label", "unsafe": "bad", "safe": "ok"},
            categories={"at": "/why", "names": {"rude": "profanity"}},
        ),
    ),
}
