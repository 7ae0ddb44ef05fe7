"""Every kind of rail on every endpoint, at every place where text stands, whole and streamed (S1).

The kinds are those of the registry, so that no rail can be forgotten: one without an example fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from talking import CHAT, COMPLETIONS, EMBEDDINGS
from virtual import run

from railed.examples import EXAMPLES, Example, settings_of
from railed.world import ARGUMENTS, Asked, World, railed, says
from tidegate import registry
from tidegate.config.kinds import Kinded
from tidegate.config.rails import RailConfig
from tidegate.types import RailFacts, Surface

KINDS = [
    kind
    for kind, place in registry.built_in("tidegate.rails").items()
    if place.startswith("tidegate.rails.rules.")
]
"""The rails that are rules. `tests/guarded` has those that ask others."""
USER = {"role": "user", "content": "hello"}
REFUSAL = "I'm sorry, but I can't help with that."

Fields = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A place of text in requests of an endpoint."""

    endpoint: str
    surface: str
    name: str
    fields: Callable[[str], Fields]


def messages(role: str, **more: Any) -> Callable[[str], Fields]:
    return lambda text: {"messages": [{"role": role, "content": text, **more}, USER]}


def called(text: str) -> Fields:
    function = {"name": "f", "arguments": json.dumps({"a": [{"b": text}]}, ensure_ascii=False)}
    call = {"id": "c", "type": "function", "function": function}
    asks = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"messages": [USER, asks, {"role": "tool", "tool_call_id": "c", "content": "ok"}]}


def described(text: str) -> Fields:
    function = {"name": "f", "description": text, "parameters": {"type": "object"}}
    return {"messages": [USER], "tools": [{"type": "function", "function": function}]}


PLACES = [
    Place(CHAT, "input", "user", messages("user")),
    Place(CHAT, "input", "assistant", messages("assistant")),
    Place(CHAT, "input", "part", lambda text: {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "So:"}, {"type": "text", "text": text}]}]
    }),
    Place(CHAT, "input", "name", lambda text: {"messages": [{**USER, "name": text}]}),
    Place(CHAT, "input", "arguments", called),
    Place(CHAT, "input", "prediction", lambda text: {
        "messages": [USER], "prediction": {"type": "content", "content": text}
    }),
    Place(CHAT, "system", "system", messages("system")),
    Place(CHAT, "system", "developer", messages("developer")),
    Place(CHAT, "system", "tool", described),
    Place(CHAT, "tool", "result", messages("tool", tool_call_id="c")),
    Place(CHAT, "tool", "function", messages("function", name="f")),
    Place(CHAT, "retrieval", "document", lambda text: {"messages": [USER], "documents": [{"text": text}]}),
    Place(COMPLETIONS, "input", "prompt", lambda text: {"prompt": text}),
    Place(COMPLETIONS, "input", "prompts", lambda text: {"prompt": ["hello", text]}),
    Place(COMPLETIONS, "input", "suffix", lambda text: {"prompt": "hello", "suffix": text}),
    Place(EMBEDDINGS, "input", "input", lambda text: {"input": text}),
    Place(EMBEDDINGS, "input", "inputs", lambda text: {"input": ["hello", text]}),
]  # fmt: skip
CHANNELS = ["content", "reasoning_content", "refusal", ARGUMENTS]


def facts(kind: str, folder: Path) -> RailFacts:
    model = Kinded("tidegate.rails").model({"kind": kind}, RailConfig)
    about = registry.find("tidegate.rails", kind)(model.model_validate(settings_of(kind, folder))).about
    assert isinstance(about, RailFacts)
    return about


def on_fails(about: RailFacts) -> list[str]:
    return ["block", "log", *(["redact"] if about.finds_spans else [])]


def world_of(kind: str, folder: Path) -> Any:
    """A gateway whose clients choose what happens to a text, by the profile of that name."""
    about, one = facts(kind, folder), settings_of(kind, folder)
    everywhere = sorted(surface.value for surface in about.surfaces)
    profiles = {
        on_fail: {"rails": [{**one, "name": "it", "surfaces": everywhere, "on_fail": on_fail}]}
        for on_fail in on_fails(about)
    }
    return railed(section={"profiles": profiles}, policy={"stricter_rails": list(profiles)})


def action(world: World, surface: str) -> str:
    """What the rail has done about texts on a surface, in the last call. It has done nothing about the others."""
    done = {one.surface.value: one.action.word for one in world.record.findings}
    assert {one for at, one in done.items() if at != surface} <= {"pass"}
    return done[surface]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_example(kind: str) -> None:
    assert kind in EXAMPLES, f"give the rail '{kind}' a row in EXAMPLES"
    assert EXAMPLES[kind].bad in EXAMPLES[kind].text


def streams(endpoint: str) -> Iterator[bool]:
    yield False
    if endpoint != EMBEDDINGS:
        yield True


def got(asked: Asked) -> str:
    """All texts of the request that the engine got, as they are and as they are read."""
    text = json.dumps(asked.fields, ensure_ascii=False)
    return text + text.replace("\\", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_a_request_is_blocked_masked_or_logged(kind: str, tmp_path: Path) -> None:
    about, example = facts(kind, tmp_path), EXAMPLES[kind]
    places = [place for place in PLACES if Surface(place.surface) in about.surfaces]

    async def work() -> None:
        async with world_of(kind, tmp_path) as world:
            for place in places:
                for stream in streams(place.endpoint):
                    for on_fail in on_fails(about):
                        await request(world, place, on_fail, example, stream=stream)

    run(work())


async def request(world: World, place: Place, on_fail: str, example: Example, *, stream: bool) -> None:
    case = (place.endpoint, place.name, on_fail, stream)
    header = f"x-tidegate-profile: {on_fail}"
    surface = "input" if example.only_input else place.surface
    world.engine.asked.clear()
    more: Fields = {"stream": True} if stream else {}

    def body(text: str) -> bytes:
        return json.dumps({"model": "m", **place.fields(text), **more}, ensure_ascii=False).encode()

    answer = await world.ask(body(example.harmless), header, path=place.endpoint)
    assert answer.status == 200, (case, answer.body)
    assert world.engine.asked.pop().fields | more == json.loads(body(example.harmless)) | (
        {"stream_options": {"include_usage": True}} if stream else {}
    ), case
    assert answer.rails == {"it": "pass"}, case

    answer = await world.ask(body(example.text), header, path=place.endpoint)
    assert answer.rails == {"it": on_fail}, case
    assert action(world, surface) == on_fail, case
    if on_fail != "block":
        [asked] = world.engine.asked
        assert answer.status == 200, case
        assert (example.bad in got(asked)) is (on_fail == "log"), (case, got(asked))
    else:
        assert world.engine.asked == [], case
        assert example.bad not in answer.client.received.decode(), case
        if place.endpoint == EMBEDDINGS:
            assert (answer.status, answer.error["code"]) == (400, "content_filter"), case
        else:
            assert set(answer.texts.values()) == {REFUSAL}, case
            assert set(answer.finish.values()) == {"content_filter"}, case


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind in EXAMPLES and not EXAMPLES[kind].only_input]
)
def test_a_text_of_an_answer_is_blocked_masked_or_logged(kind: str, tmp_path: Path) -> None:
    about, example = facts(kind, tmp_path), EXAMPLES[kind]
    ways = [(CHAT, channel, choices) for channel in CHANNELS for choices in (1, 2)]

    async def work() -> None:
        async with world_of(kind, tmp_path) as world:
            for endpoint, channel, choices in (
                *ways,
                (COMPLETIONS, "content", 1),
                (COMPLETIONS, "content", 2),
            ):
                for stream in (False, True):
                    for on_fail in on_fails(about):
                        await said(world, endpoint, (channel, choices), on_fail, example, stream=stream)

    if Surface.OUTPUT in about.surfaces:
        run(work())


async def said(
    world: World, endpoint: str, way: tuple[str, int], on_fail: str, example: Example, *, stream: bool
) -> None:
    channel, choices = way
    case = (endpoint, channel, choices, on_fail, stream)
    header = f"x-tidegate-profile: {on_fail}"
    more: Fields = {"n": choices, **({"stream": True} if stream else {})}
    ask = {"prompt": "hello"} if endpoint == COMPLETIONS else {"messages": [USER]}
    body = json.dumps({"model": "m", **ask, **more}).encode()
    for text in (example.harmless, example.text):
        if channel == ARGUMENTS:
            text = json.dumps({"a": [text], "b": 1}, ensure_ascii=False)  # noqa: PLW2901
        cut = len(text) // 2
        world.engine.says = says(
            text[: cut // 2], text[cut // 2 : cut], text[cut:], channel=channel, choices=choices
        )
        answer = await world.ask(body, header, path=endpoint)
        assert answer.status == 200, (case, answer.body)
        whole = "".join(answer.texts.values())
        if example.bad not in text or on_fail == "log":
            assert answer.texts == {(at, channel): text for at in range(choices)}, case
            assert action(world, "output") == ("log" if example.bad in text else "pass"), case
            continue
        assert action(world, "output") == on_fail, case
        assert example.bad not in whole, case
        assert example.bad not in answer.client.received.decode(), case
        assert set(answer.finish.values()) == {"content_filter" if on_fail == "block" else "stop"}, case
        if on_fail == "block":
            assert answer.text.endswith(REFUSAL), case
        else:
            assert set(answer.texts) == {(at, channel) for at in range(choices)}, case
            if channel == ARGUMENTS:
                assert {json.loads(one)["b"] for one in answer.texts.values()} == {1}, case
        # A rail that judges passages of answers alone has seen none when the answer begins.
        assert answer.rails in ({"it": on_fail}, *([{"it": "pass"}, {}] if stream else [])), case
