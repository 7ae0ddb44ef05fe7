"""A call: one request in flight. It stands above the parts, so that none of them can hold on to it or change it.

Stages, the pipeline and `http` see calls. A part is given what it needs of one: an engine an Ask, a sink a Record, a rail
a Scene, the queue nothing but whether the call is the gateway's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from uuid import uuid4

import msgspec

from tidegate.budget import Room
from tidegate.dispatch.deployments import Deployment
from tidegate.dispatch.queue import Place
from tidegate.policy import Policy
from tidegate.types import (
    ANSWER,
    Caller,
    Endpoint,
    Exit,
    Headers,
    Message,
    Messages,
    Parent,
    Record,
    Request,
    Spent,
    joined,
)

_ENCODER = msgspec.json.Encoder()


class Head(msgspec.Struct, frozen=True):
    """What is known of a request before its body is read. `headers` are by lower-case name; `peer` is the address."""

    path: str = ""
    headers: Mapping[bytes, bytes] = MappingProxyType({})
    peer: str = ""


class Call(msgspec.Struct, kw_only=True):
    """One request in flight, from its head to the last byte of its answer.

    Who and what: `id` is the gateway's own and unique; `request_id` is the client's where it gave one, and goes back in
    `x-request-id`. `authenticate` sets `caller` and `policy`. `purpose` is `answer` for a client's call; a call of the
    gateway's own has another one, and a `parent` where it is made on another call's behalf.

    The request, once its body is read: `request` is typed, `fields` is the body, top-level name to unparsed JSON. What is
    sent on is rebuilt from `fields`, so a value that nothing changed arrives byte for byte. `messages` are read from there
    when asked for. Where `is_large`, `request` does not hold the values that are long: see `http/apis/large.py`.

    On the way: `onward` are headers for the engine, `reply_headers` leave with every kind of answer; a stage adds to them
    before the answer begins. What a stage takes it pushes on `exit`, which gives it back whatever happens. `admit` sets the
    `place`, `route` the `candidates`, `attempt` the `deployment` that it asked last. `spent` has an entry for each engine
    call. `when_asked` is called as each of them begins, `when_sooner` gets a deadline that has moved. `room` holds an
    answer that is not streamed until the client has taken it.

    Times are seconds of the gateway's monotonic clock, and 0 means not yet: `arrived_at` is when the head was there,
    `received_at` when the whole request was.
    """

    id: str
    endpoint: Endpoint
    exit: Exit
    arrived_at: float
    received_at: float
    deadline: float
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
    stream: bool = False
    choices: int = 1
    priority: int = 0
    onward: Headers = []
    reply_headers: Headers = []
    route: str = ""
    place: Place | None = None
    candidates: Sequence[Deployment] = ()
    deployment: Deployment | None = None
    spent: list[Spent] = []
    when_asked: Callable[[], None] | None = None
    when_sooner: Callable[[float], None] | None = None
    room: Room | None = None
    waited_s: float = 0.0
    answering_at: float = 0.0
    answered_at: float = 0.0
    first_content_at: float = 0.0
    last_content_at: float = 0.0
    content_events: int = 0
    stage_ms: list[float] = []
    outcome: str = "ok"

    def sooner(self, deadline: float) -> None:
        """Move the deadline closer, for every later wait. A later deadline than the present one changes nothing."""
        if deadline < self.deadline:
            self.deadline = deadline
            if self.when_sooner is not None:
                self.when_sooner(deadline)

    def put_messages(self, messages: Sequence[Message]) -> None:
        """Have these messages sent. Those that are the same as before keep their bytes; the others are encoded already."""
        self.messages = messages
        self.fields = {**self.fields, "messages": joined(messages)}

    def as_parent(self) -> Parent:
        """What a call of the gateway's own needs to know of this one."""
        return Parent(self.id, self.caller, self.deadline, self.spent)

    def record(self, ended_at: float) -> Record:
        """The call as sinks get it: a copy that keeps neither the call nor its body alive."""
        # By position: by name they cost three times as much, in every call.
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
    """A call of the gateway's own, answered whole. It ends with its parent's deadline at the latest.

    `fields` is the body of a request without `model`; what it holds says which endpoint it is for.
    """
    endpoint = next((end for name, end in _SPEAKS_FOR.items() if name in fields), Endpoint.CHAT)
    call = Call(
        id=f"own_{uuid4().hex}",
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
        call.messages = list(Messages(fields["messages"]))
    return call


_SPEAKS_FOR: Mapping[str, Endpoint] = MappingProxyType(
    {"messages": Endpoint.CHAT, "prompt": Endpoint.COMPLETIONS, "input": Endpoint.EMBEDDINGS}
)
