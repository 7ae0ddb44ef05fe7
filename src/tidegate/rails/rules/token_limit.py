"""The rail `token_limit`: prompts that do not fit into the context of the model, or are longer than the operator wants."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.ports import TextViews
from tidegate.types.verdict import PASSED, Hold, RailFacts, Scene, Surface, Verdict

CATEGORY = "token_limit"


class TokenLimitConfig(RailConfig):
    """Settings of the rail `token_limit`."""

    kind: Literal["token_limit"] = "token_limit"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Most tokens of a prompt, as estimated. Default: only the context of the model limits it.",
    )
    reserve_tokens: int = Field(
        default=1,
        ge=0,
        description="Tokens of the context that are kept for the answer of a request that does not say how long its answer"
        " may be.",
    )


class TokenLimit:
    """Compares a request with the context of its model. Satisfies `ports.Rule`. What is unknown is not checked."""

    Config: ClassVar[type[TokenLimitConfig]] = TokenLimitConfig

    def __init__(self, config: TokenLimitConfig) -> None:
        self._max_tokens = config.max_tokens
        self._reserve_tokens = config.reserve_tokens
        self.about = RailFacts(
            name=config.name or "token_limit",
            version="1",
            surfaces=frozenset({Surface.INPUT}),
            hold=Hold("none"),
            usual_ms=0.001,
            once=True,
        )

    def check(self, views: TextViews, scene: Scene) -> Verdict:
        del views
        reason = self._too_long(scene)
        return Verdict(passed=False, category=CATEGORY, score=1.0, reason=reason) if reason else PASSED

    def _too_long(self, scene: Scene) -> str:
        prompt, context = scene.prompt_tokens, scene.context_tokens
        if self._max_tokens is not None and prompt > self._max_tokens:
            return f"the prompt has about {prompt} tokens and may have {self._max_tokens}"
        answer = scene.answer_tokens if scene.answer_tokens >= 0 else self._reserve_tokens
        if context >= 0 and prompt >= 0 and prompt + answer > context:
            return (
                f"the prompt has about {prompt} tokens and may have {max(context - answer, 0)}: the model's context of"
                f" {context} less {answer} for the answer"
            )
        return ""
