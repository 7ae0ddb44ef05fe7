"""Runs the scripted engine in the gateway's process. It answers by a script, with the timing and faults of that script.

No bytes are sent over a network here. So a fault raises the error that the adapter for OpenAI servers would raise for it.
Faults in the bytes themselves need the stand-alone server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import ClassVar

import msgspec
from pydantic import field_validator

from tidegate.config import ScriptedConfig
from tidegate.engines import fields
from tidegate.engines.answers import read_answer
from tidegate.engines.refusals import Explanation, judge
from tidegate.engines.scripted.answer import (
    Beat,
    beats,
    before_fault,
    due_s,
    fault_step,
    in_one,
    token_steps,
    whole,
)
from tidegate.engines.scripted.script import (
    BREAKS_OFF,
    Fault,
    Question,
    Script,
    answering,
    check_fault,
    count_prompt_tokens,
    from_config,
    read_ask,
    script_for,
)
from tidegate.engines.scripted.wire import HEAD_BYTES, encode_event
from tidegate.errors import GatewayError, UpstreamError, UpstreamTimeout
from tidegate.ports import Clock, Host
from tidegate.types import Ask, Batch, Capabilities, Endpoint, Load, Piece


class CheckedConfig(ScriptedConfig):
    """Answers by script, for tests and demonstrations of timing and faults; never a model."""

    @field_validator("fault")
    @classmethod
    def _known(cls, fault: str | None) -> str | None:
        return None if fault is None else check_fault(fault)


class ScriptedEngine:
    """An engine with deterministic answers, set by the configuration or by a marker in the prompt. Satisfies `Engine`."""

    Config: ClassVar[type[ScriptedConfig]] = CheckedConfig

    def __init__(self, config: ScriptedConfig) -> None:
        self.capabilities = Capabilities(fields.OPENAI, slots=config.slots, stream_usage=True)
        self._script = from_config(config)
        self._answers = {words.lower(): text for words, text in config.answers.items()}
        self._slots = config.slots
        self._running = 0
        self._open = False
        self._clock: Clock = time.monotonic

    async def open(self, host: Host) -> None:
        """Open the engine. It is ready at once."""
        self._clock = host.clock
        self._open = True

    async def close(self) -> None:
        """Close the engine. It has nothing to release."""
        self._open = False

    async def ready(self) -> bool:
        """Return whether the engine is open."""
        return self._open

    async def load(self) -> Load:
        """Return the number of running calls and the slots of the configuration."""
        return Load(running=self._running, slots=self._slots)

    async def count_tokens(self, ask: Ask) -> int:
        """Return the number of words in the prompt, or the number that the script gives."""
        question = _question_of(ask)
        return count_prompt_tokens(self._script_of(question), question)

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        """See `Engine.stream`. Raises BadRequest for a marker with a mistake, and the error of the script's fault."""
        question = _question_of(ask)
        # An adapter drops the comments of a stream, so this engine does not create any.
        script = msgspec.structs.replace(self._script_of(question), comment=False)
        timer = _Timer(ask.deadline - self._clock())
        self._running += 1
        try:
            if script.fault is Fault.SLOW_HEADERS:
                await timer.until(HEAD_BYTES * script.drip_ms / 1000)
            if script.fault in (Fault.ERROR_STATUS, Fault.GARBAGE):
                await timer.until(due_s(script, 0))
                raise _failure(script)
            if ask.stream and ask.endpoint is not Endpoint.EMBEDDINGS:
                answer = self._streamed(script, beats(script, question, ask.endpoint), timer)
            else:
                answer = self._whole(script, whole(script, question, ask.endpoint), timer)
            async with aclosing(answer):
                async for batch in answer:
                    yield batch
        finally:
            self._running -= 1

    def _script_of(self, question: Question) -> Script:
        base = answering(self._script, self._answers, question) if self._answers else self._script
        return script_for(base, question)

    async def _streamed(
        self, script: Script, score: list[Beat], timer: _Timer
    ) -> AsyncGenerator[Batch, None]:
        kept = before_fault(script, score)
        for beat in in_one(kept) if script.burst else kept:
            await timer.until(beat.due_s)
            yield [Piece(event, read_answer(event), encode_event(script, event)) for event in beat.events]
        if script.fault in BREAKS_OFF:
            await timer.until(due_s(script, fault_step(script, token_steps(score))))
            if script.fault is Fault.STALL:
                await timer.run_out()
            raise _failure(script)
        if script.fault is Fault.NO_FINISH:
            raise UpstreamError("the engine's stream ended before its answer was complete")

    async def _whole(self, script: Script, answer: Beat, timer: _Timer) -> AsyncGenerator[Batch, None]:
        await timer.until(answer.due_s)
        if script.fault is Fault.STALL:
            await timer.run_out()
        if script.fault in BREAKS_OFF:
            raise _failure(script)
        body = answer.events[0]
        yield [Piece(body, read_answer(body))]


class _Timer:
    """A timer for times that are counted from its creation, so that delays do not add up."""

    def __init__(self, left_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._left_s = left_s

    async def until(self, due_s: float) -> None:
        """Wait until `due_s`, and let other tasks run at least once. Raises UpstreamTimeout if the deadline is earlier."""
        if due_s > self._left_s:
            await self.run_out()
        await asyncio.sleep(max(0.0, self._began_at + due_s - self._loop.time()))

    async def run_out(self) -> None:
        """Wait for the deadline, then raise UpstreamTimeout."""
        await asyncio.sleep(max(0.0, self._began_at + self._left_s - self._loop.time()))
        raise UpstreamTimeout("the engine did not answer in time")


_MESSAGES = {
    Fault.CLOSE: "the engine closed the connection before its answer was complete",
    Fault.RESET: "the connection to the engine broke",
    Fault.CUT_UTF8: "the engine's stream broke off inside an event",
    Fault.CUT_JSON: "the engine sent an answer that is not valid JSON",
    Fault.ERROR_EVENT: "the engine reported an error in its answer",
    Fault.GARBAGE: "the engine sent an answer that is not valid JSON",
    Fault.TRUNCATED_BODY: "the engine closed the connection before its answer was complete",
}


def _failure(script: Script) -> GatewayError:
    if script.fault is Fault.ERROR_STATUS:
        return judge(script.status, Explanation("scripted failure"), script.retry_after_s)
    return UpstreamError(_MESSAGES[script.fault])


def _question_of(ask: Ask) -> Question:
    return read_ask(msgspec.json.encode(ask.fields))
