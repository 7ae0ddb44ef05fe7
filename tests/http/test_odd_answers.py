"""A good answer survives what only the books read: the bytes pass, and oddities are counted. Half an answer stays one."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import openai
import pytest
from canned import Canned, canned, streamed, whole
from openai import OpenAI
from serving import Running, ask, config_to, run_gateway
from talking import CHAT, chat, data_of, post

BOM = b"\xef\xbb\xbf"
PLAIN = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
ENDING = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def event(**value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def choice(**value: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": "Hi"}} | value])


def odd_answers(gateway: Running) -> dict[str, float]:
    """What was counted so far, by kind."""
    page = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    rows = [line for line in page.splitlines() if line.startswith("tidegate_odd_answers_total{")]
    assert all('engine="upstream"' in row for row in rows)
    return {row.partition('kind="')[2].partition('"')[0]: float(row.rpartition(" ")[2]) for row in rows}


def counted(gateway: Running, work: Callable[[], Any]) -> set[str]:
    """The kinds of oddity that some work has added; each at most once a call."""
    before = odd_answers(gateway)
    work()
    after = odd_answers(gateway)
    new = {kind: after[kind] - before.get(kind, 0) for kind in after if after[kind] != before.get(kind, 0)}
    assert set(new.values()) <= {1.0}
    return set(new)


# The events as the engine sends them, what of them reaches the client, and what is counted.
STREAMS: dict[str, tuple[bytes, bytes, set[str]]] = {
    "an empty event": (b"data:\n\n" + PLAIN + b"data: \n\n" + ENDING + DONE, PLAIN + ENDING, {"empty_event"}),
    "a ping of JSON": (
        PLAIN + b'event: ping\ndata: {"type":"ping"}\n\n' + ENDING + DONE,
        PLAIN + b'event: ping\ndata: {"type":"ping"}\n\n' + ENDING,
        {"ping"},
    ),
    "a ping of words": (PLAIN + b"event: ping\ndata: still here\n\n" + ENDING + DONE, PLAIN + ENDING, {"ping"}),
    "a heartbeat": (b"event: heartbeat\ndata: 1\n\n" + PLAIN + ENDING + DONE, PLAIN + ENDING, {"ping"}),
    "[DONE] with spaces": (PLAIN + ENDING + b"data:   [DONE]  \n\n", PLAIN + ENDING, {"done"}),
    "[DONE] with a tab": (PLAIN + ENDING + b"data:\t[DONE]\n\n", PLAIN + ENDING, {"done"}),
    "[DONE] without a line end": (PLAIN + ENDING + b"data: [DONE]", PLAIN + ENDING, {"last_line_end"}),
    "[DONE] without a blank line": (PLAIN + ENDING + b"data: [DONE]\n", PLAIN + ENDING, {"last_line_end"}),
    "[DONE] with spaces, without a line end": (
        PLAIN + ENDING + b"data: [DONE] ",
        PLAIN + ENDING,
        {"done", "last_line_end"},
    ),
    "the last event without a line end": (PLAIN + ENDING.rstrip(), PLAIN + ENDING, {"last_line_end"}),
    "usage is a list": (PLAIN + event(choices=[], usage=[]) + ENDING + DONE, b"", {"usage"}),
    "usage is text": (PLAIN + event(choices=[], usage="none") + ENDING + DONE, b"", {"usage"}),
    # What can be read of the token counts is taken out, because this client does not ask for them.
    "usage of texts": (
        PLAIN + event(choices=[], usage={"prompt_tokens": "7"}) + ENDING + DONE,
        PLAIN + ENDING,
        set(),
    ),
    "usage of objects": (
        PLAIN + event(choices=[], usage={"prompt_tokens": {}}) + ENDING + DONE,
        PLAIN + ENDING,
        {"usage"},
    ),
    "usage with odd details": (
        PLAIN + event(choices=[], usage={"prompt_tokens": 1, "prompt_tokens_details": 5}) + ENDING + DONE,
        PLAIN + ENDING,
        {"usage"},
    ),
    "index is text": (choice(index="0") + ENDING + DONE, b"", {"index"}),
    "index is null": (choice(index=None) + choice(index=None, finish_reason="stop") + DONE, b"", {"index"}),
    "index is a list": (choice(index=[]) + ENDING + DONE, b"", {"index"}),
    "delta is text": (choice(delta="Hi") + ENDING + DONE, b"", {"delta"}),
    "delta is a list": (PLAIN + choice(delta=[]) + ENDING + DONE, b"", {"delta"}),
    "delta is false": (PLAIN + choice(delta=False) + ENDING + DONE, b"", {"delta"}),
    "finish_reason is false": (choice(finish_reason=False) + ENDING + DONE, b"", {"finish_reason"}),
    "finish_reason is 0": (choice(finish_reason=0) + ENDING + DONE, b"", {"finish_reason"}),
    "finish_reason is a list": (choice(finish_reason=[]) + ENDING + DONE, b"", {"finish_reason"}),
    "error is empty": (event(choices=[], error={}) + PLAIN + ENDING + DONE, b"", {"error"}),
    "error is no text": (event(choices=[], error="") + PLAIN + ENDING + DONE, b"", {"error"}),
    "error is false": (event(choices=[], error=False) + PLAIN + ENDING + DONE, b"", {"error"}),
    "error without a message": (
        event(choices=[], error={"message": None, "code": None}) + PLAIN + ENDING + DONE,
        b"",
        {"error"},
    ),
    "halves of an emoji": (
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83c"}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"content":"\\udf0a"}}]}\n\n' + ENDING + DONE,
        b"",
        {"surrogates"},
    ),
    "a mark before the first event": (BOM + PLAIN + ENDING + DONE, PLAIN + ENDING, set()),
    "a mark after a comment": (b": hi\n\n" + BOM + PLAIN + ENDING + DONE, PLAIN + ENDING, set()),
    "a mark after a comment's line": (b": hi\n" + BOM + PLAIN + ENDING + DONE, PLAIN + ENDING, set()),
    "a mark after two comments and CRLF": (
        b": hi\r\n\r\n: ho\r\n\r\n" + BOM + PLAIN + ENDING + DONE,
        PLAIN + ENDING,
        set(),
    ),
    "several oddities": (
        choice(index="0", finish_reason=False) + choice(index="0", finish_reason=False) + ENDING + DONE,
        b"",
        {"index", "finish_reason"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", [1 << 20, 7, 1], ids=["at once", "in sevens", "byte by byte"])
@pytest.mark.parametrize(("sent", "passed", "kinds"), STREAMS.values(), ids=STREAMS.keys())
def test_an_odd_stream_passes(
    in_front: Running, sayer: Canned, sent: bytes, passed: bytes, kinds: set[str], step: int
) -> None:
    """`passed` empty: everything up to `[DONE]`."""
    chunks = [sent[at : at + step] for at in range(0, len(sent), step)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head, _, _ = streamed(b"").partition(b"\r\n\r\n")
    sayer.answer = head + b"\r\n\r\n" + framed + b"0\r\n\r\n"

    def call() -> None:
        answer = post(in_front, chat(stream=True))
        assert answer.status == 200, answer.body
        *_, done = data_of(answer.body)
        assert done == b"[DONE]"
        events, _, _ = answer.body.rpartition(b": server-timing: ")
        assert events == (passed or sent.removesuffix(DONE))

    assert counted(in_front, call) == kinds


def sdk(gateway: Running) -> OpenAI:
    return OpenAI(base_url=gateway.base_url, api_key="k", max_retries=0, timeout=20)


@pytest.mark.parametrize(
    "name",
    [
        "an empty event",
        "a ping of words",
        "a mark after a comment",
        "finish_reason is false",
        "[DONE] with spaces",
    ],
)
def test_the_official_client_reads_what_it_could_not_read_straight(
    in_front: Running, sayer: Canned, name: str
) -> None:
    sayer.answer = streamed(STREAMS[name][0])
    words: Any = [{"role": "user", "content": "x"}]
    with sdk(in_front) as client:
        events = list(client.chat.completions.create(model="m", messages=words, stream=True))
    assert "".join(one.choices[0].delta.content or "" for one in events if one.choices) == "Hi"


# --------------------------------------------------------------------------------------------------- what stays an error

INCOMPLETE = {
    "finish_reason false to the end": choice(finish_reason=False) + DONE,
    "finish_reason true": choice(finish_reason=True) + DONE,
    "a choice that never ends": choice(index="1") + ENDING + DONE,
    "cut inside an event": PLAIN + ENDING[:30],
    "cut after a name": PLAIN + b"event: ping\ndata: {",
    "nothing": b"",
    "pings alone": b"event: ping\ndata: 1\n\n" + DONE,
    "[DONE] alone": DONE,
    "no text": PLAIN.replace(b"Hi", b"\xff") + ENDING + DONE,
    "choices are text": event(choices="none") + ENDING + DONE,
    "a choice is a number": event(choices=[1]) + ENDING + DONE,
    "a list": b"data: []\n\n" + ENDING + DONE,
}


@pytest.mark.parametrize("sent", INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_what_makes_an_answer_incomplete_stays_an_error(
    in_front: Running, sayer: Canned, sent: bytes
) -> None:
    sayer.answer = streamed(sent)
    answer = post(in_front, chat(stream=True))
    last = answer.body if answer.status != 200 else data_of(answer.body)[-1]
    assert json.loads(last)["error"]["code"] == "engine_error"


# ----------------------------------------------------------------------------------------------------------- whole answers

ANSWER: dict[str, Any] = {
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}
WHOLE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "usage is a list": ({"usage": [1]}, {"usage"}),
    "usage is true": ({"usage": True}, {"usage"}),
    "usage of texts": ({"usage": {"prompt_tokens": "3", "completion_tokens": "x"}}, {"usage"}),
    "error is empty": ({"error": {}}, {"error"}),
    "error is no text": ({"error": ""}, {"error"}),
    "error is 0": ({"error": 0}, {"error"}),
    "index is text": ({"choices": [{"index": "0", "message": {"content": "Hi"}}]}, {"index"}),
    "finish_reason is false": ({"choices": [{"message": {"content": "Hi"}, "finish_reason": False}]}, {"finish_reason"}),
    "delta beside a message": ({"choices": [{"message": {"content": "Hi"}, "delta": "x"}]}, {"delta"}),
}  # fmt: skip


@pytest.mark.parametrize("length", [1, 100_000], ids=["short", "long"])
@pytest.mark.parametrize(("more", "kinds"), WHOLE.values(), ids=WHOLE.keys())
def test_an_odd_whole_answer_passes(
    in_front: Running, sayer: Canned, more: dict[str, Any], kinds: set[str], length: int
) -> None:
    body = json.dumps(ANSWER | more | {"system_fingerprint": "x" * length}).encode()
    sayer.answer = whole(body)

    def call() -> None:
        answer = post(in_front, chat())
        assert (answer.status, answer.body) == (200, body)

    assert counted(in_front, call) == kinds


def test_usage_that_can_be_read_is_in_the_books(in_front: Running, sayer: Canned) -> None:
    name = 'tidegate_tokens_total{endpoint="chat/completions",engine="upstream",kind="prompt",model="*"}'

    def prompt_tokens() -> float:
        page = ask(f"{in_front.url}/metrics", method="GET").body.decode()
        return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))

    before = prompt_tokens()
    odd = ANSWER | {"choices": [{"index": "0"}], "usage": {"prompt_tokens": "1234", "completion_tokens": {}}}
    sayer.answer = whole(json.dumps(odd).encode())
    assert post(in_front, chat()).status == 200
    assert prompt_tokens() - before == 1234


@pytest.mark.parametrize("status", [b"201 Created", b"202 Accepted", b"203 Other"])
def test_a_status_that_means_200(in_front: Running, sayer: Canned, status: bytes) -> None:
    body = json.dumps(ANSWER).encode()
    sayer.answer = whole(body, status=status)

    def call() -> None:
        answer = post(in_front, chat())
        assert (answer.status, answer.body) == (200, body)

    assert counted(in_front, call) == {"status"}
    sayer.answer = streamed(PLAIN + ENDING + DONE).replace(b"200 OK", status)
    assert data_of(post(in_front, chat(stream=True)).body)[-1] == b"[DONE]"


@pytest.mark.parametrize("status", [b"204 No Content", b"206 Partial", b"304 Not Modified"])
def test_a_status_without_an_answer_is_none(in_front: Running, sayer: Canned, status: bytes) -> None:
    sayer.answer = b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status
    assert post(in_front, chat()).status == 502


# ------------------------------------------------------------------------------------------------------------- compression


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(data) + machine.flush()


def two_members(data: bytes) -> bytes:
    return gzip.compress(data[:10]) + gzip.compress(data[10:])


PACKED: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "GZIP": (b"GZIP", gzip.compress),
    "x-gzip": (b"x-gzip", gzip.compress),
    "two members": (b"gzip", two_members),
    "deflate": (b"deflate", zlib.compress),
    "raw deflate": (b"deflate", raw_deflate),
    "identity": (b"identity", bytes),
}


@pytest.mark.parametrize(("encoding", "pack"), PACKED.values(), ids=PACKED.keys())
def test_an_answer_that_was_compressed_all_the_same_is_read(
    in_front: Running, sayer: Canned, encoding: bytes, pack: Callable[[bytes], bytes]
) -> None:
    body = json.dumps(ANSWER | {"system_fingerprint": "x" * 200_000}).encode()
    sayer.answer = whole(pack(body), b"content-encoding: " + encoding)
    answer = post(in_front, chat())
    assert (answer.status, answer.body) == (200, body)
    assert "content-encoding" not in answer.headers
    sayer.answer = streamed(pack(PLAIN + ENDING + DONE), b"content-encoding: " + encoding)
    assert data_of(post(in_front, chat(stream=True)).body)[-1] == b"[DONE]"
    sayer.answer = whole(
        pack(b'{"error":{"message":"no"}}'), b"content-encoding: " + encoding, status=b"400 No"
    )
    assert post(in_front, chat()).error["message"] == "no"


def test_a_stream_that_was_compressed_arrives_as_it_is_said(sayer: Canned, in_front: Running) -> None:
    machine = zlib.compressobj(wbits=31)
    parts = [machine.compress(part) + machine.flush(zlib.Z_SYNC_FLUSH) for part in (PLAIN, ENDING, DONE)]
    sayer.answer = streamed(b"".join(parts), b"content-encoding: gzip")  # no last block: [DONE] has come
    assert data_of(post(in_front, chat(stream=True)).body)[-1] == b"[DONE]"
    sayer.answer = streamed(parts[0], b"content-encoding: gzip")
    assert b"broke off" in post(in_front, chat(stream=True)).body


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, br"])
def test_an_encoding_that_cannot_be_read_is_named(in_front: Running, sayer: Canned, encoding: bytes) -> None:
    sayer.answer = whole(b"\x8b\x02", b"content-encoding: " + encoding)
    answer = post(in_front, chat())
    assert answer.status == 502
    assert encoding.decode() in answer.error["message"]


def test_a_few_bytes_that_stand_for_many_stay_within_the_bound() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 60_000
    with (
        canned(whole(bomb, b"content-encoding: gzip")) as engine,
        run_gateway(config_to(engine.base_url, max_response_bytes=1_000_000)) as gateway,
    ):
        answer = post(gateway, chat())
        assert (answer.status, answer.error["message"]) == (
            502,
            "the engine's answer is larger than 1000000 bytes",
        )
        engine.answer = streamed(bomb, b"content-encoding: gzip")
        assert b"longer than 1000000 bytes" in post(gateway, chat(stream=True)).body


# --------------------------------------------------------------------------------------------------------- sizes, settings


def test_an_event_is_as_large_as_the_largest_whole_answer() -> None:
    image = PLAIN.replace(b"Hi", b"A" * (5 * 2**20))
    with canned(streamed(image + ENDING + DONE)) as engine:
        with run_gateway(config_to(engine.base_url)) as gateway:
            answer = post(gateway, chat(stream=True))
            assert answer.body.startswith(image + ENDING)
        with run_gateway(config_to(engine.base_url, max_response_bytes=1_000_000)) as gateway:
            assert b"longer than 1000000 bytes" in post(gateway, chat(stream=True)).body


SILENT = {
    "[DONE] says that it is whole": (PLAIN + DONE, True),
    "finish_reason is no harm": (PLAIN + ENDING + DONE, True),
    "no [DONE]": (PLAIN, False),
    "finish_reason without [DONE]": (PLAIN + ENDING, False),
    "[DONE] of nothing": (DONE, False),
    "cut": (PLAIN + b"data: [DO", False),
}


@pytest.mark.parametrize(("sent", "is_whole"), SILENT.values(), ids=SILENT.keys())
def test_an_engine_that_never_says_why_it_ended(sent: bytes, is_whole: bool) -> None:
    with (
        canned(streamed(sent)) as engine,
        run_gateway(config_to(engine.base_url, sends_finish_reason=False)) as gateway,
    ):
        answer = post(gateway, chat(stream=True))
    last = data_of(answer.body)[-1] if answer.status == 200 else answer.body
    assert (last == b"[DONE]") == is_whole


def test_without_that_setting_it_is_incomplete(in_front: Running, sayer: Canned) -> None:
    sayer.answer = streamed(PLAIN + DONE)
    words: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.APIError, match="before its answer was complete"):
        list(sdk(in_front).chat.completions.create(model="m", messages=words, stream=True))


def test_a_body_without_choices_is_still_no_answer(in_front: Running, sayer: Canned) -> None:
    sayer.answer = whole(b'{"usage":[],"x":1}')
    assert ask(f"{in_front.base_url}/{CHAT}", chat()).status == 502
