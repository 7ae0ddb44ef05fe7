"""Runs a whole load test: asks the server for its model, probes how it counts tokens, runs the steps, makes the result."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from tidegate.egress.exchange import Client, Headers
from tidegate.engines.openai import read_whole
from tidegate.errors import GatewayError
from tidegate.ops.load import figures
from tidegate.ops.load.client import Ask, Asker, ChatClient
from tidegate.ops.load.judge import judge, passed
from tidegate.ops.load.options import BadOptions, Options
from tidegate.ops.load.plan import Closed
from tidegate.ops.load.prompts import BadPrompts, MadeUp, Prompt, Prompts, Scale, read_prompts
from tidegate.ops.load.result import Result, Step
from tidegate.ops.load.run import Record, Runner
from tidegate.ops.load.sample import Sample
from tidegate.ports import Clock

# The numbers of words in the two probes. They differ so much that an error of one token does not matter.
_PROBES = (20, 220)
_OFF = 0.2
# A larger cached share of the prompt than a common chat template can explain.
_CACHED = 0.5
_MOST_MODELS_BYTES = 4 * 2**20


class Unusable(Exception):
    """The server cannot be tested. The message has its answer and advice."""


class Watcher(msgspec.Struct):
    """Callbacks of a load test: `began` is called when a step starts, `ended` when its figures are ready."""

    began: Callable[[int, Record], Awaitable[None]]
    ended: Callable[[int, Step], Awaitable[None]]


class Bench:
    """One load test of one server. `key` is sent as a bearer token."""

    def __init__(self, options: Options, client: Client, *, clock: Clock, key: str = "") -> None:
        self._options = options
        self._client = client
        self._clock = clock
        self._headers: Headers = [(b"authorization", b"Bearer " + key.encode())] if key else []
        self._notes: list[str] = []
        self._runner: Runner | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the test early. Running requests may finish, and the figures so far become the result."""
        self._stopped = True
        if self._runner is not None:
            self._runner.stop()

    async def run(self, watcher: Watcher) -> Result:
        """Run the test and return its result. Raises Unusable and BadOptions, both before any load."""
        plan = self._options.steps()
        began_at = datetime.now(UTC).isoformat(timespec="seconds")
        model = self._options.model or await self._some_model()
        asker = self._asker(model)
        prompts = await self._prompts(asker)
        runner = self._runner = Runner(asker, prompts, clock=self._clock)
        await self._warm_up(runner)
        steps: list[Step] = []
        run_began = self._clock()
        for index, step in enumerate(plan):
            if self._stopped:
                break
            record = Record(step)
            await watcher.began(index, record)
            await _run_undisturbed(runner, record)
            steps.append(self._figures(record, run_began))
            self._notes += notes(record, self._options)
            await watcher.ended(index, steps[-1])
        self._compare_lengths(steps)
        return self._result(model, began_at, steps)

    # -- before the load -----------------------------------------------------------------------------------------------

    def _asker(self, model: str) -> Asker:
        options = self._options
        ask = Ask(
            model=model,
            stream=options.stream,
            timeout_s=options.timeout_s,
            headers=self._headers,
            fields=options.fields,
        )
        return ChatClient(self._client, ask, clock=self._clock)

    async def _some_model(self) -> str:
        target = self._client.target("GET", "models", self._headers)
        try:
            exchange = await self._client.send(target, [], b"", self._options.timeout_s)
            try:
                body = await read_whole(exchange, _MOST_MODELS_BYTES)
            finally:
                await exchange.close()
        except GatewayError as error:
            raise Unusable(f"{self._options.url} does not answer: {error.message}") from error
        try:
            models = msgspec.json.decode(body, type=_Models).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            models = []
        if exchange.status != 200 or not models:
            said = f"status {exchange.status}" if exchange.status != 200 else "no list of models"
            raise Unusable(f"{self._options.url}/models answers with {said}: name a model with --model")
        names = [model.id for model in models]
        return "default" if "default" in names else names[0]

    async def _prompts(self, asker: Asker) -> Prompts:
        options = self._options
        if options.prompts:
            try:
                prompts = read_prompts(Path(options.prompts), output_tokens=options.shape.output_tokens)
            except BadPrompts as error:
                raise BadOptions(f"--prompts: {error}") from error
            if not (await self._probe(asker, prompts.take())).counted:
                self._notes.append("The server sends no usage: chunks count as tokens.")
            return prompts
        counts: list[tuple[int, int]] = []
        for words in _PROBES:
            made = MadeUp(options.shape, Scale(), seed=options.seed)
            text = made.words(words)
            message = msgspec.Raw(msgspec.json.encode([{"role": "user", "content": text}]))
            sample = await self._probe(asker, Prompt(message, 1))
            counts.append((words, sample.prompt_tokens))
        if not all(tokens for _, tokens in counts):
            self._notes.append(
                "The server sends no usage: lengths of prompts are estimates, and chunks count as tokens."
            )
            return MadeUp(options.shape, Scale(), seed=options.seed)
        return MadeUp(options.shape, Scale.between(counts[0], counts[1]), seed=options.seed)

    async def _probe(self, asker: Asker, prompt: Prompt) -> Sample:
        sample, _ = await asker.ask(prompt, self._clock())
        if not sample.ok:
            kind = sample.error.replace("_", " ")
            raise Unusable(f"{self._options.url} refuses a first request ({kind}): {sample.detail}")
        return sample

    async def _warm_up(self, runner: Runner) -> None:
        if self._options.warmup:
            users = min(self._options.warmup, self._options.most_connections)
            step = Closed(users=users, duration_s=self._options.timeout_s, requests=self._options.warmup)
            await runner.run(Record(step))

    # -- after the load ------------------------------------------------------------------------------------------------

    def _figures(self, record: Record, run_began: float) -> Step:
        metrics = figures.metrics(record, self._options.slo)
        errors, examples = figures.errors(record.samples)
        step = record.step
        closed = isinstance(step, Closed)
        most = max(self._options.users, default=0) or self._options.most_connections
        return Step(
            name=step.name,
            users=step.users if closed else None,
            rate_per_s=None if closed else step.rate,
            began_s=record.began - run_began,
            duration_s=record.ended - record.began,
            requests=len(record.samples),
            errors=errors,
            error_examples=examples,
            metrics=metrics,
            histograms=figures.histograms(record),
            timeline=figures.timeline(record, run_began),
            health=figures.health(record, metrics.get("time_to_first_token")),
            checks=judge(
                step,
                metrics,
                self._options.criteria,
                pace=figures.pace(record.samples),
                most_users=most,
                streamed=self._options.stream,
            ),
        )

    def _compare_lengths(self, steps: list[Step]) -> None:
        """Add a note if the lengths of prompts that the server counted differ from the requested lengths."""
        options = self._options
        if options.prompts or options.trace or options.shape.turns > 1:
            return
        wanted = options.shape.prompt_tokens + options.shape.prefix_tokens
        found = [
            step.metrics["input_sequence_length"] for step in steps if "input_sequence_length" in step.metrics
        ]
        if found and abs(found[-1].avg - wanted) > _OFF * wanted:
            self._notes.append(
                f"Prompts should have {wanted} tokens, but the server counted {found[-1].avg:.0f} on average."
            )

    def _result(self, model: str, began_at: str, steps: list[Step]) -> Result:
        options: dict[str, Any] = msgspec.to_builtins(self._options)
        return Result(
            version=version("tidegate"),
            url=self._options.url,
            model=model,
            started_at=began_at,
            options=options,
            definitions=figures.DEFINITIONS,
            notes=self._notes,
            steps=steps,
            passed=bool(steps) and not self._stopped and all(passed(step.checks) for step in steps),
            degraded=any(step.health.degraded for step in steps),
            interrupted=self._stopped,
        )


def notes(record: Record, options: Options) -> list[str]:
    """Return notes on a step that its figures alone do not show."""
    step, samples = record.step, record.samples
    good = [sample for sample in samples if sample.ok]
    found: list[str] = []
    if isinstance(step, Closed) and step.requests is not None and step.requests < step.users:
        found.append(f"{step.name}: only {step.requests} requests, so there were never more at once.")
    if record.held:
        found.append(
            f"{step.name}: {record.held} requests had to wait, with {options.max_in_flight} under way (--max-in-flight). "
            "The figures from schedule include this wait."
        )
    empty = sum(not sample.contents for sample in good)
    if options.stream and empty:
        found.append(f"{step.name}: {empty} of {len(good)} answers had no content, so no TTFT or ITL.")
    shared = options.shape.prefix_tokens or options.shape.turns > 1 or options.prompts or options.trace
    prompted, cached = sum(s.prompt_tokens for s in good), sum(s.cached_tokens for s in good)
    if not shared and cached > _CACHED * prompted:
        found.append(
            f"{step.name}: the server had {cached / prompted:.0%} of the prompts' tokens in a cache. "
            "If the server has had requests with this --seed before, give another one."
        )
    return found


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] = []


async def _run_undisturbed(runner: Runner, record: Record) -> None:
    """Run a step without garbage collection: a full collection takes long enough to show in the p99."""
    gc.collect()
    gc.disable()
    try:
        await runner.run(record)
    finally:
        gc.enable()
