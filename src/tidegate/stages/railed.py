"""What the stages that run rails share: the review of a call's texts, what becomes of them, the header and the refusal."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

import msgspec

from tidegate.call import Call
from tidegate.dispatch.deployments import Models
from tidegate.forms import Frame, Saying, form_of
from tidegate.ports import Clock, Reviewer, Wall
from tidegate.rails.abandoned import Abandoned
from tidegate.rails.checking import Mask
from tidegate.rails.objections import Objection
from tidegate.rails.plan import Plan
from tidegate.rails.redact import Placeholders
from tidegate.rails.refusing import blocked
from tidegate.rails.review import Review, SceneOf, Told, masked
from tidegate.rails.signs import Look
from tidegate.rails.units import REQUEST, WHOLE_REQUEST
from tidegate.stages.counting import answer_tokens
from tidegate.stages.needs import prompt_tokens
from tidegate.stages.referred import People, Refused
from tidegate.stages.route import deployments_of
from tidegate.types import (
    OWN_ENDPOINTS,
    Action,
    Batch,
    Endpoint,
    Finding,
    Message,
    Piece,
    Reply,
    Scene,
    Surface,
    Text,
    Where,
)
from tidegate.types.messages import Content, media_in

RAILS = b"x-tidegate-rails"
"""The header that says what the rails did: the most severe action of each rail that has run, such as `pii=redact`."""
_HASH_BYTES = 16
_CHARS_PER_TOKEN = 4
_SYSTEM_ROLES = frozenset({"system", "developer"})


class Railed:
    """Begins reviews of calls, and carries out what they decide."""

    def __init__(
        self,
        models: Models,
        clock: Clock,
        wall: Wall,
        key: bytes,
        abandoned: Abandoned | None = None,
        *,
        reviewer: Reviewer | None = None,
    ) -> None:
        """`key` is that of the hashes in the audit (HMAC-SHA256, RFC 2104). `abandoned` gets the checks that are late.

        `reviewer` is asked about the texts that people have to decide about.
        """
        self.clock = clock
        self.people = People(reviewer, clock, wall)
        self._wall = wall
        self._models = models
        self._key = key
        self._abandoned = abandoned or Abandoned()

    def hashed(self, text: str) -> str:
        """Return the keyed hash of a text. To those without the key it only says whether two texts are equal."""
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)[
            :_HASH_BYTES
        ].hex()

    def texts(self, call: Call, plan: Plan) -> Sequence[Text]:
        """Return the texts of a request, with an empty one for each message that only rails with eyes can check.

        Raises BadRequest for a request whose texts cannot be read.
        """
        texts = form_of(call.endpoint).texts_in(call.fields, call.messages)
        if plan.sees_images:
            texts = [*texts, *_wordless(call, texts)]
        return [*texts, WHOLE_REQUEST] if plan.checks_requests else texts

    def passes_at_once(self, call: Call, plan: Plan, texts: Sequence[Text]) -> bool:
        """Return whether one look tells that all rules pass a request, as it does for most, and note that they do."""
        look = plan.input_look
        found = None if look is None else look.passed(texts, plan.input_rules, self.clock)
        if found is not None:
            self.note(call, found)
        return found is not None

    def request(self, call: Call, plan: Plan, texts: Sequence[Text]) -> Review:
        """Begin the review of the texts of a request."""
        checks, mask = call.checks, masked
        assert checks is not None, "there is a plan"
        if plan.profile.placeholders:
            if checks.hidden is None:
                checks.hidden = Placeholders()
            mask = checks.hidden.hidden
        return self._review(call, texts, partial(self._scene, call), plan.input_look, mask=mask)

    def answer(
        self, call: Call, plan: Plan, texts: Sequence[Text], context: str, *, escalates: bool = False
    ) -> Review:
        """Begin the review of texts of an answer. `context` stands before them and was checked already.

        With `escalates`, people decide where the engine would be asked again.
        """
        scene = partial(self._scene_of_answer, call)
        return self._review(
            call, texts, scene, plan.output_look, context=context, escalates=escalates, messages=_as_sent
        )

    def check(self, call: Call, texts: Sequence[Text], look: Look | None, told: Told) -> Review:
        """Begin the review of texts that no engine gets. `told` is told of each verdict on them."""
        is_answer = any(text.surface is Surface.OUTPUT for text in texts)
        scene = partial(self._scene_of_answer if is_answer else self._scene, call)
        return self._review(call, texts, scene, look, told=told)

    def moderation(
        self,
        call: Call,
        texts: Sequence[Text],
        messages: Callable[[Mapping[Where, str]], Sequence[Message]],
        look: Look | None,
        told: Told,
    ) -> Review:
        """Begin the review of an input for moderation: no rail ends it. `messages` returns the input with changes."""
        tokens = -(-sum(len(text.value) for text in texts) // _CHARS_PER_TOKEN)

        def scene(text: Text) -> Scene:
            found = self._scene(call, text)
            return msgspec.structs.replace(found, prompt_tokens=tokens)

        return self._review(
            call, texts, scene, look, told=told, messages=lambda _, changed: messages(changed), goes_on=True
        )

    def _review(  # noqa: PLR0913
        self,
        call: Call,
        texts: Sequence[Text],
        scene: SceneOf,
        look: Look | None,
        *,
        mask: Mask = masked,
        context: str = "",
        escalates: bool = False,
        told: Told | None = None,
        goes_on: bool = False,
        messages: Callable[[Call, Mapping[Where, str]], Sequence[Message]] | None = None,
    ) -> Review:
        return Review(
            texts,
            scene,
            self.clock,
            hashed=self.hashed,
            mask=mask,
            context=context,
            look=look,
            told=told,
            abandoned=self._abandoned,
            escalates=escalates,
            goes_on=goes_on,
            messages=partial(messages or _messages, call),
        )

    def requested(self, call: Call, plan: Plan, review: Review) -> Reply | Awaitable[Reply | None] | None:
        """End the review of a request: change its texts, and return the reply if it is blocked. People may have to decide.

        Raises Blocked if the profile answers with errors, or the endpoint has no other way to refuse.
        """
        self.note(call, review.findings)
        if review.stopped is not None:
            return Reply(_only(self.refusal(call, plan, review.stopped)))
        if review.referred:
            return self._referred(call, plan, review)
        self.put(call, review)
        return None

    async def _referred(self, call: Call, plan: Plan, review: Review) -> Reply | None:
        """Let people decide about a request."""
        refused = await self.decided(call, plan, review.referred)
        if refused is not None:
            return Reply(_only(self.refusal(call, plan, refused.finding, words=refused.words)))
        self.put(call, review)
        return None

    async def decided(self, call: Call, plan: Plan, objections: Sequence[Objection]) -> Refused | None:
        """Let people decide. Returns None if the texts may leave. Raises Overloaded if they cannot be asked."""
        refused = await self.people.decide(call, plan, objections, question_of(call))
        self.note(call, ())
        return refused

    def put(self, call: Call, review: Review) -> None:
        """Change the texts of a request as a review has changed them."""
        if changed := review.changed():
            assert call.checks is not None, "there is a plan"
            call.checks.sent = call.checks.sent or call.fields
            call.checks.context = None
            fields, call.messages = form_of(call.endpoint).put_in(call.fields, call.messages, changed)
            call.fields = dict(fields)

    def note(self, call: Call, findings: Sequence[Finding]) -> None:
        """Add findings to a call, and say so in the header if the answer has not begun."""
        assert call.checks is not None, "only the rails of a call find anything"
        call.checks.findings += findings
        told = dict[str, Action]()
        for one in call.checks.findings:
            if one.action >= told.get(one.rail, Action.PASS):
                told[one.rail] = one.action
        header = RAILS, _told(tuple(told.items()))
        if header not in call.reply_headers:
            call.reply_headers[:] = [one for one in call.reply_headers if one[0] != RAILS]
            call.reply_headers.append(header)

    def refusal(  # noqa: PLR0913 - what is known of the answer so far
        self,
        call: Call,
        plan: Plan,
        finding: Finding,
        *,
        like: Piece | None = None,
        begun: bool = False,
        after_text: bool = False,
        words: str = "",
    ) -> Batch:
        """Return the refusal in the form of an answer. Raises Blocked if the profile refuses with errors.

        `like` is a piece of the engine's answer, whose id is kept. `begun` says that the client has had an event of it, and
        `after_text` that it has had text. `words` are said instead of the profile's refusal.
        """
        words = words or plan.profile.refusal
        if refuses_with_error(call, plan):
            raise blocked(words, finding)
        saying = Saying(f"\n\n{words}" if after_text else words, choices=range(call.choices), begun=begun)
        frame = Frame(call.id, int(self._wall()), call.model, like)
        return form_of(call.endpoint).say(saying, frame, stream=call.stream)

    def _scene(self, call: Call, text: Text, question: str = "") -> Scene:
        if text.where == REQUEST:
            return self._scene_of_request(call)
        scene = Scene(
            text.where,
            text.surface,
            call.caller,
            call.deadline,
            text.role,
            question,
            parent=call.as_parent(),
        )
        checks = call.checks
        if checks is None or not checks.plan.reads_context:
            return scene
        if checks.context is None:
            checks.context = _documents(call)
        return msgspec.structs.replace(scene, context=checks.context, model=call.model)

    def _scene_of_answer(self, call: Call, text: Text) -> Scene:
        scene = self._scene(call, text, question_of(call))
        checks = call.checks
        if checks is None or not checks.plan.reads_system:
            return scene
        if checks.system is None:
            checks.system = _system(call)
        return msgspec.structs.replace(scene, system=checks.system)

    def _scene_of_request(self, call: Call) -> Scene:
        deployments = () if call.endpoint in OWN_ENDPOINTS else deployments_of(call, self._models)
        contexts = [one.can.context_tokens for one in deployments]
        known = [one for one in contexts if one is not None]
        return Scene(
            REQUEST,
            Surface.INPUT,
            call.caller,
            call.deadline,
            prompt_tokens=prompt_tokens(call),
            answer_tokens=-1 if (most := answer_tokens(call)) is None else most,
            context_tokens=max(known) if known and len(known) == len(contexts) else -1,
        )


def refuses_with_error(call: Call, plan: Plan) -> bool:
    """Return whether a blocked call ends with an error: by the profile, or since its answers have no text."""
    return plan.profile.refuse_as == "error" or call.endpoint is Endpoint.EMBEDDINGS


@lru_cache(maxsize=256)
def _told(actions: tuple[tuple[str, Action], ...]) -> bytes:
    """Return the value of the header. Nearly all calls have the same one."""
    return ", ".join(f"{name}={action.word}" for name, action in actions).encode("latin-1", "replace")


def question_of(call: Call) -> str:
    """Return the last text of a user in a chat, which the answer is for."""
    for message in reversed(call.messages):
        if message.role == "user":
            return _text_of(message.content)
    return ""


async def settled(reply: Reply | Awaitable[Reply | None] | None) -> Reply | None:
    """Return a reply that may have to be waited for."""
    return reply if reply is None or isinstance(reply, Reply) else await reply


def _text_of(content: Content) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content or ()]
    return "\n".join(part for part in parts if isinstance(part, str))


def _messages(call: Call, changed: Mapping[Where, str]) -> Sequence[Message]:
    """Return the messages of a request, with the changes that its review has made so far."""
    own = {where: text for where, text in changed.items() if where.at >= 0}
    return form_of(call.endpoint).put_in(call.fields, call.messages, own)[1]


def _as_sent(call: Call, changed: Mapping[Where, str]) -> Sequence[Message]:
    """Return the messages of a request whose answer is under review."""
    del changed
    return call.messages


def _wordless(call: Call, texts: Sequence[Text]) -> Iterator[Text]:
    """Yield an empty text for each message that has media and no text, so that rails are asked about it."""
    have_texts = {text.where.at for text in texts}
    for at, message in enumerate(call.messages):
        if at not in have_texts and media_in(message.content):
            yield Text(Where(at, "content"), Surface.INPUT, "", message.role)


def _system(call: Call) -> str:
    """Return the system and developer texts of a chat, one after the other."""
    return "\n".join(_text_of(one.content) for one in call.messages if one.role in _SYSTEM_ROLES)


def _documents(call: Call) -> tuple[str, ...]:
    """Return the texts that the application has looked up for a request."""
    texts = form_of(call.endpoint).texts_in(call.fields, call.messages)
    return tuple(text.value for text in texts if text.surface is Surface.RETRIEVAL)


async def _only(batch: Batch) -> AsyncIterator[Batch]:
    yield batch
