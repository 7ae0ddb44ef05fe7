"""A body that is read in steps is accepted, refused and understood as one that is read in one go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from canned import canned, whole
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serving import config_to, run_gateway
from talking import COMPLETIONS, post

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.http.apis import openai
from tidegate.http.apis.large import LARGE_BYTES, STEP_S, read_in_turns, read_large
from tidegate.http.apis.outline import LONGEST_BYTES, MOST_FIELDS, Limits, Outline
from tidegate.types import ChatRequest, CompletionRequest, Endpoint, Exit

NARROW = Limits(window_bytes=64, batch_bytes=16)
"""Steps so small that everything lies across their borders."""
M = 2**20


def a_call(endpoint: Endpoint = Endpoint.CHAT) -> Call:
    return Call(id="id", endpoint=endpoint, exit=Exit(), arrived_at=0.0, received_at=0.0, deadline=60.0)


def in_one_go(body: bytes, endpoint: Endpoint = Endpoint.CHAT, limits: Limits = NARROW) -> Call:
    call = a_call(endpoint)
    openai.read(body, call, max_depth=limits.max_depth, max_containers=limits.max_containers)
    return call


def in_steps(body: bytes, endpoint: Endpoint = Endpoint.CHAT, limits: Limits = NARROW) -> Call:
    call = a_call(endpoint)
    for _ in read_large(body, call, limits):
        pass
    return call


def understood(call: Call) -> tuple[Any, ...]:
    """All that reading a body sets."""
    fields = {name: bytes(raw) for name, raw in call.fields.items()}
    messages = [(one.role, one.content, bytes(one.raw)) for one in call.messages]
    return fields, messages, call.request, call.model, call.stream, call.choices


def outcome(read: Any, body: bytes, endpoint: Endpoint, limits: Limits) -> tuple[Any, ...] | str:
    try:
        return understood(read(body, endpoint, limits))
    except BadRequest:
        return "refused"


# ------------------------------------------------------------------------------------------ JSON as nobody would write it

blanks = st.text(" \t\r\n", max_size=3) | st.just(" " * 150) | st.just("")
characters = st.sampled_from(
    [
        "a",
        "b",
        "é",
        "😀",
        ",",
        ":",
        "[",
        "]",
        "{",
        "}",
        r"\"",
        r"\\",
        r"\n",
        r"\/",
        r"\u0061",
        r"\ud83d\ude00",
        " ",
        "xyz" * 9,
    ]
)
texts = st.lists(characters, max_size=30).map(lambda parts: '"' + "".join(parts) + '"')
numbers = st.sampled_from(["0", "-1", "1.5", "1e3", "123456", "-0.0"])
scalars = texts | numbers | st.sampled_from(["true", "false", "null"])
names = st.sampled_from(
    ['"role"', '"content"', '"type"', '"text"', '"a"', r'"\u0061"', '""', '"[{"', '"name"']
)


def a_list(items: st.SearchStrategy[str], most: int = 6) -> st.SearchStrategy[str]:
    return st.builds(
        lambda parts, blank: "[" + ",".join(f"{blank}{part}" for part in parts) + f"{blank}]",
        st.lists(items, max_size=most),
        blanks,
    )


def an_object(members: st.SearchStrategy[tuple[str, str]], most: int = 4) -> st.SearchStrategy[str]:
    return st.builds(
        lambda pairs, blank: (
            "{" + ",".join(f"{blank}{name}{blank}:{value}" for name, value in pairs) + f"{blank}}}"
        ),
        st.lists(members, max_size=most),
        blanks,
    )


values = st.recursive(scalars, lambda inner: a_list(inner) | an_object(st.tuples(names, inner)), max_leaves=8)
parts = an_object(st.tuples(st.sampled_from(['"type"', '"text"', '"image_url"', '"x"']), values))
messages = st.builds(
    lambda role, content, more, blank: f'{{{blank}"role":{role},{blank}"content"{blank}:{content}{more}}}',
    st.sampled_from(['"user"', '"system"', r'"\u0061"']),
    texts | st.just("null") | a_list(parts),
    st.lists(st.tuples(names, values), max_size=1).map(
        lambda more: "".join(f",{name}:{value}" for name, value in more)
    ),
    blanks,
)
fields = st.one_of(
    st.tuples(st.just('"messages"'), a_list(messages, 8)),
    st.tuples(st.just('"stream"'), st.sampled_from(["true", "false", "null"])),
    st.tuples(st.just('"n"'), numbers),
    st.tuples(st.sampled_from(['"prompt"', '"input"']), a_list(scalars, 20) | texts),
    st.tuples(
        st.sampled_from(['"stop"', '"tools"', '"user"', '"logit_bias"', '"other"', r'"\u006e"']), values
    ),
)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """Mostly good, with a field twice now and then, or of another type."""
    found = draw(st.lists(fields, max_size=4))
    if draw(st.integers(0, 9)):
        found = [('"model"', draw(texts)), *found, ('"messages"', draw(a_list(messages, 10)))]
    found = draw(st.permutations(found))
    blank = draw(blanks)
    return (
        blank
        + draw(an_object(st.just(('"model"', '"m"')), 0)).replace(
            "}", ",".join(f"{blank}{name}{blank}:{blank}{value}{blank}" for name, value in found) + "}", 1
        )
        + blank
    )


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A body with one thing cut out, put in or put in place of another, or with an early end."""
    body = draw(bodies()).encode()
    start = draw(st.integers(0, len(body)))
    end = draw(st.sampled_from([start, start + 1, start + 2, start + 20, len(body)]))
    noise = draw(
        st.sampled_from(
            [
                b"",
                b",",
                b'"',
                b"\\",
                b"{",
                b"}",
                b"[",
                b"]",
                b":",
                b" ",
                b"\xff",
                b"\xf0\x9f",
                b"\x00",
                b"1",
                rb"\ud83d",
                rb"\u12",
            ]
        )
    )
    return body[:start] + noise + body[end:]


endpoints = st.sampled_from(list(Endpoint))
narrow = st.builds(
    lambda window, batch: Limits(window_bytes=window, batch_bytes=batch),
    st.integers(60, 200),
    st.integers(1, 100),
)


@pytest.mark.timeout(300)  # hundreds of bodies: some seconds of a core, and there may be little of one
@settings(max_examples=80, deadline=None)
@given(bodies(), endpoints, narrow)
@example('{"model":"m","messages":[]}', Endpoint.CHAT, NARROW)
@example('{"model":"m","messages":[{"role":"u"}],"top_p":0.%s }' % ("1" * 300), Endpoint.CHAT, NARROW)
@example('{"model":"m","messages":[{"role":"user"}],"messages":[{"role":"u"}]}', Endpoint.CHAT, NARROW)
@example(
    '{"model":"m",' + " " * 500 + '"messages":[{"role":"user","content":"x"}]}' + " " * 500,
    Endpoint.CHAT,
    NARROW,
)
@example(
    '{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (r"\ud83d\ude00" * 50),
    Endpoint.CHAT,
    NARROW,
)
@example('{"model":"m","prompt":[%s1]}' % ("1," * 200), Endpoint.COMPLETIONS, NARROW)
@example('{"model":"m","input":[%s"a"]}' % ('"a,b",' * 200), Endpoint.EMBEDDINGS, NARROW)
def test_a_good_body_is_understood_alike(body: str, endpoint: Endpoint, limits: Limits) -> None:
    data = body.encode()
    assert outcome(in_steps, data, endpoint, limits) == outcome(in_one_go, data, endpoint, limits)


@pytest.mark.timeout(300)
@settings(max_examples=120, deadline=None)
@given(broken(), endpoints, narrow)
@example(b'{"model":"m","messages":[{"role":"user","content":"x"},]}', Endpoint.CHAT, NARROW)
@example(b'{"model":"m","messages":[' + b'{"role":"u"},' * 20 + b"]}", Endpoint.CHAT, NARROW)
@example(b'{"model":"m","messages":[' + b'{"role":"u"},' * 20 + b'{"role":"u"}}}', Endpoint.CHAT, NARROW)
@example(b'{"model":"m","messages":[' + b'{"role":"u"},' * 20 + b'{"role":1}]}', Endpoint.CHAT, NARROW)
@example(
    b'{"model":"m","messages":[' + b'{"role":"u"},' * 20 + b'{"role":"u","a":1,"a":2}]}',
    Endpoint.CHAT,
    NARROW,
)
@example(b'{"model":"m","messages":[{"role":"u","content":"' + b"x" * 300, Endpoint.CHAT, NARROW)
@example(
    b'{"model":"m","messages":[{"role":"u","content":"' + b"x" * 300 + b'\\ud83d"}]}', Endpoint.CHAT, NARROW
)
@example(
    b'{"model":"m","messages":[{"role":"u","content":"' + b"x" * 300 + b'\xff"}]}', Endpoint.CHAT, NARROW
)
@example(b'{"model":"m","messages":[{"role":"u","content":"' + b"x" * 300 + b'\n"}]}', Endpoint.CHAT, NARROW)
@example(
    b'{"model":"m","messages":[{"role":"u","content":"' + b"x" * 300 + b'\\u12"}]}', Endpoint.CHAT, NARROW
)
@example(b'{"model":"m","messages":[{"role":"u"}],"n":1 2}', Endpoint.CHAT, NARROW)
@example(b'{"model":"m","messages":[{"role":"u"}]},', Endpoint.CHAT, NARROW)
@example(b'{"model":"m","messages":[{"role":"u"}]} {}', Endpoint.CHAT, NARROW)
@example(b'[{"model":"m"}]', Endpoint.CHAT, NARROW)
@example(b"", Endpoint.CHAT, NARROW)
def test_a_broken_body_is_accepted_or_refused_alike(body: bytes, endpoint: Endpoint, limits: Limits) -> None:
    assert outcome(in_steps, body, endpoint, limits) == outcome(in_one_go, body, endpoint, limits)


@pytest.mark.parametrize("levels", [1, 3, 4, 5, 6, 60])
@pytest.mark.parametrize("lists", [1, 9, 10, 11, 200])
def test_the_limits_are_the_same(levels: int, lists: int) -> None:
    limits = Limits(max_depth=6, max_containers=12, window_bytes=64, batch_bytes=16)
    deep = "[" * levels + "]" * levels
    for more in (deep, ",".join(["[]"] * lists), ",".join([deep] * lists)):
        body = f'{{"model":"m","messages":[{{"role":"u"}}],"other":[{more}]}}'.encode()
        assert outcome(in_steps, body, Endpoint.CHAT, limits) == outcome(
            in_one_go, body, Endpoint.CHAT, limits
        )


# ------------------------------------------------------------------------------------------------------- what is large

WIDE = Limits()
IMAGE = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,%b"}}' % (b"iVBORw0KGgo/" * (M // 12))
USER = b'{"role":"user","content":"%b"}'


def chat_of(*messages: bytes) -> bytes:
    return b'{"model":"m","messages":[%b]}' % b",".join(messages)


LARGE = {
    "an image": chat_of(b'{"role":"user","content":[%b]}' % IMAGE),
    "many messages": chat_of(*[USER % b"hello"] * 30_000),
    "many parts": chat_of(
        *[b'{"role":"user","content":[%b]}' % (b"%b," % (b'{"type":"text"}') * 50)[:-1]] * 600
    ),
    "deep nesting": chat_of(*[b'{"role":"user","content":[{"x":%b}]}' % (b"[" * 50 + b"]" * 50)] * 1500),
    "one long text": chat_of(USER % (b"\\n" * 300_000)),
    "other characters": chat_of(USER % ("😀".encode() * 200_000)),
    "blanks": b" " * M + chat_of(USER % b"hello") + b"\n" * M,
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_body_is_understood_as_in_one_go(kind: str) -> None:
    body = LARGE[kind]
    read, expected = in_steps(body, limits=WIDE), in_one_go(body, limits=WIDE)
    assert {name: bytes(raw) for name, raw in read.fields.items()} == {
        name: bytes(raw) for name, raw in expected.fields.items()
    }
    assert len(read.messages) == len(expected.messages)
    assert read.messages[0] == expected.messages[0]
    assert read.messages[-1] == expected.messages[-1]
    assert read.is_large
    assert not expected.is_large


@pytest.mark.parametrize("kind", LARGE)
def test_no_step_gives_the_parser_much(kind: str) -> None:
    given: list[int] = []

    def on_items(name: str, batch: bytes, before: int) -> int:
        given.append(len(batch))
        return len(json.loads(batch))

    outline = Outline(LARGE[kind], on_items, WIDE)
    pauses = sum(1 for _ in outline.read())
    assert pauses >= len(LARGE[kind]) // (2 * WIDE.window_bytes)
    assert len(outline.text) <= WIDE.batch_bytes + 2 * WIDE.window_bytes
    assert max(given, default=0) <= 2 * WIDE.window_bytes


def test_a_mistake_far_behind_is_named() -> None:
    messages = [USER % b"hello"] * 30_000
    for wrong, words in {
        b'{"role":"user","content":7}': "The field 'messages[30000].content' is wrong",
        b'{"content":"x"}': "The field 'messages[30000].role' is missing",
        b'{"role":"user","a":1,"a":2}': "An object in 'messages[30000]' has a key twice",
        b"7": "The field 'messages[30000]' is wrong",
    }.items():
        with pytest.raises(BadRequest, match=r"messages\[30000\]") as refused:
            in_steps(chat_of(*messages, wrong, *messages), limits=WIDE)
        assert words in refused.value.message
        assert refused.value.param
        assert refused.value.param.startswith("messages[30000]")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (chat_of(b'{"role":"user","x":[%b1]}' % (b"1," * LONGEST_BYTES)), "messages"),
        (
            b'{"model":"m","messages":[{"role":"u"}],"metadata":{%b"a":1}}' % (b'"a":1,' * LONGEST_BYTES),
            "metadata",
        ),
    ],
)
def test_an_item_that_is_too_much_for_one_step_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(BadRequest, match=f"more than {LONGEST_BYTES} bytes in one item") as refused:
        in_steps(body, limits=WIDE)
    assert refused.value.param == param


def test_too_many_fields_are_refused() -> None:
    more = ",".join(f'"f{i}":1' for i in range(MOST_FIELDS))
    with pytest.raises(BadRequest, match=f"more than {MOST_FIELDS} fields"):
        in_steps(f'{{"model":"m",{more}}}'.encode(), limits=WIDE)


def test_what_is_long_is_in_the_fields_and_not_in_the_request() -> None:
    long, short = "x" * (LARGE_BYTES + 1), "y" * 50_000
    body = json.dumps(
        {"model": "m", "prompt": [long, short], "suffix": short, "stop": [long], "n": 3}
    ).encode()
    call = in_steps(body, Endpoint.COMPLETIONS, WIDE)
    assert isinstance(call.request, CompletionRequest)
    assert (call.request.prompt, call.request.suffix, call.request.stop, call.choices) == ("", short, None, 6)
    assert msgspec.json.decode(call.fields["prompt"]) == [long, short]
    call = in_steps(LARGE["many messages"], limits=WIDE)
    assert isinstance(call.request, ChatRequest)
    assert (call.request.messages, len(call.messages), call.messages[7].content) == ([], 30_000, "hello")


@pytest.mark.parametrize(
    ("prompt", "choices"), [([7] * 200_000, 1), (["a"] * 100_000, 100_000), ([[1, 2]] * 50_000, 50_000)]
)
def test_each_prompt_of_a_long_list_has_its_choices(prompt: list[Any], choices: int) -> None:
    body = json.dumps({"model": "m", "prompt": prompt}).encode()
    for read in (in_steps, in_one_go):
        assert read(body, Endpoint.COMPLETIONS, WIDE).choices == choices


# ----------------------------------------------------------------------------------------------------- whose turn it is


class Told:
    """A clock on which every look takes a step's time, so each turn of the loop has room for one step."""

    now = 0.0

    def __call__(self) -> float:
        self.now += STEP_S
        return self.now


@pytest.mark.anyio
async def test_others_have_a_turn_after_each_step_and_readers_share_it() -> None:
    seen: list[str] = []

    def steps(name: str) -> Iterator[None]:
        for _ in range(3):
            seen.append(name)
            yield

    async def another() -> None:
        while sum(name != "-" for name in seen) < 6:
            seen.append("-")
            await asyncio.sleep(0)

    turn = asyncio.Lock()
    work = [read_in_turns(steps(name), turn, Told()) for name in "ab"]
    await asyncio.gather(*work, another())
    assert [name for name in seen if name != "-"] == ["a", "b"] * 3
    assert not {"aa", "ab", "ba", "bb"} & {first + second for first, second in pairwise(seen)}


# ------------------------------------------------------------------------------------------------------- the whole way


@pytest.mark.parametrize("kind", LARGE)
def test_the_engine_gets_every_byte(kind: str) -> None:
    body = LARGE[kind]
    with canned(whole(b'{"choices":[{"index":0,"finish_reason":"stop","text":"x"}]}')) as engine:
        tree = json.loads(config_to(engine.base_url, server={"max_json_containers": 10**6}))
        tree["rails"] = {"budget_ms": 60_000}  # the texts of thirty thousand messages are checked
        with run_gateway(json.dumps(tree)) as gateway:
            for _ in range(2):
                assert post(gateway, body).status == 200
        heard = [msgspec.json.decode(one.body, type=dict[str, msgspec.Raw]) for one in engine.heard]
        assert heard == [msgspec.json.decode(body, type=dict[str, msgspec.Raw])] * 2


def test_a_large_body_is_refused_with_the_words_for_a_small_one() -> None:
    with canned() as engine, run_gateway(config_to(engine.base_url)) as gateway:
        for body, words in {
            chat_of(*[USER % b""] * 100_000): "more than 100000 lists and objects",
            LARGE["an image"][:-1]: "not valid JSON",
            b'{"model":"m","prompt":"%b","n":0}' % (b"x" * M): "'n' must be 1 or more",
            b'{"model":"","prompt":"%b"}' % (b"x" * M): "'model' is empty",
        }.items():
            refused = post(gateway, body, COMPLETIONS)
            assert (refused.status, words in refused.error["message"]) == (400, True)
        assert engine.heard == []
