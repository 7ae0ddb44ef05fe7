"""What the stages that run rails share: the review of a call's texts, what becomes of them, the header and the refusal."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from functools import partial

from tidegate.call import Call
from tidegate.dispatch.deployments import Models
from tidegate.errors import Blocked, GatewayError
from tidegate.forms import form_of
from tidegate.ports import Clock
from tidegate.rails.plan import Plan
from tidegate.rails.review import REQUEST, Review
from tidegate.stages.counting import answer_tokens
from tidegate.stages.needs import prompt_tokens
from tidegate.stages.route import deployments_of
from tidegate.types import Action, Batch, Endpoint, Finding, Reply, Scene, Surface, Text

RAILS = b"x-tidegate-rails"
"""The header that says what the rails did: the most severe action of each rail that has run, such as `pii=redact`."""
_WHOLE_REQUEST = Text(REQUEST, Surface.INPUT, "")
_HASH_BYTES = 16


class Railed:
    """Begins reviews of calls, and carries out what they decide."""

    def __init__(self, models: Models, clock: Clock, key: bytes) -> None:
        """`key` is that of the hashes in the audit (HMAC-SHA256, RFC 2104)."""
        self.clock = clock
        self._models = models
        self._key = key

    def hashed(self, text: str) -> str:
        """Return the keyed hash of a text: it says whether two texts are equal, and nothing else to those without the key."""
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)[
            :_HASH_BYTES
        ].hex()

    def request(self, call: Call, plan: Plan) -> Review:
        """Begin the review of a request. Raises BadRequest for a request whose texts cannot be read."""
        texts = form_of(call.endpoint).texts_in(call.fields, call.messages)
        if any(step.about.once for step in plan.input_rules + plan.input_checks):
            texts = [*texts, _WHOLE_REQUEST]
        return Review(texts, partial(self._scene, call), self.clock, hashed=self.hashed)

    def answer(self, call: Call, texts: Sequence[Text], question: str) -> Review:
        """Begin the review of the texts of an answer. `question` is the request's last text of a user."""
        return Review(texts, partial(self._scene, call, question=question), self.clock, hashed=self.hashed)

    def requested(self, call: Call, plan: Plan, review: Review) -> Reply | None:
        """End the review of a request: change its texts, and return the reply if it is blocked.

        Raises Blocked if the profile answers with errors, or the endpoint has no other way to refuse.
        """
        self.note(call, review.findings)
        if review.stopped is not None:
            return Reply(_only(self.refusal(call, plan, review.stopped)))
        if changed := review.changed():
            call.fields, call.messages = form_of(call.endpoint).put_in(call.fields, call.messages, changed)
        return None

    def note(self, call: Call, findings: Sequence[Finding]) -> None:
        """Add findings to a call, and say so in the header if the answer has not begun."""
        assert call.checks is not None, "only the rails of a call find anything"
        call.checks.findings += findings
        told = dict[str, Action]()
        for one in call.checks.findings:
            told[one.rail] = max(one.action, told.get(one.rail, Action.PASS))
        value = ", ".join(f"{name}={action.word}" for name, action in told.items()).encode(
            "latin-1", "replace"
        )
        kept = [header for header in call.reply_headers if header[0] != RAILS]
        call.reply_headers[:] = [*kept, (RAILS, value)]

    def refusal(self, call: Call, plan: Plan, finding: Finding) -> Batch:
        """Return the refusal in the form of an answer. Raises Blocked."""
        if plan.profile.refuse_as == "error" or call.endpoint is Endpoint.EMBEDDINGS:
            raise blocked(plan, finding)
        form = form_of(call.endpoint)
        return form.say(plan.profile.refusal, model=call.model, stream=call.stream, choices=call.choices)

    def _scene(self, call: Call, text: Text, question: str = "") -> Scene:
        if text.where == REQUEST:
            return self._scene_of_request(call)
        return Scene(text.where, text.surface, call.caller, call.deadline, text.role, question)

    def _scene_of_request(self, call: Call) -> Scene:
        contexts = [one.can.context_tokens for one in deployments_of(call, self._models)]
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


def blocked(plan: Plan, finding: Finding) -> GatewayError:
    """Return the error for a text that a rail has blocked."""
    what = "answer" if finding.surface is Surface.OUTPUT else "request"
    why = f"the rail '{finding.rail}'" + (f" ({finding.category})" if finding.category else "")
    if finding.error:
        why = f"the rail '{finding.rail}' could not check it"
    return Blocked(f"{plan.profile.refusal} The {what} was blocked: {why}")


async def _only(batch: Batch) -> AsyncIterator[Batch]:
    yield batch
