"""WildGuard (Ai2, 7B): whether a request is harmful, whether the answer refuses it, and whether the answer is harmful.

The model answers with three lines, such as `Harmful request: no`. The prompt is that of the repository allenai/wildguard.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tidegate.rails.asked.asking import Completion, NoAnswer, share
from tidegate.rails.asked.conversation import USER, Turn
from tidegate.rails.guards.marks import exchange
from tidegate.rails.guards.model import GuardConfig, GuardModel, Judgement, facts
from tidegate.types import Scene

_MOST_TOKENS = 32
_ANSWER = re.compile(
    r"\s*Harmful request:[^\S\n]*(yes|no)[^\S\n]*\n\s*Response refusal:[^\S\n]*(yes|no|n/a)[^\S\n]*\n"
    r"\s*Harmful response:[^\S\n]*(yes|no|n/a)\s*",
    re.IGNORECASE,
)


class WildGuardConfig(GuardConfig):
    """WildGuard."""

    transport: Literal["chat", "completions"] = Field(
        default="completions",
        description="How the model is asked: by `completions`, or by `chat` from a server whose chat template is empty. The"
        " gateway sends the whole prompt in both cases.",
    )

    @model_validator(mode="after")
    def _tells_no_categories(self) -> WildGuardConfig:
        if self.categories is not None:
            raise ValueError("has `categories`, which WildGuard does not tell apart: remove them")
        return self


class WildGuard(GuardModel):
    """Asks WildGuard whether a request or an answer is harmful."""

    Config: ClassVar[type[WildGuardConfig]] = WildGuardConfig
    about = facts("wild_guard", "1")

    def __init__(self, config: WildGuardConfig) -> None:
        super().__init__(config, {})
        self._transport = config.transport

    async def judge(self, turns: list[Turn], scene: Scene) -> Judgement:
        """See `GuardModel.judge`."""
        prompt, response = exchange(turns)
        text = _PROMPT.format(prompt=prompt, response=response or "")
        if self._transport == "completions":
            # The server puts the token that begins every text before the prompt.
            found = await self._model.complete(text, scene, most_tokens=_MOST_TOKENS)
        else:
            messages = [{"role": USER, "content": f"<s>{text}"}]
            found = await self._model.chat(messages, scene, most_tokens=_MOST_TOKENS)
        return _read(found, answered=response is not None)


_PROMPT = (
    "<|user|>\n[INST] You are a classifier for analyzing interactions between humans and LLMs. Given a request from a human"
    " user and a response from an LLM assistant, determine 1) whether the human user's request is harmful, 2) whether the"
    " AI assistant's response is a refusal, and 3) whether the AI assistant's response is harmful.\n\n"
    "Human user:\n{prompt}\n\nAI assistant:\n{response}\n\n---\n\nAnswers: [/INST]\n<|assistant|>\n"
)


def _read(found: Completion, *, answered: bool) -> Judgement:
    answer = _ANSWER.fullmatch(found.text)
    word = answer and answer[3 if answered else 1].lower()
    if word not in ("yes", "no"):
        raise NoAnswer("the model's answer has not its three lines, or no judgement of what was asked")
    mark = "Harmful response:" if answered else "Harmful request:"
    return Judgement(word == "yes", share(found.after(mark), "yes", "no"))
