"""A thousand broken engines, met by the official SDK: a whole answer or an APIError, every time; never half of one."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import openai
import pytest
from canned import Canned, streamed
from openai import AsyncOpenAI
from serving import PATIENCE_S, Running, ask, config_to, run_gateway

from tidegate.config import ModelConfig
from tidegate.engines.scripted.record import Entry
from tidegate.engines.scripted.script import Fault, Script
from tidegate.engines.scripted.server import Request, ScriptedServer, run_in_thread
from tidegate.engines.scripted.wire import Performance

SEED = 20261
MID_STREAM_FAULTS = 1000
AT_ONCE = 32
TOKENS = 12
TEXT = 'Größe: 東京 🌊 salt, "quoted" and \\ back; naïve façade.'  # cut anywhere, it is cut inside a character too

# How a stream may be broken, and how an answer that is not streamed may.
ON_STREAMS = [
    Fault.NONE,
    Fault.CLOSE,
    Fault.RESET,
    Fault.STALL,
    Fault.CUT_UTF8,
    Fault.CUT_JSON,
    Fault.MISSING_DONE,
    Fault.DOUBLE_DONE,
    Fault.ERROR_EVENT,
    Fault.ERROR_STATUS,
    Fault.GARBAGE,
    Fault.NO_FINISH,
    Fault.SLOW_HEADERS,
    Fault.TRUNCATED_BODY,
]
ON_WHOLE = [
    fault for fault in ON_STREAMS if fault not in (Fault.MISSING_DONE, Fault.DOUBLE_DONE, Fault.NO_FINISH)
]
MID_STREAM = {
    Fault.CLOSE,
    Fault.RESET,
    Fault.STALL,
    Fault.CUT_UTF8,
    Fault.CUT_JSON,
    Fault.MISSING_DONE,
    Fault.DOUBLE_DONE,
    Fault.ERROR_EVENT,
}
# A stream that says why it ended is whole, with or without `[DONE]`.
HARMLESS = {Fault.NONE, Fault.MISSING_DONE, Fault.DOUBLE_DONE, Fault.SLOW_HEADERS}
FORMS = ["", "crlf=1", "slice=1", "slice=7", "multiline=1", "burst=1", "comment=1", "framing=close", "itl=2"]
MIXED = ["", "crlf=1", "slice=5", "multiline=1", "burst=1", "comment=1", "framing=close", "early=1"]


class Case(msgspec.Struct, frozen=True):
    """One call and how its engine breaks. `place`: after so many tokens, for the faults that break off."""

    endpoint: str
    stream: bool
    fault: Fault
    place: int
    form: str
    choices: int = 1
    number: int = 0

    @property
    def breaks_mid_stream(self) -> bool:
        return self.stream and self.fault in MID_STREAM and (self.place > 0 or self.fault in HARMLESS)

    @property
    def model(self) -> str:
        return "hasty" if self.fault is Fault.STALL else "patient"

    @property
    def marker(self) -> str:
        place = f"@{self.place}" if self.fault not in HARMLESS else ""
        text = json.dumps(TEXT, ensure_ascii=False)
        return (
            f"[[scripted tokens={TOKENS} seed={self.number} fault={self.fault.value}{place} {self.form}"
            f" drip=0.1 text={text}]]"
        )


def cases() -> list[Case]:
    """Every fault with every form at the edges and in the middle, then by chance, until a thousand break in mid-stream."""
    chance = random.Random(SEED)
    found = [
        Case(endpoint, True, fault, place, form)
        for endpoint, fault, place, form in itertools.product(
            ("chat", "completions"), ON_STREAMS, (0, TOKENS // 2, TOKENS), FORMS
        )
        if fault not in HARMLESS or place == 0
    ]
    found += [
        Case(endpoint, False, fault, place, "")
        for endpoint, fault, place in itertools.product(
            ("chat", "completions", "embeddings"), ON_WHOLE, (0, 1)
        )
    ]
    missing = MID_STREAM_FAULTS - sum(case.breaks_mid_stream for case in found)
    found += [by_chance(chance) for _ in range(missing)]
    chance.shuffle(found)
    return [msgspec.structs.replace(case, number=number) for number, case in enumerate(found)]


def by_chance(chance: random.Random) -> Case:
    forms = {name.partition("=")[0]: name for name in chance.choices(MIXED, k=2)}
    return Case(
        chance.choice(["chat", "completions"]),
        True,
        chance.choice(sorted(MID_STREAM, key=lambda fault: fault.value)),
        chance.randint(1, TOKENS),
        " ".join([*forms.values(), "itl=2"]),
        chance.randint(1, 3),
    )


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=Script())) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    """Two ways to one engine: only the way to those that stall is short of patience, however busy the machine is."""
    tree = json.loads(config_to(engine.base_url))
    tree["engines"]["hasty"] = tree["engines"]["upstream"] | {
        "timeouts": {"first_byte_ms": 300, "idle_ms": 300}
    }
    tree["models"]["hasty"] = {"deployments": [{"engine": "hasty"}]}
    with run_gateway(json.dumps(tree)) as gateway:
        yield gateway


class Outcome(msgspec.Struct):
    """How a call ended for the SDK: `complete`, or the name of the error; the text of each choice, and which ended."""

    kind: str
    texts: dict[int, str]
    finished: set[int]


async def meet(client: AsyncOpenAI, case: Case) -> Outcome:
    outcome = Outcome("complete", {}, set())
    try:
        if case.endpoint == "embeddings":
            answer: Any = await client.embeddings.create(
                model=case.model, input=case.marker, dimensions=4, encoding_format="float"
            )
            assert len(answer.data[0].embedding) == 4
        elif case.stream:
            async for event in await start(client, case):
                note(outcome, event, "delta")
        else:
            note(outcome, await start(client, case), "message")
    except openai.APIError as error:
        outcome.kind = type(error).__name__
    return outcome


async def start(client: AsyncOpenAI, case: Case) -> Any:
    create: Any = (
        client.completions.create if case.endpoint == "completions" else client.chat.completions.create
    )
    words: dict[str, Any] = {"messages": [{"role": "user", "content": case.marker}]}
    if case.endpoint == "completions":
        words = {"prompt": case.marker}
    return await create(model=case.model, n=case.choices, stream=case.stream, **words)


def note(outcome: Outcome, event: Any, part: str) -> None:
    for choice in event.choices:
        text = choice.text if hasattr(choice, "text") else getattr(choice, part).content
        outcome.texts[choice.index] = outcome.texts.get(choice.index, "") + (text or "")
        if choice.finish_reason is not None:
            outcome.finished.add(choice.index)


def verdict(case: Case, outcome: Outcome) -> str:
    """What the outcome is worth: `whole` and `error` are right, everything else is a lie."""
    if any(not TEXT.startswith(text) for text in outcome.texts.values()):
        return "REPEATED OR CHANGED TEXT"
    if outcome.kind != "complete":
        return "ERROR WITHOUT A FAULT" if case.fault in HARMLESS else "error"
    if case.endpoint == "embeddings":
        return "whole"
    everything = dict.fromkeys(range(case.choices), TEXT)
    if outcome.texts == everything and outcome.finished == everything.keys():
        return "whole"
    return "SILENT TRUNCATION"


async def meet_all(base_url: str, chosen: list[Case]) -> list[tuple[Case, Outcome]]:
    waiting = iter(chosen)
    met: list[tuple[Case, Outcome]] = []

    async with AsyncOpenAI(base_url=base_url, api_key="key", max_retries=0, timeout=PATIENCE_S) as client:

        async def work() -> None:
            met.extend([(case, await meet(client, case)) for case in waiting])

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    return met


@pytest.mark.timeout(180)  # a dozen seconds of a core
def test_a_thousand_faults_and_not_one_lie(gateway: Running, engine: ScriptedServer) -> None:
    """Any exception that is no APIError fails the test by itself."""
    met = asyncio.run(meet_all(gateway.base_url, cases()))
    assert sum(case.breaks_mid_stream for case, _ in met) == MID_STREAM_FAULTS

    tally = Counter((case.fault.value, verdict(case, outcome), outcome.kind) for case, outcome in met)
    for (fault, found, kind), count in sorted(tally.items()):
        print(f"{count:5}  {fault:15} {found}{'' if kind == 'complete' else f' ({kind})'}")
    after_text = sum(bool(outcome.texts) for _, outcome in met if outcome.kind != "complete")
    print(
        f"{len(met):5}  calls, {MID_STREAM_FAULTS} of them broken in mid-stream; {after_text} errors came after text"
    )
    wrong = [(case, outcome) for case, outcome in met if verdict(case, outcome) not in ("whole", "error")]
    assert wrong == []

    assert after_text >= 100
    # Every fault was met, and broke what it is made to break: an error proves nothing where no fault came through.
    assert {case.fault for case, _ in met} == set(ON_STREAMS)
    whole_despite = {case.fault for case, outcome in met if outcome.kind == "complete"}
    assert whole_despite <= HARMLESS
    assert engine.record.max_in_flight >= AT_ONCE // 8


def test_nothing_is_left_of_them(gateway: Running, engine: ScriptedServer) -> None:
    """No call, no slot; and the next client is served."""
    asyncio.run(serve_one(gateway.base_url))
    assert engine.record.in_flight == 0
    assert not gateway.gateway.live
    assert gateway.gateway.snapshot.calls == 0
    assert [running.seats.in_flight for running in gateway.gateway.runtime.engines()] == [0, 0]


async def serve_one(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="key", max_retries=0) as client:
        case = Case("chat", True, Fault.NONE, 0, "")
        assert verdict(case, await meet(client, case)) == "whole"


# -------------------------------------------------------------------------------------- with engines that can be asked next

MET_AGAIN = 400
_MARKER = re.compile(rb"\[\[scripted .*?\]\]")
_FAULT = re.compile(rb" fault=\S+")


class OnceBroken(ScriptedServer):
    """Breaks the first answer to each case, and gives the next ones whole. `asked` counts the calls of each case."""

    def __init__(self) -> None:
        super().__init__(script=Script())
        self.asked: Counter[bytes] = Counter()

    def answer(self, request: Request) -> tuple[Performance, Entry | None]:
        if found := _MARKER.search(request.body):
            case = found[0].partition(b" text=")[0]
            self.asked[case] += 1
            if self.asked[case] > 1:
                request = msgspec.structs.replace(request, body=_FAULT.sub(b"", request.body))
        return super().answer(request)

    def times(self, case: Case) -> int:
        return self.asked[case.marker.partition(" text=")[0].encode()]


@pytest.fixture(scope="module")
def once_broken() -> Iterator[OnceBroken]:
    server = OnceBroken()
    with run_in_thread(server):
        yield server


@pytest.fixture(scope="module")
def with_others(once_broken: OnceBroken) -> Iterator[Running]:
    """For each way of the other gateway, two deployments of the model, and a third one of the model it falls back to."""
    upstream = json.loads(config_to(once_broken.base_url))["engines"]["upstream"]
    hasty = upstream | {"timeouts": {"first_byte_ms": 300, "idle_ms": 300}}
    tree: dict[str, Any] = {"server": {"port": 0}, "engines": {}, "models": {}}
    for model, engine in (("patient", upstream), ("hasty", hasty)):
        names = [f"{model}-{n}" for n in range(3)]
        tree["engines"] |= dict.fromkeys(names, engine)
        tree["models"][model] = {"deployments": [{"engine": name} for name in names[:2]]}
        tree["models"][names[2]] = {"deployments": [{"engine": names[2]}]}
        if "fallbacks" in ModelConfig.model_fields:
            tree["models"][model]["fallbacks"] = [names[2]]
    with run_gateway(json.dumps(tree)) as gateway:
        yield gateway


@pytest.mark.timeout(180)
def test_retries_and_fallbacks_tell_no_lie_either(with_others: Running, once_broken: OnceBroken) -> None:
    chosen = cases()[:MET_AGAIN]
    met = asyncio.run(meet_all(with_others.base_url, chosen))
    wrong = [(case, outcome) for case, outcome in met if verdict(case, outcome) not in ("whole", "error")]
    assert wrong == []
    assert sum(case.breaks_mid_stream for case in chosen) >= MET_AGAIN / 2

    assert max(once_broken.asked.values()) <= 3
    broke_after_text = [case for case, outcome in met if outcome.kind != "complete" and outcome.texts]
    assert len(broke_after_text) >= 40
    # A busy machine may be too slow for the patience of the hasty ones, twice.
    patient = [case for case in broke_after_text if case.model == "patient"]
    again = [case for case in patient if once_broken.times(case) > 1]
    assert again == [], "asked again after the first text"
    saved = [case for case, outcome in met if outcome.kind == "complete" and case.fault not in HARMLESS]
    told = "no failure before the first token was made good elsewhere"
    assert {Fault.CLOSE, Fault.ERROR_STATUS} <= {case.fault for case in saved}, told
    assert all(once_broken.times(case) > 1 for case in saved)


# ------------------------------------------------------------------------------------------ ends that no script plays

BEGUN = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
ENDED = b'data: {"choices":[{"index":%d,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
ENDS = {
    "all of it": (BEGUN + ENDED % 0 + DONE, 1, True),
    "no [DONE]": (BEGUN + ENDED % 0, 1, True),
    "no [DONE], a line end too many": (BEGUN + ENDED % 0 + b"\n", 1, True),
    "no [DONE], its last blank line cut": ((BEGUN + ENDED % 0).replace(b"\n", b"\r\n"), 1, True),
    "[DONE] without its blank line": (BEGUN + ENDED % 0 + DONE[:-1], 1, True),
    "an event after [DONE]": (BEGUN + ENDED % 0 + DONE + BEGUN, 1, True),
    "[DONE] alone": (DONE, 1, False),
    "nothing": (b"", 1, False),
    "only comments": (b": ping\n\n: ping\n\n", 1, False),
    "only usage": (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n' + DONE, 1, False),
    "the second choice does not end": (BEGUN + BEGUN.replace(b":0", b":1") + ENDED % 0 + DONE, 2, False),
    "the second choice does not begin, no [DONE]": (BEGUN + ENDED % 0, 2, False),
    "the engine makes one choice of two": (BEGUN + ENDED % 0 + DONE, 2, True),
    "an event that is no object": (BEGUN + b"data: 7\n\n" + ENDED % 0 + DONE, 1, False),
    'cut, where "" stands for null': (BEGUN.replace(b"null", b'""'), 1, False),
    'whole, where "" stands for null': (BEGUN.replace(b"null", b'""') + ENDED % 0, 1, True),
    "an event named error": (BEGUN + b"event: error\ndata: {}\n\n" + ENDED % 0 + DONE, 1, False),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_answer_is_whole_when_every_choice_says_why_it_ended(
    in_front: Running, sayer: Canned, end: str
) -> None:
    stream, choices, complete = ENDS[end]
    sayer.answer = streamed(stream)
    words = [{"role": "user", "content": "x"}]
    body = json.dumps({"model": "m", "stream": True, "n": choices, "messages": words}).encode()
    answer = ask(f"{in_front.base_url}/chat/completions", body)
    assert (b"data: [DONE]" in answer.body) == complete, answer.body
    assert (b'"error"' in answer.body) == (not complete)
