"""Answers that break off and are continued: the client sees one stream with every text once, or an error event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_hand import WALL_S
from plain_engine import PlainEngine
from virtual import VirtualLoop

from tidegate.call import Call
from tidegate.config import parse_text
from tidegate.egress.connection import Disconnected
from tidegate.engines.answers import EventStream
from tidegate.errors import (
    BadRequest,
    ConfigError,
    DeadlineExceeded,
    GatewayError,
    UpstreamBusy,
    UpstreamError,
    UpstreamOutOfQuota,
    UpstreamTimeout,
)
from tidegate.gateway import Gateway
from tidegate.http.apis import openai
from tidegate.runtime import Runtime
from tidegate.types import CONTINUED, FAILED, Ask, Batch, Endpoint, Exit, Spent

WORDS = "The tide comes in, and\n\n it goes out 🌊 twice a day; “nobody” sends it — so ha ha ha it goes, for ever."
PROMPT_TOKENS = 7
BODY: Mapping[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
BOTH = {"a": True, "b": True}


def tokens_of(text: str) -> list[str]:
    """Cut a text into tokens of a word each, with the space before it."""
    found: list[str] = []
    for char in text:
        if not found or char in " \n":
            found.append("")
        found[-1] += char
    return found


@dataclass
class Turn:
    """What an engine does when it is asked: after so many bytes it fails, with this error."""

    cut: int | None = None
    error: GatewayError = field(default_factory=lambda: UpstreamError("it broke off"))
    read: int = 10_000
    echo: str = ""
    """`whole` to send the final message back in one event, `tokens` for a token at a time."""
    text: str | None = None
    extra: Sequence[Mapping[str, Any]] = ()
    """Deltas before the text."""


@dataclass
class World:
    """Engines of one model, which always says the same text. Each turn is that of the next engine call."""

    turns: list[Turn]
    text: str = WORDS
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def events(self, turn: Turn, body: Mapping[str, Any]) -> list[bytes]:
        said = body["messages"][-1]["content"] if body.get("continue_final_message") else ""
        assert turn.text is not None or self.text.startswith(said), "it continues its own text"
        rest = tokens_of(self.text[len(said) :] if turn.text is None else turn.text)
        echo = {"whole": [said], "tokens": tokens_of(said)}.get(turn.echo, [])
        number = len(self.asked)
        head = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": number,
            "model": "x",
        }

        def event(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
            return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

        found = [event({"role": "assistant", "content": ""}), *map(event, turn.extra)]
        found += [event({"content": one}) for one in [*echo, *rest] if one]
        found.append(event({}, "stop"))
        if (body.get("stream_options") or {}).get("include_usage"):
            prompt = PROMPT_TOKENS + len(tokens_of(said))
            usage = {
                "prompt_tokens": prompt,
                "completion_tokens": len(rest),
                "total_tokens": prompt + len(rest),
            }
            found.append({**head, "choices": [], "usage": usage})
        lines = [json.dumps(one, ensure_ascii=False).encode() for one in found]
        return [b"data: %b\n\n" % line for line in [*lines, b"[DONE]"]]

    def whole(self, body: Mapping[str, Any] = BODY, turn: Turn | None = None) -> bytes:
        return b"".join(self.events(turn or Turn(), body))


class Speaks(PlainEngine):
    def __init__(self, name: str, world: Callable[[], World]) -> None:
        self.name, self.world = name, world

    async def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        world = self.world()
        body = {name: json.loads(bytes(raw)) for name, raw in ask.fields.items()}
        turn = world.turns[len(world.asked)] if len(world.asked) < len(world.turns) else Turn()
        data = world.whole(body, turn)
        world.asked.append((self.name, body))
        events = EventStream()
        sent = data if turn.cut is None else data[: turn.cut]
        for at in range(0, len(sent), turn.read):
            if batch := events.feed(sent[at : at + turn.read]):
                await asyncio.sleep(0.01)
                yield batch
        if turn.cut is not None:
            raise turn.error
        events.finish(1)


@dataclass
class Seen:
    """What the client got."""

    events: list[dict[str, Any]] = field(default_factory=list)
    error: GatewayError | None = None
    spent: Sequence[Spent] = ()

    def choices(self) -> list[dict[str, Any]]:
        return [choice for event in self.events for choice in event["choices"]]

    @property
    def text(self) -> str:
        return "".join(one["delta"].get("content") or "" for one in self.choices())

    @property
    def reasons(self) -> list[str]:
        return [one["finish_reason"] for one in self.choices() if one["finish_reason"]]

    @property
    def usage(self) -> dict[str, Any] | None:
        found = [event["usage"] for event in self.events if event.get("usage")]
        return found[-1] if found else None

    @property
    def marks(self) -> list[dict[str, Any]]:
        return [event["tidegate"]["continued"] for event in self.events if "tidegate" in event]


class Talks:
    """A gateway on the virtual clock. Its engines are those of the world that a call is made to."""

    def __init__(self, runner: asyncio.Runner, tree: Mapping[str, Any]) -> None:
        self._runner = runner
        self._world = World([])
        self._clock = runner.get_loop().time
        config = parse_text(json.dumps(tree), source="the test")
        runtime = Runtime(
            clock=self._clock,
            wall=lambda: WALL_S + self._clock(),
            make=lambda name, _: Speaks(name, lambda: self._world),
        )
        self.gateway = Gateway(config, runtime=runtime)

    def to(self, world: World, body: Mapping[str, Any] = BODY, *, deadline_s: float = 60) -> Seen:
        """Make one streamed call."""
        self._world = world
        return self._runner.run(self._talk(json.dumps(body).encode(), self._clock(), deadline_s))

    async def _talk(self, body: bytes, now: float, deadline_s: float) -> Seen:
        seen, pipeline = Seen(), self.gateway.snapshot.pipeline
        chat, deadline = Endpoint.CHAT, now + deadline_s
        call = Call(id="c", endpoint=chat, exit=Exit(), arrived_at=now, received_at=now, deadline=deadline)
        openai.read(body, call)
        try:
            async with call.exit:
                await pipeline.greet(call)
                reply = await pipeline.run(call)
                async for batch in reply.pieces:
                    seen.events += [json.loads(piece.data) for piece in batch]
        except GatewayError as error:
            seen.error = error
        seen.spent = call.spent
        return seen


# Engines that fail all the time are asked all the same, so that calls do not depend on those before.
_PATIENT = {"failure_rate": 1, "min_calls": 10**6, "failures_in_a_row": 10**6}


@contextmanager
def talks(
    continues: Mapping[str, bool] = BOTH, *, opted_in: bool = True, server: Mapping[str, Any] | None = None
) -> Iterator[Talks]:
    """Open a gateway. `continues` says of each engine whether it declares that it continues answers."""
    plain = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "breaker": _PATIENT}
    deployments = [{"engine": name, "tier": at} for at, name in enumerate(continues)]
    tree = {
        "engines": {name: {**plain, "continues": does} for name, does in continues.items()},
        "models": {"m": {"deployments": deployments, "continues": opted_in}},
        "server": server or {},
    }
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        found = Talks(runner, tree)
        runner.run(found.gateway.__aenter__())
        try:
            yield found
        finally:
            runner.run(found.gateway.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Talks]:
    with talks() as found:
        yield found


def is_one_stream(seen: Seen) -> None:
    """Check what a client may rely on in every stream."""
    assert len({(event["id"], event["created"], event["model"]) for event in seen.events}) <= 1
    assert [one["delta"]["role"] for one in seen.choices() if "role" in one["delta"]] == ["assistant"][
        : len(seen.events)
    ]
    assert len(seen.reasons) <= 1
    assert seen.reasons or seen.error is not None
    assert len(seen.marks) <= 1


def bounds(world: World) -> list[int]:
    """The number of bytes after each event."""
    found, at = list[int](), 0
    for event in world.events(Turn(), BODY):
        at += len(event)
        found.append(at)
    return found


# ------------------------------------------------------------------------------------------------------------ one stream


def test_a_break_after_any_event_shows_every_text_once(gateway: Talks) -> None:
    whole = World([])
    *before, finish, _, _ = bounds(whole)
    assert len(before) == len(tokens_of(WORDS)) + 1
    for at, cut in enumerate(before):
        world = World([Turn(cut)])
        seen = gateway.to(world)
        is_one_stream(seen)
        assert (seen.error, seen.text, seen.reasons) == (None, WORDS, ["stop"]), f"after event {at}"
        assert [name for name, _ in world.asked] == ["a", "b"]
        said = "".join(tokens_of(WORDS)[:at]).rstrip()
        assert bool(seen.marks) == bool(said)
        if said:
            assert world.asked[1][1]["messages"][1:] == [{"role": "assistant", "content": said}]
            assert world.asked[1][1]["add_generation_prompt"] is False
        else:
            assert "continue_final_message" not in world.asked[1][1], (
                "without a text, it is simply asked again"
            )
        if said == "".join(tokens_of(WORDS)[:at]):
            tokens = len(tokens_of(WORDS))
            assert seen.usage == {
                "prompt_tokens": PROMPT_TOKENS,
                "completion_tokens": tokens,
                "total_tokens": PROMPT_TOKENS + tokens,
            }
    assert isinstance(gateway.to(World([Turn(finish)])).error, UpstreamError), (
        "the answer is whole, and only its end is not"
    )


TEXTS = st.lists(
    st.sampled_from(["ha", " ha", "\n", " ", "  ", "🌊", " tide", "é", "x" * 70, "”, "]),
    min_size=1,
    max_size=24,
)


@given(
    parts=TEXTS,
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    read=st.integers(1, 400),
    echo=st.sampled_from(["", "whole", "tokens"]),
)
@settings(max_examples=200, deadline=None)
def test_no_text_is_repeated_or_left_out_wherever_it_breaks(
    gateway: Talks, parts: list[str], cuts: list[float], read: int, echo: str
) -> None:
    world = World([], "".join(parts))
    size = len(world.whole())
    world.turns = [Turn(int(cut * size), read=read, echo=echo if at else "") for at, cut in enumerate(cuts)]
    world.turns.append(Turn(echo=echo, read=read))
    seen = gateway.to(world)
    if seen.events:
        is_one_stream(seen)
    assert world.text.startswith(seen.text)
    assert seen.error is not None or seen.text == world.text


def test_a_continuation_that_breaks_off_is_continued_too() -> None:
    cuts = bounds(World([]))
    world = World([Turn(cuts[4]), Turn(cuts[3])])
    with talks(dict.fromkeys("abc", True)) as gateway:
        seen = gateway.to(world)
    assert (seen.error, seen.text) == (None, WORDS)
    assert [name for name, _ in world.asked] == ["a", "b", "c"]
    assert [one.purpose for one in seen.spent] == ["answer", CONTINUED, CONTINUED]
    assert seen.usage is not None
    assert seen.usage["completion_tokens"] == len(tokens_of(WORDS))


def test_three_rounds_are_the_most() -> None:
    cuts = bounds(World([]))
    world = World([Turn(cuts[2]) for _ in range(9)])
    with talks(dict.fromkeys("abcde", True)) as gateway:
        seen = gateway.to(world)
    assert isinstance(seen.error, UpstreamError)
    assert len(world.asked) == 3
    assert WORDS.startswith(seen.text)


# ------------------------------------------------------------------------------------------------- echoes and repetitions


def after(gateway: Talks, text: str, token: int, turn: Turn) -> Seen:
    """Break an answer off after so many tokens, and continue it as the turn says."""
    world = World([], text)
    world.turns = [Turn(bounds(world)[token]), turn]
    return gateway.to(world)


def test_an_echo_of_a_long_text_is_cut(gateway: Talks) -> None:
    for token in range(len(tokens_of(WORDS))):
        seen = after(gateway, WORDS, token, Turn(echo="whole"))
        said = "".join(tokens_of(WORDS)[:token]).rstrip()
        if said and len(said) < 64:
            assert isinstance(seen.error, UpstreamError), "it may be a repetition"
            held = said.removeprefix(seen.text.rstrip())  # by the rails, which never show it after a failure
            assert len(held.split()) <= 1
        else:
            assert (seen.error, seen.text) == (None, WORDS)


@pytest.mark.parametrize("token", range(1, 7))
def test_a_repetition_is_never_cut(token: int, gateway: Talks) -> None:
    text = "ha ha ha, ha ha ha ha!"
    seen = after(gateway, text, token, Turn())
    assert text.startswith(seen.text)
    assert seen.error is not None or seen.text == text
    refrain = "We will, we will rock you!\nWe will, we will rock you!\nSing it!"
    seen = after(gateway, refrain, token, Turn())
    assert seen.error is not None or seen.text == refrain


def test_text_that_only_begins_like_the_one_before_is_new(gateway: Talks) -> None:
    text = "one two three one two four"
    seen = after(gateway, text, 3, Turn())
    assert (seen.error, seen.text) == (None, text), "it was held back until it differed"
    assert (seen.error, after(gateway, "one two one", 2, Turn()).text) == (None, "one two one"), (
        "or until the end"
    )


def test_an_echo_in_pieces_gives_the_answer_up(gateway: Talks) -> None:
    seen = after(gateway, WORDS, 20, Turn(echo="tokens"))
    assert isinstance(seen.error, UpstreamError)
    assert [one.purpose for one in seen.spent] == ["answer", FAILED], "the house pays for what nobody got"


@pytest.mark.parametrize(
    ("before", "rest", "whole"),
    [
        ("one\n\n", "\n\ntwo", "one\n\ntwo"),
        ("one\n\n", "\ntwo", "one\n\ntwo"),
        ("one\n", "\n\ntwo", "one\n\ntwo"),
        ("one ", " two", "one two"),
        ("one ", "two", "one two"),
        ("one", " two", "one two"),
        ("one", "  two", "one  two"),
        ("one ", "\ntwo", "one \ntwo"),
    ],
)
def test_white_space_between_the_two(before: str, rest: str, whole: str, gateway: Talks) -> None:
    world = World([], before)
    world.turns = [Turn(bounds(world)[len(tokens_of(before))]), Turn(text=rest)]
    assert gateway.to(world).text == whole


# -------------------------------------------------------------------------------------------------- what is not continued


def breaks(gateway: Talks, body: Mapping[str, Any] = BODY, *, deadline_s: float = 60) -> tuple[Seen, World]:
    """Break an answer off after three tokens."""
    world = World([Turn(bounds(World([]))[3])])
    return gateway.to(world, body, deadline_s=deadline_s), world


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"functions": [{"name": "f"}]},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"n": 2},
        {"messages": [*BODY["messages"], {"role": "assistant", "content": "Once"}]},
    ],
)
def test_calls_that_are_not_plain_text_end_in_an_error(fields: Mapping[str, Any], gateway: Talks) -> None:
    seen, world = breaks(gateway, {**BODY, **fields})
    assert isinstance(seen.error, UpstreamError)
    assert len(world.asked) == 1


@pytest.mark.parametrize(
    "fields", [{"tools": []}, {"logprobs": False}, {"response_format": None}, {"n": 1, "temperature": 0}]
)
def test_fields_that_ask_for_nothing_do_not_matter(fields: Mapping[str, Any], gateway: Talks) -> None:
    seen, _ = breaks(gateway, {**BODY, **fields})
    assert (seen.error, seen.text) == (None, WORDS)


@pytest.mark.parametrize(
    "extra",
    [
        {"tool_calls": [{"index": 0}]},
        {"refusal": "no"},
        {"content": ["a part"]},
        {"function_call": {"name": "f"}},
    ],
)
def test_answers_that_are_more_than_text_end_in_an_error(extra: Mapping[str, Any], gateway: Talks) -> None:
    first = World([Turn(400, extra=[extra])])
    assert isinstance(gateway.to(first).error, UpstreamError)
    assert len(first.asked) == 1
    second = World([Turn(bounds(World([]))[3]), Turn(extra=[extra])])
    seen = gateway.to(second)
    assert isinstance(seen.error, UpstreamError)
    assert WORDS.startswith(seen.text)


def test_reasoning_must_have_ended(gateway: Talks) -> None:
    thought = {"reasoning_content": "Well, "}
    size = len(World([]).whole(turn=Turn(extra=[thought], text="")))
    role_and_thought = size - len(World([]).whole(turn=Turn(text=""))) + bounds(World([]))[0]
    world = World([Turn(role_and_thought, extra=[thought])])
    assert isinstance(gateway.to(world).error, UpstreamError)
    assert len(world.asked) == 1
    world = World([Turn(role_and_thought + 300, extra=[thought])])
    seen = gateway.to(world)
    assert (seen.error, seen.text) == (None, WORDS)


@pytest.mark.parametrize("continues", [{"a": True, "b": False}, {"a": True}])
def test_without_another_engine_that_continues_it_ends_in_an_error(continues: Mapping[str, bool]) -> None:
    with talks(continues) as gateway:
        seen, world = breaks(gateway)
    assert seen.error is not None
    assert seen.error.message == "it broke off"
    assert len(world.asked) == 1
    assert seen.reasons == []


def test_an_engine_that_does_not_continue_is_continued_by_one_that_does() -> None:
    with talks({"a": False, "b": True}) as gateway:
        seen, _ = breaks(gateway)
    assert (seen.error, seen.text) == (None, WORDS)


def test_a_broken_connection_is_tried_again_on_the_same_engine_within_its_budget() -> None:
    cut = bounds(World([]))[3]
    world = World([Turn(cut, Disconnected(unseen=False))])
    with talks({"a": True}) as gateway:
        seen = gateway.to(world)
    assert (seen.error, seen.text) == (None, WORDS)
    assert [name for name, _ in world.asked] == ["a", "a"]


def test_a_model_that_has_not_opted_in_is_left_as_it_was() -> None:
    with talks(opted_in=False) as gateway:
        plain, world = breaks(gateway)
    assert isinstance(plain.error, UpstreamError)
    assert len(world.asked) == 1
    assert [event["choices"][0]["delta"] for event in plain.events] == [
        {"role": "assistant", "content": ""},
        *({"content": one} for one in tokens_of(WORDS)[:3]),
    ]


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (UpstreamTimeout("silent"), True),
        (UpstreamBusy("full"), True),
        (UpstreamOutOfQuota("no credit"), True),
        (BadRequest("wrong"), False),
        (DeadlineExceeded("late"), False),
    ],
)
def test_only_failures_of_the_engine_are_made_up_for(
    error: GatewayError, goes_on: bool, gateway: Talks
) -> None:
    world = World([Turn(bounds(World([]))[3], error)])
    seen = gateway.to(world)
    assert (seen.error is None) == goes_on
    assert len(world.asked) == 1 + goes_on


def test_a_call_out_of_time_is_not_continued(gateway: Talks) -> None:
    cut = bounds(World([]))[9]
    world = World([Turn(cut, UpstreamTimeout("silent"), read=100)])
    seen = gateway.to(world, deadline_s=0.02)
    assert seen.error is not None
    assert len(world.asked) == 1


def test_a_client_is_not_told_that_an_engine_refuses_what_it_has_not_sent(gateway: Talks) -> None:
    world = World([Turn(bounds(World([]))[3]), Turn(0, BadRequest("continue_final_message is unknown"))])
    seen = gateway.to(world)
    assert seen.error is not None
    assert seen.error.message == "it broke off"


# ------------------------------------------------------------------------------------------ lengths, books and the operator


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_rest_may_have_the_tokens_that_are_left(name: str, gateway: Talks) -> None:
    seen, world = breaks(gateway, {**BODY, name: 10, "seed": 3})
    assert seen.error is None
    assert world.asked[1][1][name] == 7
    assert {
        key: value for key, value in world.asked[1][1].items() if key in ("seed", "stream_options", "model")
    } == {
        key: value for key, value in world.asked[0][1].items() if key in ("seed", "stream_options", "model")
    }


def test_an_answer_with_all_of_its_tokens_is_over(gateway: Talks) -> None:
    seen, world = breaks(gateway, {**BODY, "max_tokens": 3})
    is_one_stream(seen)
    assert (seen.error, seen.reasons) == (None, ["length"])
    assert seen.text == "".join(tokens_of(WORDS)[:3])
    assert len(world.asked) == 1


def test_the_mark_says_where_and_names_the_engine_only_if_engines_are_shown(gateway: Talks) -> None:
    at = len("".join(tokens_of(WORDS)[:3]))
    assert breaks(gateway)[0].marks == [{"at_chars": at}]
    with talks(server={"expose_engines": True}) as open_gateway:
        assert breaks(open_gateway)[0].marks == [{"at_chars": at, "engine": "b"}]


def test_the_books() -> None:
    with talks() as gateway:
        seen, _ = breaks(gateway)
        metrics = gateway.gateway.runtime.metrics.render().decode()
    first, second = seen.spent
    assert (first.purpose, first.outcome, first.received_tokens) == ("answer", "engine_error", 3)
    assert (second.purpose, second.outcome) == (CONTINUED, "ok")
    assert second.usage is not None
    assert second.usage.prompt_tokens == PROMPT_TOKENS + 3, "as the engine has reported it"
    assert 'tidegate_engine_continuations_total{engine="a",model="m"} 1.0' in metrics
    assert 'tidegate_engine_failovers_total{engine="a",model="m"} 0.0' in metrics


def test_a_model_cannot_be_continued_without_an_engine_that_can() -> None:
    tree: dict[str, Any] = {
        "engines": {"a": {"kind": "vllm", "url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"deployments": [{"engine": "a"}], "continues": True}},
    }
    with pytest.raises(ConfigError) as raised:
        parse_text(json.dumps(tree), source="the test")
    (problem,) = raised.value.problems
    assert problem.path == "models.m.continues"
    assert "set engines.NAME.continues" in problem.message
    tree["engines"]["a"]["continues"] = True
    parse_text(json.dumps(tree), source="the test")
    tree["engines"]["b"] = {"kind": "embedded", "continues": True}
    with pytest.raises(ConfigError):
        parse_text(json.dumps(tree), source="the test")
