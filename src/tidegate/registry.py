"""Finds the class for a `kind` in the configuration. A class is imported only if a configuration names its kind.

Built-in kinds are listed here, one line each. Other packages add kinds through an entry point of the same group:

    [project.entry-points."tidegate.engines"]
    parrot = "my_package:ParrotEngine"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

BUILT_IN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "tidegate.engines": MappingProxyType(
            {
                "openai": "tidegate.engines.openai:OpenAIEngine",
                "vllm": "tidegate.engines.vllm:VllmEngine",
                "sglang": "tidegate.engines.sglang:SglangEngine",
                "llamacpp": "tidegate.engines.llamacpp:LlamaCppEngine",
                "embedded": "tidegate.engines.embedded.engine:EmbeddedEngine",
                "embedder": "tidegate.engines.embedder:EmbedderEngine",
                "scripted": "tidegate.engines.scripted.engine:ScriptedEngine",
            }
        ),
        "tidegate.rails": MappingProxyType(
            {
                "advice": "tidegate.rails.rules.wording.advice:AdviceRail",
                "azure_content_safety": "tidegate.rails.remote.azure_content_safety:AzureContentSafety",
                "bedrock": "tidegate.rails.remote.bedrock:Bedrock",
                "bloat": "tidegate.rails.rules.bloat:Bloat",
                "blocklist": "tidegate.rails.rules.blocklist:Blocklist",
                "classifier": "tidegate.rails.remote.classifier:RemoteClassifier",
                "code_injection": "tidegate.rails.rules.code_injection:CodeInjection",
                "commitments": "tidegate.rails.rules.wording.commitments:Commitments",
                "copied": "tidegate.rails.rules.leaking.copied:Copied",
                "gpt_oss_safeguard": "tidegate.rails.guards.gpt_oss_safeguard:GptOssSafeguard",
                "granite_guardian": "tidegate.rails.guards.granite_guardian:GraniteGuardian",
                "harm_detector": "tidegate.rails.detectors.harm_detector:HarmDetector",
                "hidden_text": "tidegate.rails.rules.hidden_text:HiddenText",
                "http": "tidegate.rails.remote.http:Http",
                "injection": "tidegate.rails.rules.injection:Injection",
                "injection_detector": "tidegate.rails.detectors.injection_detector:InjectionDetector",
                "injection_statistics": "tidegate.rails.rules.injection_statistics:InjectionStatistics",
                "judge": "tidegate.rails.judges.criterion:Criterion",
                "judge_commitments": "tidegate.rails.judges.commitments:JudgedCommitments",
                "judge_facts": "tidegate.rails.judges.facts:Facts",
                "judge_groundedness": "tidegate.rails.judges.groundedness:Groundedness",
                "judge_hallucination": "tidegate.rails.judges.hallucination:Hallucination",
                "judge_topic": "tidegate.rails.judges.topic:Topic",
                "lakera": "tidegate.rails.remote.lakera:Lakera",
                "language": "tidegate.rails.rules.wording.language:Language",
                "links": "tidegate.rails.rules.leaking.links:Links",
                "llama_guard": "tidegate.rails.guards.llama_guard:LlamaGuard",
                "model_armor": "tidegate.rails.remote.model_armor:ModelArmor",
                "nemo_content_safety": "tidegate.rails.guards.nemo.content_safety:NemoContentSafety",
                "nemo_jailbreak": "tidegate.rails.remote.nemo_jailbreak:NemoJailbreak",
                "nemo_topic_control": "tidegate.rails.guards.nemo.topic_control:NemoTopicControl",
                "openai_moderation": "tidegate.rails.remote.openai_moderation:OpenAIModeration",
                "pii": "tidegate.rails.rules.pii:Pii",
                "presidio": "tidegate.rails.remote.presidio:Presidio",
                "prompt_guard": "tidegate.rails.guards.prompt_guard:PromptGuard",
                "prompt_leak": "tidegate.rails.rules.leaking.prompt_leak:PromptLeak",
                "python": "tidegate.rails.rules.python:PythonFile",
                "qwen3_guard": "tidegate.rails.guards.qwen3_guard:Qwen3Guard",
                "regex": "tidegate.rails.rules.regex:Regex",
                "secrets": "tidegate.rails.rules.secrets:Secrets",
                "self_check": "tidegate.rails.judges.self_check:SelfCheck",
                "shield_gemma": "tidegate.rails.guards.shield_gemma:ShieldGemma",
                "spotlighting": "tidegate.rails.marking.spotlighting:Spotlighting",
                "token_limit": "tidegate.rails.rules.token_limit:TokenLimit",
                "toxicity": "tidegate.rails.rules.wording.toxicity:Toxicity",
                "toxicity_detector": "tidegate.rails.detectors.toxicity_detector:ToxicityDetector",
                "wild_guard": "tidegate.rails.guards.wild_guard:WildGuard",
            }
        ),
        "tidegate.caches": MappingProxyType({}),
        "tidegate.stores": MappingProxyType({"local": "tidegate.stores.local:LocalStore"}),
    }
)


class UnknownGroup(LookupError):
    """There is no such group of parts, which is a mistake in the calling code. The message lists the existing groups."""


class UnknownKind(LookupError):
    """There is no usable part of this kind. The message gives the reason, or lists the existing kinds."""


def built_in(group: str) -> Mapping[str, str]:
    """Return the built-in kinds of a group, each with the import path of its class. Raises UnknownGroup."""
    if group not in BUILT_IN:
        raise UnknownGroup(f"there is no group of parts '{group}'; there are: {', '.join(BUILT_IN)}")
    return BUILT_IN[group]


def kinds(group: str) -> list[str]:
    """Return the built-in and installed kinds of a group in alphabetical order. Raises UnknownGroup."""
    return sorted({*built_in(group), *(point.name for point in entry_points(group=group))})


def find(group: str, kind: str) -> Any:
    """Import and return the class of one kind.

    Raises UnknownKind if no package or more than one package offers the kind. Raises UnknownGroup.
    """
    if target := built_in(group).get(kind):
        module, _, name = target.partition(":")
        return getattr(import_module(module), name)
    points = entry_points(group=group, name=kind)
    if len(points) > 1:
        offers = ", ".join(sorted(point.value for point in points))
        raise UnknownKind(f"several packages offer the kind '{kind}': {offers}; uninstall all but one")
    for point in points:
        return point.load()
    raise UnknownKind(f"there is no kind '{kind}'; there are: {', '.join(kinds(group)) or 'none'}")
