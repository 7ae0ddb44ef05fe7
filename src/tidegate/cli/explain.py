"""What the gateway would do with one request, and what it would send, without starting or asking anything.

This module makes no decisions of its own. The request is read by the code that reads requests. The stages themselves place
it, on engines that are made and never opened. The engine's adapter says what it would send.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidegate.caches.answers import Answers
from tidegate.call import Call, Checks
from tidegate.cli.admission import Admission, Refusal, admit
from tidegate.config import Config, DeploymentConfig
from tidegate.dispatch.deployments import Deployment, Models
from tidegate.dispatch.forecast import Outlook
from tidegate.dispatch.queue import BOUND, Queue
from tidegate.dispatch.rules import rules_of
from tidegate.dispatch.seats import Seats
from tidegate.engines.preview import Outgoing, Preview
from tidegate.errors import ConfigError, GatewayError, PayloadTooLarge, Problem
from tidegate.http.apis import openai
from tidegate.pipeline import NO_PARTS, Parts, Stage, the_way
from tidegate.policy import Policies, compile_policies
from tidegate.ports import Engine
from tidegate.quotas.estimate import OutputEstimate
from tidegate.quotas.process import Quotas
from tidegate.quotas.tokens import load_vocabulary
from tidegate.rails.refusing import Blocked
from tidegate.runtime import FIRST_TOKENS, make_engine
from tidegate.snapshot import deployment_of
from tidegate.stages.asking import ask_for
from tidegate.stages.authenticate import Authenticate
from tidegate.stages.counting import Counting, is_unbounded
from tidegate.stages.limit import Limiting
from tidegate.stages.needs import needs_of
from tidegate.stages.railed import Railed, refuses_with_error
from tidegate.stages.recall import Recall
from tidegate.types import ENGINE_ENDPOINTS, Endpoint, Exit, Key

ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.value.replace("/", "."): endpoint for endpoint in ENGINE_ENDPOINTS
}
"""The endpoints as the command line writes them: `chat.completions`."""


class Passed(msgspec.Struct, frozen=True):
    """One stage of the way. `state`: passed, empty (nothing stands there yet), refused or not reached."""

    name: str
    does: str
    state: str
    note: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of the model, and what would happen there. `within_s` is the deadline in force there, in seconds.

    `request` is the HTTP request that the engine would be sent. An engine without HTTP requests, or without a preview of
    them, has `handed` instead: the fields that it would get.
    """

    engine: str
    kind: str
    model: str | None
    within_s: float
    calls_at_once: int | None
    request: Outgoing | None = None
    handed: msgspec.Raw | None = None
    refused: Refusal | None = None


class Queued(msgspec.Struct, frozen=True, rename={"priority": "class"}):
    """The call in the queue: its class, the tenant that shares the class with others, and its work in tokens.

    It waits `longest_wait_s` at most. It is refused at once if the predicted wait is over `refused_over_s`. `forecast` is
    what a running gateway foretells, if one was asked.
    """

    priority: str
    tenant: str
    work: float
    longest_wait_s: float
    refused_over_s: float
    forecast: Outlook | None = None


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """The whole explanation. `places` are in the order in which they would be chosen while all of them are idle.

    `policy` and `deadline_s` are None if the key is refused. `queue` is None if the call is refused before the queue.
    """

    source: str | None
    endpoint: str
    policy: str | None
    deadline_s: float | None
    stages: list[Passed]
    model: str | None = None
    route: str | None = None
    queue: Queued | None = None
    places: list[Place] = []
    refused: Refusal | None = None


def explain(
    config: Config,
    endpoint: Endpoint,
    body: bytes,
    *,
    source: str | None,
    key: Key | None = None,
    now: float = 0.0,
) -> Explained:
    """Take a request body down the way to the place where an engine would be asked.

    `key` is the caller's, and `now` is when it calls, in seconds since the epoch; without a key, the policy `default`
    applies. Raises ConfigError for an engine that cannot even be built; what is wrong with the request is in the result.
    """
    policies = compile_policies(config, config.server)
    admission = admit(config, policies, key, now)
    told = Explained(source=source, endpoint=endpoint.value, policy=None, deadline_s=None, stages=[])
    if admission.refused is not None:
        return msgspec.structs.replace(told, stages=_kept_out(admission), refused=admission.refused)
    caller = None if key is None else key.caller
    told = _Dry(config, policies, admission).explain(told, endpoint, body)
    if told.queue is None or caller is None:
        return told
    tenant = caller.organisation or caller.key
    return msgspec.structs.replace(told, queue=msgspec.structs.replace(told.queue, tenant=tenant))


def _kept_out(admission: Admission) -> list[Passed]:
    """The way of a request that is refused by its head: its body is never read."""
    stages = the_way(NO_PARTS)
    at = [stage.name for stage in stages].index("authenticate")
    return [
        Passed("http", _HTTP, "not reached", "the key is checked first"),
        *(Passed(stage.name, stage.does, "passed") for stage in stages[:at]),
        Passed(stages[at].name, stages[at].does, "refused", admission.note),
        *(Passed(stage.name, stage.does, "not reached") for stage in stages[at + 1 :]),
    ]


class _Admitted(Authenticate):
    """The stage `authenticate` for a call that it lets through."""

    def __init__(self, policies: Policies, note: str) -> None:
        super().__init__(policies)
        self._note = note

    def foretell(self, _: Call) -> str:
        """Say what is to be known of the key."""
        return self._note


class _Dry:
    """The gateway of one configuration without its running parts."""

    def __init__(self, config: Config, policies: Policies, admission: Admission) -> None:
        self._config = config
        self._policies = policies
        self._policy = admission.policy or policies.default
        self._note = admission.note
        self._clock = time.monotonic
        self._quotas = Quotas(self._clock, self._clock)
        self._count = load_vocabulary() if self._policies.count_tokens else None
        # As `snapshot.assemble` does it, less the opening.
        self._engines = {name: _built(name, config) for name in config.engines}
        self._models = {
            name: [self._deployment(chosen) for chosen in model.deployments]
            for name, model in config.models.items()
        }

    def explain(self, told: Explained, endpoint: Endpoint, body: bytes) -> Explained:
        """See `explain`."""
        seen: list[Passed] = []
        told = msgspec.structs.replace(
            told, policy=self._policy.name, deadline_s=self._policy.deadline_s, stages=seen
        )
        try:
            call = self._parse(endpoint, body)
        except GatewayError as error:
            seen.append(Passed("http", _HTTP, "refused", error.message))
            seen += [Passed(stage.name, stage.does, "not reached") for stage in self._way(self._models)]
            return msgspec.structs.replace(told, refused=Refusal.of(error))
        seen.append(Passed("http", _HTTP, "passed", f"{len(body):,} bytes, {_form(call)}"))
        refused = self._walk(call, seen)
        route, places = call.route or None, list[Place]()
        if route is not None:
            for deployment in self._models[route]:
                places.append(self._place(endpoint, body, (route, deployment)))
        return msgspec.structs.replace(
            told,
            model=call.model,
            route=route,
            queue=self._queued(call) if refused is None else None,
            places=places,
            refused=refused,
        )

    def _queued(self, call: Call) -> Queued:
        needs = needs_of(call, OutputEstimate(first=FIRST_TOKENS))
        longest_s = min(rules_of(self._config.queue).longest(needs.priority), self._policy.deadline_s)
        return Queued(needs.priority, "", needs.work, longest_s, BOUND * longest_s)

    def _parse(self, endpoint: Endpoint, body: bytes) -> Call:
        server, now = self._config.server, self._clock()
        if len(body) > self._policy.max_body_bytes:
            raise PayloadTooLarge(f"The body is larger than {self._policy.max_body_bytes} bytes")
        call = Call(
            id="check",
            endpoint=endpoint,
            exit=Exit(),
            arrived_at=now,
            received_at=now,
            deadline=now + self._policy.deadline_s,
            policy=self._policy,
            priority=self._policy.priority,
            body_bytes=len(body),
        )
        if self._policy.plan is not None:
            call.checks = Checks(self._policy.plan)
        openai.read(body, call, max_depth=server.max_json_depth, max_containers=server.max_json_containers)
        if self._policy.max_tokens is not None and is_unbounded(call):
            call.put_max_tokens(self._policy.max_tokens)
        return call

    def _counting(self, models: Models) -> Counting:
        return Counting(models, self._count) if self._count is not None else Counting(models)

    def _way(self, models: Mapping[str, Sequence[Deployment]]) -> list[Stage]:
        placed = Models(models)
        return the_way(
            Parts(
                clock=self._clock,
                wall=self._clock,
                sinks=(),
                authenticate=_Admitted(self._policies, self._note),
                limit=Limiting(self._quotas, self._counting(placed), self._clock),
                recall=Recall(Answers(self._clock), placed, self._clock),
                models=placed,
                queue=Queue(self._clock, rules_of(self._config.queue)),
                lengths=OutputEstimate(first=FIRST_TOKENS),
                railed=Railed(placed, self._clock, self._clock, b""),
                structures={name: model.structure for name, model in self._config.models.items()},
            )
        )

    def _walk(self, call: Call, seen: list[Passed]) -> Refusal | None:
        """What every stage would do with the call; none of them does it."""
        refused: Refusal | None = None
        for stage in self._way(self._models):
            state, note = "empty", ""
            if refused is not None:
                state = "not reached"
            elif stage.work is not None:
                state = "passed"
                try:
                    note = stage.foretell(call) if stage.foretell is not None else ""
                except GatewayError as error:
                    refused, state, note = _refusal(call, error), "refused", error.message
            seen.append(Passed(stage.name, stage.does, state, note))
        return refused

    def _place(self, endpoint: Endpoint, body: bytes, chosen: tuple[str, Deployment]) -> Place:
        """What happens to the call where a busy engine before it leaves it to this one: the same way, one deployment."""
        route, deployment = chosen
        name, settings = deployment.engine_name, self._config.engines[deployment.engine_name]
        refused: Refusal | None = None
        request: Outgoing | None = None
        handed: msgspec.Raw | None = None
        call = self._parse(endpoint, body)
        try:
            for stage in self._way({route: [deployment]}):
                if stage.foretell is not None:
                    stage.foretell(call)
            ask = ask_for(call, deployment)
            if isinstance(deployment.engine, Preview):
                request = deployment.engine.outgoing(ask)
            else:
                handed = msgspec.Raw(msgspec.json.encode(ask.fields))
        except GatewayError as error:
            refused = _refusal(call, error)
        return Place(
            engine=name,
            kind=settings.kind,
            model=deployment.model,
            within_s=self._within_s(name),
            calls_at_once=settings.max_in_flight,
            request=request,
            handed=handed,
            refused=refused,
        )

    def _deployment(self, chosen: DeploymentConfig) -> Deployment:
        limit = self._config.engines[chosen.engine].max_in_flight
        return deployment_of(chosen, self._engines[chosen.engine], Seats(limit))

    def _within_s(self, engine: str) -> float:
        """The call's deadline, or the engine's own total time where that is shorter; seconds."""
        settings, deadline_s = self._config.engines[engine], self._policy.deadline_s
        timeouts: Any = getattr(settings, "timeouts", None)
        return deadline_s if timeouts is None else min(deadline_s, timeouts.total_ms / 1000)


def _built(name: str, config: Config) -> Engine:
    try:
        return make_engine(name, config.engines[name])
    except GatewayError as error:
        raise ConfigError("cannot be built", [Problem(f"engines.{name}", error.message)]) from error


def _refusal(call: Call, error: GatewayError) -> Refusal:
    refused, checks = Refusal.of(error), call.checks
    if isinstance(error, Blocked) and checks is not None and not refuses_with_error(call, checks.plan):
        return msgspec.structs.replace(refused, status=200)
    return refused


def _form(call: Call) -> str:
    streamed = "streamed" if call.stream else "answered whole"
    return streamed if call.choices == 1 else f"{streamed}, {call.choices} choices"


_HTTP = "read the body, check its size, parse it into one call"
