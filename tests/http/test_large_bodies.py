"""A body that is read in steps is accepted, refused and understood as one that is read in one go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from canned import Canned
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serving import Running, ask
from talking import CHAT

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.http.apis import openai
from tidegate.http.apis.large import LARGE_BYTES, read_in_turns, read_large
from tidegate.http.apis.outline import LONGEST_BYTES, MOST_FIELDS, Limits, Outline
from tidegate.types import ChatRequest, Endpoint, Exit, Message, Messages, joined

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


@settings(max_examples=400, deadline=None)
@given(bodies(), endpoints, narrow)
@example('{"model":"m","messages":[]}', Endpoint.CHAT, NARROW)
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


@settings(max_examples=600, deadline=None)
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
