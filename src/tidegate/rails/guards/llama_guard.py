"""Llama Guard 3 and 4 (Meta): a verdict on the last turn of a conversation, with the codes of the violated categories.

The model answers `safe`, or `unsafe` and a second line with codes, such as `S1,S10`. The format is that of the model cards
of Llama Guard 3 (8B and 1B) and 4 (12B), which also reads images. Both have the same task. The tokens around it differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field, field_validator, model_validator

from tidegate.ports import Services
from tidegate.rails.asked.asking import Completion, NoAnswer, share
from tidegate.rails.asked.conversation import ASSISTANT, USER, Turn, picture
from tidegate.rails.asked.hazards import HAZARDS
from tidegate.rails.guards.marks import transcript, unmarked
from tidegate.rails.guards.model import CUT_OFF, GuardConfig, GuardModel, Judgement, by_code, facts
from tidegate.types import Endpoint, Scene

_MOST_TOKENS = 50
"""Enough for `unsafe` and all codes."""
_TITLES = {one.code: one.title for one in HAZARDS if one.code}


class LlamaGuardConfig(GuardConfig):
    """Llama Guard."""

    version: Literal[3, 4] = Field(default=3, description="Version of the model; 4 also reads images.")
    taxonomy: Mapping[str, str] = Field(
        default={},
        description="Categories of your own by code, such as `C1: Spoilers.`, each with what belongs to it. They replace"
        " the model's own.",
    )

    @field_validator("taxonomy")
    @classmethod
    def _codes(cls, taxonomy: Mapping[str, str]) -> Mapping[str, str]:
        for code, words in taxonomy.items():
            if not code.isalnum() or not words.strip():
                raise ValueError(
                    f"has the category '{code}': give codes such as C1, each with its description"
                )
        return taxonomy

    @model_validator(mode="after")
    def _one_of_both(self) -> LlamaGuardConfig:
        if self.taxonomy and self.categories:
            raise ValueError(
                "has `categories` and a `taxonomy` of its own: the taxonomy alone says what counts"
            )
        return self


class LlamaGuard(GuardModel):
    """Asks Llama Guard 3 or 4 whether a text is unsafe."""

    Config: ClassVar[type[LlamaGuardConfig]] = LlamaGuardConfig
    about = facts("llama_guard", "1")

    def __init__(self, config: LlamaGuardConfig) -> None:
        super().__init__(config, {code.lower(): "policy" for code in config.taxonomy} or by_code())
        self.about = msgspec.structs.replace(
            self.about, sees_images=config.version == 4 and config.transport == "chat"
        )
        self._version = config.version
        self._transport = config.transport
        self._taxonomy = config.taxonomy

    async def open(self, services: Services) -> None:
        """See `Opened`. A taxonomy needs a server that passes it on to the chat template."""
        await super().open(services)
        if self._taxonomy and self._transport == "chat":
            self._model.require(services, Endpoint.CHAT, "chat_template_kwargs")

    async def judge(self, turns: list[Turn], scene: Scene) -> Judgement:
        """See `GuardModel.judge`."""
        if self._transport == "completions":
            found = await self._model.complete(self._prompt(turns), scene, most_tokens=_MOST_TOKENS)
        else:
            found = await self._model.chat(
                _messages(turns, images=self.about.sees_images),
                scene,
                most_tokens=_MOST_TOKENS,
                **self._kwargs(),
            )
        return self._read(found)

    def _kwargs(self) -> dict[str, Any]:
        if not self._taxonomy:
            return {}
        return {
            "chat_template_kwargs": {
                "categories": {code: f"{code}: {words}" for code, words in self._taxonomy.items()}
            }
        }

    def _prompt(self, turns: Sequence[Turn]) -> str:
        begin, end, over = _MARKS[self._version]
        role = "Agent" if turns[-1].role == ASSISTANT else "User"
        listed = self._taxonomy or {code: f"{title}." for code, title in _TITLES.items()}
        categories = "\n".join(f"{code}: {words}" for code, words in listed.items())
        said = transcript(turns, user="User", assistant="Agent")
        # The server puts the token that begins every text before the prompt.
        return (
            f"{begin}user{end}\n\n"
            f"Task: Check if there is unsafe content in '{role}' messages in conversations according our safety policy"
            " with the below categories.\n\n"
            f"<BEGIN UNSAFE CONTENT CATEGORIES>\n{categories}\n<END UNSAFE CONTENT CATEGORIES>\n\n"
            f"<BEGIN CONVERSATION>\n\n{said}\n\n<END CONVERSATION>\n\n"
            f"Provide your safety assessment for ONLY THE LAST {role} message in the above conversation:\n"
            " - First line must read 'safe' or 'unsafe'.\n"
            " - If unsafe, a second line must include a comma-separated list of violated categories."
            f"{over}{begin}assistant{end}\n\n"
        )

    def _read(self, found: Completion) -> Judgement:
        word, _, rest = found.text.strip().partition("\n")
        word = word.strip().lower()
        if word not in ("safe", "unsafe"):
            raise NoAnswer("the model answered neither 'safe' nor 'unsafe'")
        unsafe = word == "unsafe"
        if rest.strip() and not unsafe:
            raise NoAnswer("the model answered 'safe' and something else")
        score = share(found.first, "unsafe", "safe")
        labels = [label.strip() for label in rest.strip().split("\n")[0].split(",")] if unsafe else []
        labels += [] if found.is_complete else [CUT_OFF]
        return Judgement(unsafe, score, tuple(label for label in labels if label))


_MARKS = {
    3: ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    4: ("<|header_start|>", "<|header_end|>", "<|eot|>"),
}
"""What stands around the name of a role, and at the end of a turn, by the version of the model."""


def _messages(turns: Sequence[Turn], *, images: bool) -> list[dict[str, Any]]:
    """Return the messages of a chat. The chat template demands that a user begins, and breaks up no marks in texts."""
    asked = [Turn(USER, "")] if turns[0].role == ASSISTANT else []
    return [_message(turn, images=images) for turn in (*asked, *turns)]


def _message(turn: Turn, *, images: bool) -> dict[str, Any]:
    text = unmarked(turn.text)
    if not (images and turn.media):
        return {"role": turn.role, "content": text}
    return {"role": turn.role, "content": [*map(picture, turn.media), {"type": "text", "text": text}]}
