"""What all judges share: their settings, and the way from a text to a verdict.

A judge is a general model that is asked one question about a text, and answers `yes` or `no`. An answer that is neither is
an error of the rail, and so are votes that disagree.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar, Literal, TypeVar

import msgspec
from pydantic import Field, field_validator, model_validator

from tidegate.config.files import check_file
from tidegate.config.settings import not_empty
from tidegate.ports import Services, TextViews
from tidegate.rails.asked.asking import AskingConfig, Model, NoAnswer, known, no_verdict
from tidegate.rails.asked.conversation import USER, Turn, conversation_of
from tidegate.rails.judges.answering import YES, Answer, Form, Word, demand, read, told
from tidegate.rails.judges.prompt import filled, names_in, said, unknown_in
from tidegate.types import PASSED, Endpoint, Hold, Message, RailFacts, Scene, Surface, Verdict

T = TypeVar("T")
USUAL_MS = 500.0
"""How long a model of 8 to 70 billion parameters takes for a page of prompt and a word of answer."""
_MARK_BYTES = 8
Values = dict[str, str | Sequence[str]]
"""The values of placeholders by name. A list stands for several texts."""


class JudgeConfig(AskingConfig):
    """A judge."""

    placeholders: ClassVar[Sequence[str]] = ("text", "question", "context")
    """What its prompt may have."""

    prompt: str | None = Field(
        default=None,
        description="The question to the model, with the placeholder `{{ text }}` for the text that is judged, and others"
        " that the page of the kind lists. It has to be one that `yes` or `no` answers. Default: the kind's own.",
    )
    prompt_path: Path | None = Field(default=None, description="File with the prompt.")
    form: Literal["json", "word"] | None = Field(
        default=None,
        description="How the model answers: by a JSON object that `response_format` demands, or by one word. Default:"
        " `json` if every engine of the model takes `response_format`.",
    )
    answer_tokens: int = Field(
        default=64,
        ge=1,
        description="Most tokens of an answer. Models that think before they answer need many more.",
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Probability of the answer that objects, from which the rail objects, for engines that send"
        " `logprobs`. Default: what the model answers.",
    )
    votes: int = Field(
        default=1,
        ge=1,
        le=15,
        description="How often the model is asked, at the same time and with temperature 1; the majority decides. It has to"
        " be odd.",
    )
    agreeing_votes: int | None = Field(
        default=None,
        ge=1,
        description="How many votes have to say the same. With fewer, the rail has no verdict and `on_error` decides."
        " Default: more than half of `votes`.",
    )
    most_turns: int = Field(
        default=10, ge=1, description="How many of the latest turns of a conversation the judge reads."
    )

    @field_validator("prompt")
    @classmethod
    def _prompt_usable(cls, prompt: str | None) -> str | None:
        return None if prompt is None else cls._usable(not_empty(prompt, "write the question"))

    @field_validator("prompt_path")
    @classmethod
    def _prompt_file_usable(cls, path: Path | None) -> Path | None:
        if path is not None:
            cls._usable(read_file(path))
        return path

    @classmethod
    def _usable(cls, prompt: str) -> str:
        if wrong := unknown_in(prompt, cls.placeholders):
            raise ValueError(wrong)
        return prompt

    @field_validator("votes")
    @classmethod
    def _odd(cls, votes: int) -> int:
        if votes % 2 == 0:
            raise ValueError(f"is {votes}: set an odd number, so that there is a majority")
        return votes

    @model_validator(mode="after")
    def _go_together(self) -> JudgeConfig:
        if self.prompt is not None and self.prompt_path is not None:
            raise ValueError("has `prompt` and `prompt_path`: leave out one of them")
        agreeing = self.agreeing_votes
        if agreeing is not None and not self.votes // 2 < agreeing <= self.votes:
            raise ValueError(
                f"has agreeing_votes: {agreeing} of {self.votes} `votes`: set more than half, and no more than all"
            )
        return self


class NothingToJudge(Exception):
    """There is nothing that a text could be judged by, and the operator lets it pass."""


def read_file(path: Path) -> str:
    """Return the text of a file of the operator's. Raises ValueError if it has none."""
    try:
        return not_empty(check_file(path).read_text("utf-8"), "write a text into the file")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text") from error


def facts(kind: str, usual: Iterable[Surface]) -> RailFacts:
    """Return the facts of a judge of texts of every surface."""
    return RailFacts(
        kind,
        "1",
        frozenset(Surface),
        tier=2,
        hold=Hold("sentence"),
        usual_ms=USUAL_MS,
        usual=frozenset(usual),
        reads_messages=True,
        punctual=True,
    )


def facts_of_answers(kind: str, *, usual_ms: float = USUAL_MS) -> RailFacts:
    """Return the facts of a judge of whole answers, which knows the documents of the request."""
    return msgspec.structs.replace(
        facts(kind, [Surface.OUTPUT]),
        surfaces=frozenset({Surface.OUTPUT}),
        hold=Hold("whole"),
        usual_ms=usual_ms,
        reads_context=True,
    )


class Judge(ABC):
    """A judge. A subclass has its question, the answer by which it objects, and the values of its placeholders."""

    about: RailFacts
    default_prompt: str
    objects: Word = YES
    category: str

    def __init__(self, config: JudgeConfig) -> None:
        given = config.prompt if config.prompt_path is None else read_file(config.prompt_path)
        self.prompt = self.default_prompt if given is None else given
        self.model = Model(config.name or config.kind, config)
        self._config = config
        self._used = names_in(self.prompt)
        self._form: Form = config.form or "word"

    async def open(self, services: Services) -> None:
        """See `Opened`. The form `json` needs a server that takes the field which demands it."""
        self.model.open(services)
        form = self._config.form
        if form == "json":
            self.model.require(services, Endpoint.CHAT, "response_format")
        elif form is None:
            self._form = "json" if self.model.takes(services, Endpoint.CHAT, "response_format") else "word"

    async def close(self) -> None:  # noqa: B027 - nothing has to be closed, since the model is the configuration's
        """See `Opened`."""

    async def check(self, views: TextViews, scene: Scene) -> Verdict:
        """Ask the model about a text. Raises GatewayError if it cannot be asked."""
        turns = conversation_of(views, scene, most=self._config.most_turns)
        remembered = self.model.remembered
        try:
            values = {**self.values(turns, scene), "text": turns[-1].text}
            about = [scene.caller.organisation, scene.surface.value, *self.content(values, scene)]
            key = remembered.key_of(about)
            verdict = remembered.get(key)
            if verdict is None:
                verdict = await self._judged({**values, **await self.found_out(scene)}, scene)
        except NoAnswer as error:
            return no_verdict(str(error))
        except NothingToJudge:
            return PASSED
        remembered.put(key, verdict)
        return verdict

    @abstractmethod
    def values(self, turns: Sequence[Turn], scene: Scene) -> Values:
        """Return the values of placeholders other than `text`.

        Raises NoAnswer, or NothingToJudge, if there is nothing to judge by.
        """

    async def found_out(self, scene: Scene) -> Values:
        """Return the values that have to be asked for. Raises NoAnswer, and GatewayError."""
        del scene
        return {}

    def content(self, values: Values, scene: Scene) -> Iterable[str]:
        """Return all that a verdict depends on."""
        del scene
        for name in sorted(values.keys() & self._used):
            value = values[name]
            yield from (name, value) if isinstance(value, str) else (name, str(len(value)), *value)

    async def _judged(self, values: Values, scene: Scene) -> Verdict:
        mark = token_hex(_MARK_BYTES)
        # What changes with each check comes late, so that the engine still knows the beginning of the prompt.
        prompt = f"{filled(self.prompt, values, mark)}\n\n{said(mark)} {told(self._form)}"
        if self._config.votes == 1:
            return self._verdict([await self._asked(prompt, scene)])
        votes = await together([self._vote(prompt, scene) for _ in range(self._config.votes)])
        return self._verdict([one for one in votes if one is not None])

    async def _asked(self, prompt: str, scene: Scene, temperature: float = 0) -> Answer:
        found = await self.model.chat(
            [{"role": USER, "content": prompt}],
            scene,
            most_tokens=self._config.answer_tokens,
            temperature=temperature,
            **demand(self._form),
        )
        return read(self._form, found)

    async def _vote(self, prompt: str, scene: Scene) -> Answer | None:
        """Return one vote of several; None for one that cannot be read."""
        try:
            return await self._asked(prompt, scene, temperature=1)
        except NoAnswer:
            return None

    def _verdict(self, answers: Sequence[Answer]) -> Verdict:
        """Return the verdict of some votes. Raises NoAnswer if too few of them agree."""
        config = self._config
        needed = config.agreeing_votes or config.votes // 2 + 1
        chances = [self._chance(one) for one in answers]
        objecting = [self._is_objecting(one, chance) for one, chance in zip(answers, chances, strict=True)]
        against, passing = objecting.count(True), objecting.count(False)
        if max(against, passing) < needed:
            raise NoAnswer(
                f"the votes disagree: {against} of {config.votes} object and {passing} do not, {needed} have to agree"
            )
        score = sum(chances) / len(chances)
        if passing >= needed:
            return Verdict(passed=True, score=score, scores=((self.category, score),))
        return Verdict(
            passed=False,
            category=self.category,
            score=score,
            reason=self.category,
            scores=((self.category, score),),
        )

    def _chance(self, answer: Answer) -> float:
        """Return the probability of the answer that objects. Raises NoAnswer if there is a threshold and none is known."""
        if answer.chance is None and self._config.threshold is None:
            return float(answer.word == self.objects)
        chance = known(answer.chance)
        return chance if self.objects == YES else 1 - chance

    def _is_objecting(self, answer: Answer, chance: float) -> bool:
        threshold = self._config.threshold
        return answer.word == self.objects if threshold is None else chance >= threshold


def question_in(turns: Sequence[Turn], scene: Scene) -> str:
    """Return what the user has asked last, before the text that is judged."""
    asked = [turn.text for turn in turns[:-1] if turn.role == USER]
    return scene.question or (asked[-1] if asked else "")


def talk_in(turns: Sequence[Turn]) -> tuple[str, ...]:
    """Return the conversation before the text that is judged, with the roles of those who speak."""
    return tuple(f"{turn.role}: {turn.text}" for turn in turns[:-1])


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of some work that is done at once. The first failure ends the rest of it, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return [task.result() for task in tasks]


def raw_messages(scene: Scene) -> list[msgspec.Raw]:
    """Return the messages of a request as they are sent to an engine."""
    if scene.messages:
        return [one.raw for one in scene.messages]
    return [Message.of(USER, scene.question).raw] if scene.question else []
