"""The endpoints that make calls, from the ASGI request through the pipeline to the last byte of the answer.

This code runs for every request, so it uses no framework: it reads, parses, runs and sends.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter

from starlette.types import Receive, Scope, Send

from tidegate.budget import UNCOUNTED_BYTES
from tidegate.call import Call, Head
from tidegate.errors import GatewayError, UpstreamError
from tidegate.gateway import Gateway
from tidegate.http.apis import openai
from tidegate.http.apis.large import LARGE_BYTES, read_in_turns, read_large
from tidegate.http.apis.outline import Limits
from tidegate.http.bodies import read_body
from tidegate.http.edge.cycle import request_id_of
from tidegate.http.responder import Responder, header_values
from tidegate.kernel import sse
from tidegate.pipeline import Pipeline
from tidegate.quotas.levels import NO_LIMITS
from tidegate.snapshot import Snapshot
from tidegate.stages.counting import is_unbounded
from tidegate.telemetry.failures import Asked
from tidegate.types import Endpoint, Exit, Reply

_WAYS: Mapping[Endpoint, str] = {Endpoint.CHECKS: "checking", Endpoint.MODERATIONS: "moderating"}
_PASSED_ON = (b"traceparent", b"tracestate")

log = logging.getLogger(__name__)


class CallEndpoint:
    """An ASGI application for one endpoint that makes calls."""

    def __init__(self, endpoint: Endpoint, gateway: Gateway, turn: asyncio.Lock) -> None:
        """`turn` is shared by all endpoints, so that they read large bodies one step at a time."""
        self._endpoint = endpoint
        self._way: Callable[[Snapshot], Pipeline] = attrgetter(_WAYS.get(endpoint, "pipeline"))
        self._gateway = gateway
        self._turn = turn
        # The prefix makes ids unique across processes, and the counter makes them unique within one process.
        self._id_prefix = f"req_{os.urandom(8).hex()}".encode()
        self._ids = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with an error if it fails. Raises only CancelledError, if the server cancels the task."""
        headers = header_values(scope)
        own_id = b"%b%06x" % (self._id_prefix, next(self._ids))
        request_id = request_id_of(headers) or own_id
        gateway = self._gateway
        responder = Responder(scope, receive, send, request_id, gateway)
        if gateway.draining:
            responder.say_it_is_the_last()
        snapshot = gateway.snapshot
        snapshot.enter()
        gateway.live.add(responder)
        try:
            await self._respond(
                snapshot, self._call(scope, headers, own_id, responder), (scope, receive), responder
            )
        except asyncio.CancelledError as cancelled:
            await _cancelled(responder, cancelled)
        finally:
            responder.release()
            gateway.live.discard(responder)
            snapshot.leave()

    def _call(self, scope: Scope, headers: dict[bytes, bytes], own_id: bytes, responder: Responder) -> Call:
        """Return the call of a request, with what is known from the request's head."""
        gateway = self._gateway
        now = gateway.clock()
        client = scope.get("client")
        peer: str = client[0] if client else ""
        if (proxies := gateway.snapshot.authenticate.proxies) is not None:
            peer = proxies.client(peer, headers)
        return Call(
            id=own_id.decode(),
            request_id=responder.request_id.decode(),
            endpoint=self._endpoint,
            head=Head(scope["path"], headers, peer),
            exit=Exit(),
            arrived_at=now,
            received_at=now,
            deadline=now + gateway.settings.call_deadline_s,
            onward=[(name, headers[name]) for name in _PASSED_ON if name in headers],
            reply_headers=responder.headers,
            when_sooner=responder.end_by,
        )

    async def _respond(
        self, snapshot: Snapshot, call: Call, request: tuple[Scope, Receive], responder: Responder
    ) -> None:
        try:
            await self._answer(snapshot, call, request, responder)
        except GatewayError as error:
            await _tell_limits(snapshot, call)
            self._gateway.runtime.failures.tell(Asked(call.request_id, call.model, call.route), error)
            await responder.refuse(error)
        except Exception:
            log.exception("call %s: a bug in the gateway", call.request_id)
            await responder.refuse(
                GatewayError("The gateway failed; the operator can find the cause by the request id")
            )
        finally:
            if call.room is not None:
                call.room.release()

    async def _answer(
        self, snapshot: Snapshot, call: Call, request: tuple[Scope, Receive], responder: Responder
    ) -> None:
        """Run the call. Its exit closes before the last byte is sent, so that a failure in the exit is still reported."""
        gateway, pipeline, body = self._gateway, self._way(snapshot), b""
        media_type = b""
        async with call.exit:
            try:
                await pipeline.greet(call)
                await self._receive(call, *request)
                responder.attend(call.deadline - call.received_at)
                if call.stream:
                    # A keep-alive comment also sends the status 200. So comments start only once an engine has been asked:
                    # until then, a refusal can still have a status of its own.
                    call.when_asked = partial(responder.comment_in_silence, gateway.settings.sse_keep_alive_s)
                else:
                    call.room = gateway.answers.room()
                reply = await pipeline.run(call)
                responder.headers += reply.headers
                if call.stream:
                    await self._send_stream(pipeline, call, reply, responder)
                else:
                    media_type, body = reply.media_type, await self._whole(pipeline, call, reply)
                    if call.room is not None and len(body) > UNCOUNTED_BYTES:
                        call.room.cover(len(body))  # an engine in this process has reserved no room itself
                    call.answered_at = gateway.clock()
            except asyncio.CancelledError as cancelled:
                raise responder.why(cancelled) from None
        try:
            if call.stream:
                await responder.end_stream(_closing_comment(call, gateway.clock()) + sse.DONE)
            else:
                timing = [(b"server-timing", pipeline.timing(call))]
                await responder.whole(body, timing, media_type=media_type)
        except asyncio.CancelledError as cancelled:
            raise responder.why(cancelled) from None

    async def _receive(self, call: Call, scope: Scope, receive: Receive) -> None:
        """Read the body into the call.

        The deadline is moved by the time that the body took to arrive, unless the client has set one: it counts the time
        from its request on, however long it takes to send it.
        """
        gateway = self._gateway
        settings = gateway.settings
        body = await read_body(scope, receive, call, gateway.bodies)
        call.received_at = gateway.clock()
        call.deadline = min(call.deadline + call.received_at - call.arrived_at, call.own_deadline)
        call.body_bytes = len(body)
        depth, containers = settings.max_json_depth, settings.max_json_containers
        if len(body) <= LARGE_BYTES:
            openai.read(body, call, max_depth=depth, max_containers=containers)
        else:
            await read_in_turns(read_large(body, call, Limits(depth, containers)), self._turn)
        if call.policy.max_tokens is not None and is_unbounded(call):
            call.put_max_tokens(call.policy.max_tokens)

    async def _whole(self, pipeline: Pipeline, call: Call, reply: Reply) -> bytes:
        parts: list[bytes] = []
        async for batch in reply.pieces:
            pipeline.note(call, batch)
            parts += [piece.data for piece in batch]
        if not parts:
            raise UpstreamError("the engine gave no answer")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _send_stream(self, pipeline: Pipeline, call: Call, reply: Reply, responder: Responder) -> None:
        """Send the stream's events. Nothing is sent before the first batch, so that earlier failures can have a status."""
        note = pipeline.note
        async for batch in reply.pieces:
            note(call, batch)
            if not call.answered_at:
                call.answered_at = self._gateway.clock()
                await responder.begin_stream([(b"server-timing", pipeline.timing(call))])
            await responder.events(batch)
        if not call.answered_at:
            raise UpstreamError("the engine gave no answer")


async def _cancelled(responder: Responder, cancelled: asyncio.CancelledError) -> None:
    """End a cancelled request: answer if the gateway stopped it, or do nothing if the client has disconnected.

    Any other cancellation comes from the server and is raised again.
    """
    reason = responder.why(cancelled)
    if isinstance(reason, GatewayError):
        await responder.refuse(reason)
    elif not responder.gone:
        raise cancelled
    elif (task := asyncio.current_task()) is not None:
        task.uncancel()


async def _tell_limits(snapshot: Snapshot, call: Call) -> None:
    """Add the headers about the caller's limits to a refusal by another stage than `limit`, which adds its own."""
    limits, headers = call.policy.limits, call.reply_headers
    if limits is NO_LIMITS or any(name.startswith(b"x-ratelimit-") for name, _ in headers):
        return
    headers += await snapshot.limit.standing(call.policy)


def _closing_comment(call: Call, now: float) -> bytes:
    """Return the last comment of a stream. It has the times that are known only at the end, in milliseconds."""
    parts = [f"total;dur={(now - call.received_at) * 1000:.3f}"]
    if call.first_content_at:
        parts.insert(0, f"ttft;dur={(call.first_content_at - call.received_at) * 1000:.3f}")
    if call.content_events > 1:
        gap_s = (call.last_content_at - call.first_content_at) / (call.content_events - 1)
        parts.insert(1, f"itl;dur={gap_s * 1000:.3f}")
    timing = sse.comment(("server-timing: " + ", ".join(parts)).encode())
    if call.demand is None or not call.demand.outcome:
        return timing
    # Both are one comment: some clients take an event for each empty line.
    return timing[:-1] + sse.comment(b"x-tidegate-structure: " + call.demand.outcome.encode())
