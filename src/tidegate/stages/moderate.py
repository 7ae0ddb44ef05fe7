"""The stage `moderate`: what the rails of a profile say of texts and images, in the form of OpenAI's moderations.

It takes the place of all stages behind `limit` in the pipeline of `POST /v1/moderations`. The model of a request names the
profile. Each input is checked as the message of a user, by all rails of the profile, also after one has objected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from tidegate.call import Call, Checks
from tidegate.config.rails import OMNI
from tidegate.dispatch.deployments import unknown
from tidegate.errors import BadRequest, ModelNotFound, RailFailed
from tidegate.rails.checking import Decision, Limits, add_finding
from tidegate.rails.moderation import CATEGORIES, OF_IMAGES, scored
from tidegate.rails.moderators import Moderators
from tidegate.rails.plan import Plan
from tidegate.rails.step import Step
from tidegate.rails.units import WHOLE_REQUEST
from tidegate.stages.check import check_fields, own_reply
from tidegate.stages.narrowing import PROFILE
from tidegate.stages.railed import Railed
from tidegate.types import (
    Action,
    Finding,
    ImagePart,
    Message,
    Moderated,
    ModerationRequest,
    Reply,
    Surface,
    Text,
    TextPart,
    Where,
)

MOST_INPUTS = 2048
"""The most items of `input`, as for embeddings at OpenAI."""
AT_ONCE = 16
"""So many inputs of one request are checked side by side by rails that are not rules."""
_USER = "user"
_INPUT = msgspec.json.Decoder(str | list[Moderated])
T = TypeVar("T")


class ByCategory(
    msgspec.Struct,
    Generic[T],
    frozen=True,
    rename={name.replace("/", "_").replace("-", "_"): name for name in CATEGORIES},
):
    """A value for each category of OpenAI's, in the order of `CATEGORIES`."""

    harassment: T
    harassment_threatening: T
    sexual: T
    hate: T
    hate_threatening: T
    illicit: T
    illicit_violent: T
    self_harm_intent: T
    self_harm_instructions: T
    self_harm: T
    sexual_minors: T
    violence: T
    violence_graphic: T


class Moderation(msgspec.Struct, frozen=True):
    """What the rails say of one input.

    `flagged` says that the profile would block or change it, or let a person decide. It may be so without a category, since
    rails know more than OpenAI's categories. `category_scores` says how sure the rails are.
    """

    flagged: bool
    categories: ByCategory[bool]
    category_scores: ByCategory[float]
    category_applied_input_types: ByCategory[list[str]]


class ModerationResult(msgspec.Struct, frozen=True):
    """The answer to a moderation: one result for each text, or one for all parts of an input."""

    id: str
    model: str
    results: list[Moderation]


class Moderate:
    """Runs the rails that the request's model stands for."""

    def __init__(self, railed: Railed, moderators: Moderators) -> None:
        self._railed = railed
        self._moderators = moderators

    async def __call__(self, call: Call) -> Reply:
        """Judge each input. Raises BadRequest, ModelNotFound, and RailFailed if a rail could not check one of them."""
        request = call.request
        assert isinstance(request, ModerationRequest), "the endpoint has no other requests"
        inputs = _inputs(call, request)
        call.model = OMNI if request.model is None else request.model
        plan = await self._plan(call)
        for one in inputs:
            one.check(plan, call.model)
        call.checks = Checks(plan)
        judged = [_Judged(one) for one in inputs]
        await self._judge_all(call, plan, judged)
        self._railed.note(call, _merged(finding for one in judged for finding in one.findings))
        failed = next((one.failed for one in judged if one.failed), "")
        if failed:
            raise RailFailed(
                f"The rail '{failed}' could not check the input, so nothing is known of it; try again"
            )
        results = [one.result() for one in judged]
        return own_reply(ModerationResult(f"modr-{call.id.removeprefix('req_')}", call.model, results))

    async def _plan(self, call: Call) -> Plan:
        """Return the rails of the model that the request names. Raises ModelNotFound, and BadRequest."""
        if PROFILE in call.head.headers:
            raise BadRequest(
                f"The header '{PROFILE.decode()}' has no meaning here, where the model names the rails: leave it out"
            )
        allowed = call.policy.models
        models = [name for name in self._moderators.models if allowed is None or name in allowed]
        if call.model not in models:
            raise ModelNotFound(unknown(call.model, models), param="model")
        call.route = call.model
        return await self._moderators.plan(call.model)

    async def _judge_all(self, call: Call, plan: Plan, judged: Sequence[_Judged]) -> None:
        """Judge inputs until a rail fails. Rules are asked about one after the other, and other calls get turns."""
        left = iter(judged)

        async def work() -> None:
            for one in left:
                await self._judge(call, plan, one)
                if one.failed:
                    for _ in left:
                        pass  # the answer is known, so nobody else need be asked
                await asyncio.sleep(0)

        at_once = min(AT_ONCE, len(judged)) if plan.input_checks else 1
        if at_once == 1:
            await work()
            return
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())

    async def _judge(self, call: Call, plan: Plan, judged: _Judged) -> None:
        texts = list(judged.input.texts(plan))
        review = self._railed.moderation(call, texts, judged.input.messages, plan.input_look, judged.add)
        now = self._railed.clock()
        limits = Limits(now + plan.budget_for(review.chars), now + plan.judge_budget_s)
        await review.rules_in_turns(plan.input_rules, until=limits.until)
        if plan.input_checks:
            await review.checks(plan.input_checks, limits)
        judged.findings = review.findings


class _Input(msgspec.Struct, frozen=True):
    """One input: a text, or the parts of one. `is_text` says that it was sent as a text alone."""

    parts: Sequence[TextPart | ImagePart]
    is_text: bool = False

    @property
    def has_images(self) -> bool:
        return any(isinstance(part, ImagePart) for part in self.parts)

    @property
    def types(self) -> list[str]:
        has_text = any(isinstance(part, TextPart) for part in self.parts)
        return [*(["text"] if has_text else []), *(["image"] if self.has_images else [])]

    def check(self, plan: Plan, model: str) -> None:
        """Raise BadRequest for an image that no rail of a plan sees."""
        if not self.has_images or _sees_images(plan):
            return
        at = next(at for at, part in enumerate(self.parts) if isinstance(part, ImagePart))
        raise BadRequest(
            f"The field 'input[{at}]' is an image, and no rail of the model '{model}' (profile '{plan.name}') sees images:"
            " send text only, or name another model",
            param=f"input[{at}]",
        )

    def texts(self, plan: Plan) -> Iterator[Text]:
        """Yield the texts as those of a user's message. An empty one stands for an input of images alone."""
        said = False
        for at, part in enumerate(self.parts):
            if isinstance(part, TextPart) and part.text:
                said = True
                yield Text(self._where(at), Surface.INPUT, part.text, _USER)
        if self.has_images and not said:
            yield Text(Where(0, "content"), Surface.INPUT, "", _USER)
        if plan.checks_requests:
            yield WHOLE_REQUEST

    def messages(self, changed: Mapping[Where, str]) -> Sequence[Message]:
        """Return the input as a user's message, with changed texts."""
        content: list[dict[str, Any]] = []
        for at, part in enumerate(self.parts):
            if isinstance(part, TextPart):
                content.append({"type": "text", "text": changed.get(self._where(at), part.text)})
            else:
                content.append(msgspec.to_builtins(part))
        return [Message.of(_USER, content[0]["text"] if self.is_text else content)]

    def _where(self, at: int) -> Where:
        return Where(0, "content" if self.is_text else f"content[{at}].text")


class _Judged:
    """What rails say of one input. `failed` is the name of a rail that could not check it."""

    def __init__(self, one: _Input) -> None:
        self.input = one
        self.findings: Sequence[Finding] = ()
        self.failed = ""
        self._flagged = False
        self._scores: dict[str, float] = {}
        self._found: set[str] = set()

    def add(self, step: Step, text: Text, decision: Decision) -> None:
        """Take what a rail says of a text."""
        del text
        if decision.verdict.error:
            if decision.action is Action.BLOCK:
                self.failed = self.failed or step.name
            return
        flags = decision.action > Action.LOG
        self._flagged = self._flagged or flags
        for one in scored(decision.verdict):
            self._scores[one.category] = max(one.score, self._scores.get(one.category, 0.0))
            if flags and one.objects:
                self._found.add(one.category)

    def result(self) -> Moderation:
        """Return what all rails say together."""
        types = self.input.types
        return Moderation(
            self._flagged,
            ByCategory(*(name in self._found for name in CATEGORIES)),
            ByCategory(*(round(self._scores.get(name, 0.0), 6) for name in CATEGORIES)),
            ByCategory(
                *([one for one in types if one == "text" or name in OF_IMAGES] for name in CATEGORIES)
            ),
        )


def _inputs(call: Call, request: ModerationRequest) -> list[_Input]:
    """Return the inputs of a request. Raises BadRequest, which names the field."""
    check_fields(call, ModerationRequest)
    given = _read(call) if call.is_large else request.input
    if isinstance(given, str):
        return [_Input([TextPart(given)], is_text=True)]
    if not given:
        raise BadRequest("The field 'input' is empty: send a text, a list of texts, or parts", param="input")
    if len(given) > MOST_INPUTS:
        raise BadRequest(
            f"The field 'input' has {len(given)} items, and {MOST_INPUTS} are allowed: send several requests",
            param="input",
        )
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) == len(given):
        return [_Input([TextPart(one)], is_text=True) for one in texts]
    parts: list[TextPart | ImagePart] = []
    for at, one in enumerate(given):
        if isinstance(one, str):
            raise BadRequest(
                f'The field \'input[{at}]\' is a text among parts: send it as {{"type": "text", "text": …}}',
                param=f"input[{at}]",
            )
        if isinstance(one, ImagePart) and not one.image_url.url:
            place = f"input[{at}].image_url.url"
            raise BadRequest(f"The field '{place}' is empty: send an address, or a data URL", param=place)
        parts.append(one)
    return [_Input(parts)]


def _read(call: Call) -> str | list[Moderated]:
    """Return the input of a large request, whose values were checked in pieces."""
    try:
        return _INPUT.decode(call.fields["input"])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"The field 'input' cannot be read: {error}", param="input") from error


def _sees_images(plan: Plan) -> bool:
    return any(step.about.sees_images and Surface.INPUT in step.surfaces for step in plan.input_checks)


def _merged(findings: Iterator[Finding]) -> list[Finding]:
    """Return one finding for each rail and surface, as if all inputs were texts of one request."""
    found: dict[tuple[str, Surface], Finding] = {}
    for one in findings:
        known = found.setdefault((one.rail, one.surface), one)
        if known is not one:
            add_finding(known, one)
    return list(found.values())
