"""Prompt Guard 2 (Meta, 22M and 86M), or any classifier like it: whether a text is a jailbreak or an injection.

The model is an ONNX file of the operator's and runs in this process. Its last label is the malicious one. The threshold
is that of LlamaFirewall in PurpleLlama.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.models.classifier import Busy, Classifier, Unusable
from tidegate.ports import Services, TextViews
from tidegate.rails.asked.asking import no_verdict
from tidegate.rails.asked.remembered import Remembered
from tidegate.types import PASSED, RailFacts, Scene, Surface, Verdict

UNTRUSTED: Final = frozenset({Surface.INPUT, Surface.RETRIEVAL, Surface.TOOL})
MALICIOUS: Final = 0.9
"""The probability from which a text is malicious, by default."""


def category_of(surface: Surface) -> str:
    """Return what a malicious text is called: users try to jailbreak, and documents to inject."""
    return "jailbreak" if surface is Surface.INPUT else "injection"


class PromptGuardConfig(RailConfig):
    """Prompt Guard 2, in this process."""

    model_path: Path = Field(description="ONNX file of the model.")
    tokenizer_path: Path = Field(description="The model's `tokenizer.json`.")
    threshold: float = Field(
        default=MALICIOUS, gt=0, le=1, description="Probability from which a text is malicious."
    )
    respace: bool = Field(
        default=False,
        description="Whether blanks within words are removed before the model reads a text, against words such as"
        " `i g n o r e`.",
    )
    threads: int = Field(default=1, ge=1, description="Threads that compute one window of a text.")
    cache_s: float = Field(
        default=300,
        ge=0,
        description="How long the verdict on the same text is remembered, in seconds; 0 runs the model every time.",
    )


class PromptGuard:
    """Runs Prompt Guard 2 on each text."""

    Config: ClassVar[type[PromptGuardConfig]] = PromptGuardConfig
    about = RailFacts("prompt_guard", "1", UNTRUSTED, tier=1, usual_ms=25.0)

    def __init__(self, config: PromptGuardConfig) -> None:
        self._config = config
        self._remembered: Remembered
        self._classifier: Classifier

    async def open(self, services: Services) -> None:
        """See `Opened`. Loads the model, which takes seconds."""
        config = self._config
        self._remembered = Remembered(services.clock, config.cache_s)
        self._classifier = Classifier(
            config.model_path,
            config.tokenizer_path,
            threads=config.threads,
            respaced=config.respace,
            clock=services.clock,
        )
        await self._classifier.open()

    async def close(self) -> None:
        """See `Opened`."""
        await self._classifier.close()

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        """Run the model on a text."""
        if not views.original.strip():
            return PASSED
        key = self._remembered.key_of([scene.caller.organisation, scene.surface.value, views.original])
        verdict = self._remembered.get(key)
        if verdict is None:
            # A lone surrogate has no bytes in UTF-8, which the tokenizer reads.
            text = views.original.encode("utf-8", "replace").decode()
            try:
                score = await self._classifier.probability(text, scene.deadline)
            except (Busy, Unusable) as error:
                return no_verdict(str(error))
            verdict = self._verdict(score, scene.surface)
            self._remembered.put(key, verdict)
        return verdict

    def _verdict(self, score: float, surface: Surface) -> Verdict:
        name = category_of(surface)
        scores = ((name, score),)
        if score < self._config.threshold:
            return Verdict(passed=True, score=score, scores=scores)
        return Verdict(passed=False, category=name, score=score, reason=name, scores=scores)
