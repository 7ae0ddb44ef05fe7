"""The stage `recall`: requests with the same `Idempotency-Key` get one answer, which an engine makes once.

The first request with a key begins a run: a call of its own, which belongs to the runtime and goes on behind this stage.
All requests with the key follow the run, each at its own pace and with its own deadline. When the last one leaves, the
run is cancelled. A run that has ended well is kept for a while and replayed.

A key belongs to its caller: keys of two callers are never the same. Callers without an API key are one caller. The caller
pays for one answer: the first of the followers has the run's engine calls in its `spent`. If it leaves early, the next one
takes over, whose reservation is as large. Each of the others costs one request.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from tidegate.caches.answers import Answers
from tidegate.caches.joining import Follower, Run
from tidegate.call import LENGTHS, Call, shared
from tidegate.dispatch.deployments import Models
from tidegate.errors import BadRequest, Conflict, IdempotencyKeyReused
from tidegate.ports import Clock, Spawn
from tidegate.stages.route import deployments_of
from tidegate.types import Reply

IDEMPOTENCY_KEY = b"idempotency-key"
"""The request header. Its value is any text that the client never uses for another request."""
TOLD = b"x-tidegate-idempotency"
"""The header of the reply: `new`, `joined` or `replayed`."""
NEW, JOINED, REPLAYED = "new", "joined", "replayed"
LONGEST_KEY = 255
_KEY = re.compile(rb"[\x21-\x7e]{1,%d}" % LONGEST_KEY)

Asks = Callable[[Call], AbstractAsyncContextManager[Reply]]
"""Makes an internal call: see `Snapshot.ask`."""


class Recall:
    """Answers requests with an `Idempotency-Key`. All others pass after one look-up."""

    def __init__(self, answers: Answers[Call], models: Models, clock: Clock) -> None:
        """`answers` outlives the snapshot."""
        self._answers = answers
        self._models = models
        self._clock = clock
        self._ask: Asks | None = None
        self._spawn: Spawn | None = None

    def make_with(self, ask: Asks, spawn: Spawn) -> None:
        """Take the functions that start runs. They need the pipeline, which needs this stage."""
        self._ask, self._spawn = ask, spawn

    def __call__(self, call: Call) -> Awaitable[Reply] | None:
        """Answer a call with a key.

        Raises BadRequest for a header of another form, IdempotencyKeyReused for a key of another request, Conflict for a
        running answer that cannot be joined, ModelNotFound, and the errors of the run.
        """
        value = call.head.headers.get(IDEMPOTENCY_KEY)
        return None if value is None else self._recall(call, value)

    def foretell(self, call: Call) -> str:
        """Say whether the call has a key."""
        value = call.head.headers.get(IDEMPOTENCY_KEY)
        if value is None:
            return "no idempotency key"
        _check(value)
        return "the same answer as that of an earlier request with this idempotency key, if there is one"

    async def _recall(self, call: Call, value: bytes) -> Reply:
        _check(value)
        # Raises for a model that the caller may no longer ask for: its answer is not replayed.
        deployments_of(call, self._models)
        caller = call.caller
        key = (caller.organisation, caller.team, caller.user, caller.key, value)
        request = await asyncio.to_thread(_digest, call) if call.is_large else _digest(call)
        found = self._answers.find(key)
        if found is None:
            run = self._begin(call, key, request)
        else:
            run, first = found
            if first != request:
                raise IdempotencyKeyReused(
                    "The header 'Idempotency-Key' has the key of another request: send a new key with a new request"
                )
            if not run.kept:
                raise Conflict(
                    "The answer to the request with this 'Idempotency-Key' is being made, and is too long to be sent"
                    " twice: wait for its end, or send another key"
                )
            call.recalled = REPLAYED if run.ended else JOINED
        how = call.recalled or NEW
        self._answers.used[how] += 1
        call.reply_headers.append((TOLD, how.encode()))
        follower = run.join(call, partial(self._left_s, call))
        call.exit.push(lambda _: self._leave(run, follower))
        source = run.source
        if source is not None and source.spent and not run.ended:
            _asked(source, call)
        opening = await follower.opening()
        if source is not None and call.recalled != REPLAYED:
            _copy_headers(source, call)  # with those that tell of the answer itself
        return Reply(follower, list(opening.headers), opening.media_type)

    def _begin(self, call: Call, key: tuple[object, ...], request: bytes) -> Run[Call]:
        """Start a run, with the call as its first client."""
        assert self._ask is not None, "make_with comes first"
        assert self._spawn is not None, "make_with comes first"
        source = shared(call)
        run = self._answers.open(key, request, source=source, streamed=call.stream)
        source.when_asked = partial(_tell_asked, run, source)
        run.task = self._spawn(run.fill(self._ask(source)), name=f"answer {call.id}")
        run.task.add_done_callback(run.stopped)
        return run

    def _left_s(self, call: Call) -> float:
        return call.deadline - self._clock()

    def _leave(self, run: Run[Call], follower: Follower[Call]) -> Awaitable[None] | None:
        """End the part of one client: `spent` is settled next. The last one to leave cancels a run that goes on."""
        call, source = follower.client, run.source
        run.leave(follower)
        if source is None:
            return None
        if call.spent is source.spent:
            call.deployment, call.waited_s = source.deployment, source.waited_s
            if run.followers and not run.ended:
                run.followers[0].client.spent = source.spent
                call.spent, call.recalled = [], JOINED
        if call.recalled and not source.spent:
            call.recalled = ""  # a call that asked no engine costs nothing
        if run.followers or run.ended or run.task is None:
            return None
        self._answers.forget(run)
        run.task.cancel()
        return _ended(run.task)


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


def _tell_asked(run: Run[Call], source: Call) -> None:
    for follower in run.followers:
        _asked(source, follower.client)


def _asked(source: Call, client: Call) -> None:
    """Tell a client that an engine is at work, with the headers so far instead of those of an engine call before."""
    _copy_headers(source, client)
    if client.when_asked is not None:
        client.when_asked()


def _copy_headers(source: Call, client: Call) -> None:
    told = {name for name, _ in source.reply_headers}
    kept = [one for one in client.reply_headers if one[0] not in told]
    client.reply_headers[:] = kept + source.reply_headers


def _check(value: bytes) -> None:
    """Raise BadRequest for a key that is too long or has other characters."""
    if not _KEY.fullmatch(value):
        raise BadRequest(
            f"The header 'Idempotency-Key' must have 1 to {LONGEST_KEY} visible ASCII characters, such as a UUID"
        )


def _digest(call: Call) -> bytes:
    """Return a digest of the endpoint and of the body as the client sent it, apart from the order of its fields."""
    found = hashlib.blake2b(call.endpoint.value.encode(), digest_size=32)
    checks = call.checks
    fields = call.fields if checks is None or checks.sent is None else checks.sent
    for name in sorted(fields):
        if not (call.has_put_length and name in LENGTHS):
            value = fields[name]
            found.update(f"\n{len(value)} {name!r} ".encode(errors="surrogatepass"))
            found.update(value)
    return found.digest()
