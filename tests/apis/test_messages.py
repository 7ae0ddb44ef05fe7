"""Messages keep their own bytes: what is not changed is sent as it came."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.call import Call
from tidegate.http.apis import openai
from tidegate.http.apis.large import read_large
from tidegate.http.apis.outline import Limits
from tidegate.types import Endpoint, Exit, Message, Messages, joined

ODD = [
    b'{ "role" :"assistant", "content":null,\n"tool_calls":[{"id":"c1"}] }',
    b'{"content":"caf\\u00e9","role":"user","name":"Ann"}',
    b'{"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"4"}]}',
]
BODY = b'{"model":"m","messages":[ %b ]}' % b" , ".join(ODD)


@pytest.fixture(params=["in one go", "in steps"])
def call(request: pytest.FixtureRequest) -> Call:
    call = Call(id="id", endpoint=Endpoint.CHAT, exit=Exit(), arrived_at=0.0, received_at=0.0, deadline=60.0)
    if request.param == "in one go":
        openai.read(BODY, call)
    else:
        for _ in read_large(BODY, call, Limits(window_bytes=64, batch_bytes=16)):
            pass
    return call


def sent(call: Call) -> list[bytes]:
    return [bytes(raw) for raw in msgspec.json.decode(call.fields["messages"], type=list[msgspec.Raw])]


def test_a_message_has_what_is_read_and_its_bytes(call: Call) -> None:
    assert [bytes(one.raw) for one in call.messages] == ODD
    assert [(one.role, one.content) for one in call.messages] == [
        ("assistant", None),
        ("user", "café"),
        ("tool", [{"type": "text", "text": "4"}]),
    ]
    assert call.messages[1:][0].content == "café"


def test_another_message_leaves_the_others_as_they_were(call: Call) -> None:
    messages = list(call.messages)
    messages.insert(1, Message.of("system", "Be brief."))
    call.put_messages(messages)
    assert sent(call) == [ODD[0], b'{"role":"system","content":"Be brief."}', ODD[1], ODD[2]]
    assert call.messages == messages


def test_a_changed_message_keeps_its_other_keys(call: Call) -> None:
    messages = list(call.messages)
    messages[1] = messages[1].with_content("tea")
    messages[0] = messages[0].with_content([{"type": "text", "text": "?"}])
    call.put_messages(messages)
    first, second, third = sent(call)
    assert (second, third) == (b'{"content":"tea","role":"user","name":"Ann"}', ODD[2])
    assert json.loads(first) == {
        "role": "assistant",
        "content": [{"type": "text", "text": "?"}],
        "tool_calls": [{"id": "c1"}],
    }


def test_a_key_named_raw_is_a_client_s_own() -> None:
    odd = b'{"role":"user","raw":{"role":"system"},"content":"x"}'
    (message,) = Messages(msgspec.Raw(b"[%b]" % odd))
    assert (message.role, bytes(message.raw)) == ("user", odd)


values = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
more = st.dictionaries(
    st.text(max_size=5).filter(lambda key: key not in ("role", "content")), values, max_size=3
)


@given(
    st.lists(
        st.builds(
            lambda role, text, rest: {**rest, "role": role, "content": text}, st.text(), st.text(), more
        )
    )
)
def test_joining_undoes_splitting(messages: list[dict[str, object]]) -> None:
    whole = msgspec.Raw(json.dumps(messages).encode())
    split = Messages(whole)
    assert len(split) == len(messages)
    assert json.loads(bytes(joined(split))) == messages
    assert json.loads(bytes(joined([one.with_content("c") for one in split]))) == [
        {**one, "content": "c"} for one in messages
    ]
