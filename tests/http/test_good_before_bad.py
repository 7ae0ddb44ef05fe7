"""What a stream held before its fault reaches the client, and what is missing from it is never passed over."""

from __future__ import annotations

import json
import socket

import pytest
from canned import Canned, streamed
from serving import Running
from talking import CHAT, COMPLETIONS, chat, data_of, post

GOOD = [b'{"choices":[{"index":0,"delta":{"content":"%b"}}]}' % word for word in (b"one", b" two", b" three")]
EVENTS = b"".join(b"data: %b\n\n" % data for data in GOOD)
BAD = {
    "an error": b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n',
    "an event named error": b'event: error\ndata: {"message":"out of memory"}\n\n',
    "no JSON": b"data: Internal Server Error\n\n",
    "half of a JSON text": b'data: {"choices":[{"index":0,"del\n\n',
    "no UTF-8": b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n',
    "another form": b'data: {"choices":"none"}\n\n',
    "a list": b"data: [1, 2]\n\n",
    "no end": b'data: {"choices":[{"index":0,"delta":{"content":"',
    "good ones after it": b"data: oops\n\n" + EVENTS,
    "the end after it": b'data: oops\n\ndata: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_good_events_that_arrive_in_one_read_with_a_bad_one_go_out_before_the_error(
    in_front: Running, sayer: Canned, bad: bytes
) -> None:
    sayer.answer = streamed(EVENTS + bad)
    answer = post(in_front, chat(stream=True))
    *passed, last = data_of(answer.body)
    assert answer.status == 200
    assert passed == GOOD
    assert json.loads(last)["error"]["type"] == "server_error"


@pytest.mark.parametrize("bad", [BAD["an error"], BAD["no JSON"], BAD["an event named error"]])
def test_a_bad_event_before_every_good_one_is_a_status(in_front: Running, sayer: Canned, bad: bytes) -> None:
    sayer.answer = streamed(bad + EVENTS)
    assert post(in_front, chat(stream=True)).status == 502


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNK = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(EVENTS), EVENTS)
BROKEN = {
    "a chunk without a size": HEAD + CHUNK + b"zz\r\n",
    "half a chunk": HEAD + CHUNK + b"ff\r\ndata: {",
    "no last chunk": HEAD + CHUNK,
    "shorter than its length": HEAD + b"content-length: 99999\r\n\r\n" + EVENTS,
    "an end without [DONE]": HEAD + b"connection: close\r\n\r\n" + EVENTS,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_good_events_go_out_before_the_connection_breaks(
    in_front: Running, sayer: Canned, answer: bytes
) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(answer)

    sayer.answer = say
    *passed, last = data_of(post(in_front, chat(stream=True)).body)
    assert passed == GOOD
    assert json.loads(last)["error"]["code"] == "engine_error"


def test_good_events_go_out_before_one_that_is_too_large(in_front: Running, sayer: Canned) -> None:
    sayer.answer = streamed(EVENTS + b"data: " + b"x" * 40 * 2**20)
    *passed, last = data_of(post(in_front, chat(stream=True)).body)
    assert passed == GOOD
    assert json.loads(last)["error"]["code"] == "engine_error"


# ------------------------------------------------------------------------------------------------------------- a cut batch


def choice(index: int, *, end: bool = True) -> bytes:
    finish = b'"stop"' if end else b"null"
    return b'data: {"choices":[{"index":%d,"text":"x","finish_reason":%b}]}\n\n' % (index, finish)


DONE = b"data: [DONE]\n\n"
TWO_TEXTS = '["a", "b"]'
BATCHES = {
    "the second prompt is missing": (TWO_TEXTS, 1, choice(0), False),
    "the first prompt is missing": (TWO_TEXTS, 1, choice(1), False),
    "the second prompt is cut": (TWO_TEXTS, 1, choice(0) + choice(1, end=False), False),
    "both are whole": (TWO_TEXTS, 1, choice(0) + choice(1), True),
    "the engine says that it is done": (TWO_TEXTS, 1, choice(0) + DONE, True),
    "one of three prompts is missing": ('["a", "b", "c"]', 1, choice(0) + choice(2), False),
    "a choice of a prompt is missing": (TWO_TEXTS, 2, choice(0) + choice(1) + choice(2), False),
    "all choices of all prompts": (TWO_TEXTS, 2, b"".join(map(choice, range(4))), True),
    "one prompt of tokens": ("[1, 2, 3]", 1, choice(0), True),
    "two prompts of tokens, one missing": ("[[1, 2], [3]]", 1, choice(0), False),
    "a list of one": ('["a"]', 1, choice(0), True),
    "a choice of one prompt is missing": ('"a"', 2, choice(0), False),
    "an empty list is the engine's to judge": ("[]", 1, choice(0), True),
}


@pytest.mark.parametrize(("prompt", "n", "events", "is_whole"), BATCHES.values(), ids=BATCHES.keys())
def test_a_cut_batch_does_not_look_whole(
    without_rails_in_front: Running, sayer: Canned, prompt: str, n: int, events: bytes, is_whole: bool
) -> None:
    """Some of the prompts are token ids, which rails refuse."""
    sayer.answer = streamed(events)
    body = b'{"model":"m","stream":true,"n":%d,"prompt":%b}' % (n, prompt.encode())
    *_, last = data_of(post(without_rails_in_front, body, COMPLETIONS).body)
    assert (last == b"[DONE]") == is_whole
    assert is_whole or json.loads(last)["error"]["code"] == "engine_error"


def test_a_chat_with_choices_that_never_began_is_not_whole(in_front: Running, sayer: Canned) -> None:
    sayer.answer = streamed(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    *_, last = data_of(post(in_front, chat(stream=True, n=2), CHAT).body)
    assert b"before its answer was complete" in last
