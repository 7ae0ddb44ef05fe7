"""The OpenAI endpoints that make calls: from the ASGI request down the pipeline to the last byte.

Written without a framework because every request pays for it: read, parse, run, send.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from functools import partial

from starlette.types import Receive, Scope, Send

from tidegate.budget import UNCOUNTED_BYTES, Room
from tidegate.errors import GatewayError, UpstreamError
from tidegate.gateway import Gateway
from tidegate.http.apis import openai as wire
from tidegate.http.bodies import read_body
from tidegate.http.responder import Responder, header_values, request_id_of
from tidegate.kernel import sse
from tidegate.pipeline import Pipeline
from tidegate.snapshot import Snapshot
from tidegate.types import Call, Endpoint, Reply

_PASSED_ON = (b"traceparent", b"tracestate")

log = logging.getLogger(__name__)


class CallEndpoint:
    """One generating endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, gateway: Gateway) -> None:
        self._endpoint = endpoint
        self._gateway = gateway
        # Unique across processes by the prefix, within one by counting.
        self._id_prefix = f"req_{os.urandom(8).hex()}".encode()
        self._ids = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens; nothing is raised but a cancellation of the server's own."""
        headers = header_values(scope)
        own_id = b"%b%06x" % (self._id_prefix, next(self._ids))
        request_id = request_id_of(headers) or own_id
        gateway = self._gateway
        responder = Responder(
            scope, receive, send, request_id, loop=gateway.loop, deadline_s=gateway.settings.call_deadline_s
        )
        if gateway.draining:
            responder.say_it_is_the_last()
        snapshot = gateway.snapshot
        snapshot.enter()
        gateway.live.add(responder)
        try:
            await self._respond(snapshot, scope, receive, responder, own_id)
        except asyncio.CancelledError as cancelled:
            await _cancelled(responder, cancelled)
        finally:
            responder.release()
            gateway.live.discard(responder)
            snapshot.leave()

    async def _respond(
        self, snapshot: Snapshot, scope: Scope, receive: Receive, responder: Responder, own_id: bytes
    ) -> None:
        try:
            with self._gateway.bodies.room() as body_room, self._gateway.answers.room() as answer_room:
                call = await self._receive(scope, receive, responder, own_id, body_room)
                if call is not None:
                    call.room = answer_room
                    await self._answer(snapshot, call, responder)
        except GatewayError as error:
            if error.level >= logging.WARNING:
                log.log(
                    error.level, "call %s: %s: %s", responder.request_id.decode(), error.code, error.message
                )
            await responder.refuse(error)
        except Exception:
            log.exception("call %s: a bug in the gateway", responder.request_id.decode())
            await responder.refuse(
                GatewayError("The gateway failed; the operator can find the cause by the request id")
            )

    async def _receive(
        self, scope: Scope, receive: Receive, responder: Responder, own_id: bytes, room: Room
    ) -> Call | None:
        """The call that the request makes; None for one that was refused, which is counted here and nowhere else."""
        gateway, headers = self._gateway, header_values(scope)
        settings = gateway.settings
        try:
            body = await read_body(scope, headers, receive, settings.max_body_bytes, room)
            now = gateway.clock()
            passed = [(name, headers[name]) for name in _PASSED_ON if name in headers]
            arrival = wire.Arrival(
                own_id.decode(),
                now,
                now + settings.call_deadline_s,
                passed,
                responder.headers,
                responder.request_id.decode(),
            )
            return wire.parse(
                self._endpoint,
                body,
                arrival,
                max_depth=settings.max_json_depth,
                max_containers=settings.max_json_containers,
            )
        except GatewayError as error:
            gateway.runtime.metrics.refused(self._endpoint, error.code)
            await responder.refuse(error)
            return None

    async def _answer(self, snapshot: Snapshot, call: Call, responder: Responder) -> None:
        """The exit closes before the last byte leaves: what fails in it, the client still learns."""
        gateway, pipeline, body = self._gateway, snapshot.pipeline, b""
        responder.attend()
        if call.stream:
            # A comment sends the status: only once an engine has been asked is it too late for a refusal's own.
            call.when_asked = partial(responder.comment_in_silence, gateway.settings.sse_keep_alive_s)
        async with call.exit:
            try:
                reply = await pipeline.run(call)
                responder.headers += reply.headers
                if call.stream:
                    await self._send_stream(pipeline, call, reply, responder)
                else:
                    body = await self._whole(reply)
                    if call.room is not None and len(body) > UNCOUNTED_BYTES:
                        call.room.cover(len(body))  # an engine in this process has not asked for it
                    call.answered_at = gateway.clock()
            except asyncio.CancelledError as cancelled:
                raise responder.why(cancelled) from None
        try:
            if call.stream:
                await responder.end_stream(_closing_comment(call, gateway.clock()) + sse.DONE)
            else:
                await responder.whole(body, [(b"server-timing", pipeline.timing(call))])
        except asyncio.CancelledError as cancelled:
            raise responder.why(cancelled) from None

    async def _whole(self, reply: Reply) -> bytes:
        parts = [piece.data async for batch in reply.pieces for piece in batch]
        if not parts:
            raise UpstreamError("the engine gave no answer")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _send_stream(self, pipeline: Pipeline, call: Call, reply: Reply, responder: Responder) -> None:
        """Nothing is sent before the first batch is there: until then a failure is a status."""
        async for batch in reply.pieces:
            if not call.answered_at:
                call.answered_at = self._gateway.clock()
                await responder.begin_stream([(b"server-timing", pipeline.timing(call))])
            await responder.events(batch)
        if not call.answered_at:
            raise UpstreamError("the engine gave no answer")


async def _cancelled(responder: Responder, cancelled: asyncio.CancelledError) -> None:
    """The client left, or we stop: either way this request is over. Anything else is the server's own cancellation."""
    reason = responder.why(cancelled)
    if isinstance(reason, GatewayError):
        await responder.refuse(reason)
    elif not responder.gone:
        raise cancelled
    elif (task := asyncio.current_task()) is not None:
        task.uncancel()


def _closing_comment(call: Call, now: float) -> bytes:
    """What a stream knows of its timing only at its end, as its last comment, in milliseconds."""
    parts = [f"total;dur={(now - call.received_at) * 1000:.3f}"]
    if call.first_content_at:
        parts.insert(0, f"ttft;dur={(call.first_content_at - call.received_at) * 1000:.3f}")
    if call.content_events > 1:
        gap_s = (call.last_content_at - call.first_content_at) / (call.content_events - 1)
        parts.insert(1, f"itl;dur={gap_s * 1000:.3f}")
    return sse.comment(("server-timing: " + ", ".join(parts)).encode())
