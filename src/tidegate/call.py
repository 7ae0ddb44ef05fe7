"""A call: one request in flight. The module is above the parts in the layers, so no part can keep a call or change it.

Only stages, the pipeline and `http` use calls. A part gets only the data that it needs: an engine gets an Ask, a sink a
Record, a rail a Scene. The queue gets two flags: whether the gateway itself made the call, and whether another call waits
for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import inf
from os import urandom
from types import MappingProxyType

import msgspec

from tidegate.budget import Room
from tidegate.config import StructureConfig
from tidegate.dispatch.deployments import Deployment, Group
from tidegate.dispatch.place import Place
from tidegate.policy import Policy
from tidegate.rails.plan import Plan
from tidegate.rails.redact import Placeholders
from tidegate.structure.asked import Shape
from tidegate.structure.checker import Checker
from tidegate.structure.tools import Tools
from tidegate.types import (
    ANSWER,
    DEFAULT_PRIORITY,
    Caller,
    ChatRequest,
    Endpoint,
    Exit,
    Finding,
    Generation,
    Headers,
    Message,
    Messages,
    Parent,
    Priority,
    Record,
    Reply,
    Request,
    Spent,
    joined,
)

_ENCODER = msgspec.json.Encoder()
LENGTHS = ("max_tokens", "max_completion_tokens", "n_predict")
"""The fields that can limit the length of an answer; the last one is llama.cpp's own."""


class Head(msgspec.Struct, frozen=True):
    """The data of a request that is known before its body is read.

    `headers` maps lower-case names to values. `peer` is the client's address.
    """

    path: str = ""
    headers: Mapping[bytes, bytes] = MappingProxyType({})
    peer: str = ""


class Checks(msgspec.Struct):
    """What rails check in a call, and what they have found.

    `plan` has the rails of the policy, or the stricter ones that the request asks for. `gate` is the task of input rails
    that race the engine; its result is None, or the reply to a blocked request. `sent` has the fields of the request as the
    client sent them, if rails have changed them. `hidden` has the placeholders that stand for parts of the request.
    `system` has the system texts, and `context` the documents, once a rail has asked for them. `added_ttft_s` is how much
    later the first content came for the rails, and `held_s` how long they held back all events together.
    """

    plan: Plan
    findings: list[Finding] = []
    gate: asyncio.Task[Reply | None] | None = None
    sent: Mapping[str, msgspec.Raw] | None = None
    hidden: Placeholders | None = None
    system: str | None = None
    context: tuple[str, ...] | None = None
    added_ttft_s: float = 0.0
    held_s: float = 0.0

    @property
    def changes_answers(self) -> bool:
        """Whether answers have to pass the rails."""
        plan = self.plan
        return bool(
            plan.output_rules
            or plan.output_checks
            or plan.profile.stop
            or self.gate is not None
            or self.hidden
        )

    def told(self) -> tuple[tuple[Finding, ...], float, float]:
        """Return what a record has of it."""
        return tuple(self.findings), self.added_ttft_s, self.held_s


class Demand(msgspec.Struct):
    """The form that a request demands of its answers, and what became of them.

    `shape` is that of the text; None if only the arguments of tool calls have a form. `field` is the field of the request
    that demands it. `rules` are the settings of the model. `checker` and `tools` check the text and the tool calls; None
    for what is not checked. `outcome` is empty until it is known: `native`, `repaired`, `reasked` or `rejected`, or
    `refusal` or `length` for an answer in which the engine refuses or was cut off, or `edited` by a person.
    """

    shape: Shape | None
    field: str
    rules: StructureConfig
    checker: Checker | None = None
    tools: Tools | None = None
    outcome: str = ""


_NOT_CHECKED: tuple[tuple[Finding, ...], float, float] = ((), 0.0, 0.0)


class Call(msgspec.Struct, kw_only=True):
    """One request in flight, from its head to the last byte of its answer.

    Identity: `id` is made by the gateway and unique. `request_id` is the client's own id if it sent one, and is returned in
    `x-request-id`. The stage `authenticate` sets `caller` and `policy`. `purpose` is `answer` for a client's call. An
    internal call has another purpose, and a `parent` if it is made for another call.

    The request, once its body is read: `request` is the typed form. `fields` is the body as a mapping from top-level name
    to unparsed JSON. The body for the engine is rebuilt from `fields`, so an unchanged value arrives byte for byte.
    `messages` are parsed from `fields` on first use. If `is_large`, `request` lacks the long values (see
    `http/apis/large.py`), and `has_images` says whether there are images in the messages. `body_bytes` is the size
    of the body. `limit` sets `prompt_tokens` if it counts them; -1 says that they were not counted. `has_put_length` says
    that `put_max_tokens` was called.

    In the stages: `onward` holds headers for the engine. `reply_headers` are sent with every kind of answer, errors
    included; a stage adds to them before the answer begins. A stage that takes a resource pushes its release on `exit`,
    which runs it in every case. The first stage that needs them sets the `deployments` of the model. `admit` sets the
    `place`, `route` the `groups` of deployments in the order in which they are tried, and `attempt` the `deployment` that
    it asked last. `spent` has one entry for each engine call. `when_asked` is called when an engine call begins or
    overtakes another one; `when_sooner` is called with a deadline that has moved closer. `room` counts the bytes of an
    answer that is not streamed until the client has received it. `checks` is what rails check and have found; None if the
    policy has no rails. `route` sets the `demand` of a request that demands a form of its answers. `recalled` is `joined`
    or `replayed` for a call whose answer is, or was, made for several calls. It costs one request; `spent` is empty unless
    this call pays for the engine.

    Times are seconds of the gateway's monotonic clock, and 0 means not yet: `arrived_at` is when the head was complete,
    `received_at` when the whole request was. `deadline` is moved by the time between them, but never beyond `own_deadline`,
    which the request itself sets and which counts from `arrived_at`.
    """

    id: str
    endpoint: Endpoint
    exit: Exit
    arrived_at: float
    received_at: float
    deadline: float
    own_deadline: float = inf
    request_id: str = ""
    head: Head = Head()
    caller: Caller = Caller()
    policy: Policy = Policy()
    purpose: str = ANSWER
    parent: Parent | None = None
    request: Request | None = None
    model: str = ""
    fields: dict[str, msgspec.Raw] = {}
    messages: Sequence[Message] = ()
    is_large: bool = False
    has_images: bool = False
    body_bytes: int = 0
    prompt_tokens: int = -1
    has_put_length: bool = False
    stream: bool = False
    choices: int = 1
    priority: Priority = DEFAULT_PRIORITY
    onward: Headers = []
    reply_headers: Headers = []
    route: str = ""
    place: Place | None = None
    deployments: Sequence[Deployment] = ()
    groups: Sequence[Group] = ()
    deployment: Deployment | None = None
    spent: list[Spent] = []
    when_asked: Callable[[], None] | None = None
    when_sooner: Callable[[float], None] | None = None
    room: Room | None = None
    recalled: str = ""
    checks: Checks | None = None
    demand: Demand | None = None
    waited_s: float = 0.0
    answering_at: float = 0.0
    answered_at: float = 0.0
    first_content_at: float = 0.0
    last_content_at: float = 0.0
    content_events: int = 0
    stage_ms: list[float] = []
    outcome: str = "ok"
    status: int = 200

    def sooner(self, deadline: float) -> None:
        """Move the deadline of all later waits closer. A deadline later than the current one is ignored."""
        if deadline < self.deadline:
            self.deadline = deadline
            if self.when_sooner is not None:
                self.when_sooner(deadline)

    def put_messages(self, messages: Sequence[Message]) -> None:
        """Replace the messages. Unchanged messages keep their bytes."""
        self.messages = messages
        self.fields = {**self.fields, "messages": joined(messages)}

    def put_max_tokens(self, tokens: int) -> None:
        """Limit the length of the answer, for a request that does not. Other fields of a length are removed."""
        kept = {name: value for name, value in self.fields.items() if name not in LENGTHS}
        self.fields = {**kept, "max_tokens": msgspec.Raw(b"%d" % tokens)}
        self.has_put_length = True
        request = self.request
        if isinstance(request, Generation):
            request.max_tokens = tokens
        if isinstance(request, ChatRequest):
            request.max_completion_tokens = None

    def as_parent(self) -> Parent:
        """Return the data that an internal call for this call needs."""
        return Parent(self.id, self.caller, self.deadline, self.spent)

    def record(self, ended_at: float) -> Record:
        """Return the record of the call for sinks: a copy that keeps neither the call nor its body alive."""
        # Keyword arguments would take three times as long, in every call.
        return Record(
            self.id,
            self.request_id,
            self.endpoint,
            self.purpose,
            self.policy.name,
            self.caller.key,
            self.model,
            self.route,
            self.deployment.engine_name if self.deployment is not None else "",
            self.outcome,
            self.stream,
            self.arrived_at,
            self.received_at,
            ended_at,
            self.waited_s,
            self.answered_at,
            self.first_content_at,
            self.last_content_at,
            self.content_events,
            tuple(self.stage_ms),
            tuple(self.spent),
            self.status,
            self.head.peer,
            self.recalled,
            *(_NOT_CHECKED if self.checks is None else self.checks.told()),
            "" if self.demand is None else self.demand.outcome,
        )


def shared(call: Call) -> Call:
    """Return the call that makes one answer for several clients' calls, of which this is the first.

    It has a client's purpose, class and tenant, and the whole time that the policy allows. It is part of the first call,
    whose `spent` it shares, and outlives it if others need the answer.
    """
    made, room = Exit(), call.room and call.room.beside()
    if room is not None:
        made.push(lambda _: room.release())
    return msgspec.structs.replace(
        call,
        exit=made,
        deadline=call.received_at + call.policy.deadline_s,
        own_deadline=inf,
        parent=call.as_parent(),
        reply_headers=[],
        stage_ms=[],
        when_asked=None,
        when_sooner=None,
        room=room,
    )


def internal_call(
    model: str,
    fields: Mapping[str, msgspec.Raw],
    *,
    purpose: str,
    of: Parent | None,
    now: float,
    deadline: float,
) -> Call:
    """Make an internal call, whose answer is not streamed. It ends at its parent's deadline at the latest.

    `fields` is the body of a request without `model`. Its field names decide the endpoint: `messages`, `prompt` or `input`.
    """
    endpoint = next((end for name, end in _SPEAKS_FOR.items() if name in fields), Endpoint.CHAT)
    call = Call(
        id=f"own_{urandom(16).hex()}",
        endpoint=endpoint,
        exit=Exit(),
        arrived_at=now,
        received_at=now,
        deadline=deadline if of is None else min(deadline, of.deadline),
        purpose=purpose,
        parent=of,
        model=model,
        fields={"model": msgspec.Raw(_ENCODER.encode(model)), **fields},
    )
    call.request_id = call.id
    if of is not None:
        call.caller, call.spent = of.caller, of.spent
    if endpoint is Endpoint.CHAT and "messages" in fields:
        call.messages = Messages(fields["messages"])
    return call


_SPEAKS_FOR: Mapping[str, Endpoint] = MappingProxyType(
    {"messages": Endpoint.CHAT, "prompt": Endpoint.COMPLETIONS, "input": Endpoint.EMBEDDINGS}
)
