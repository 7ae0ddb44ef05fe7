"""64 kB of the worst that came to mind, for each harness: what a quadratic loop or a slow path would show on."""

from __future__ import annotations

from harnesses import MAX_BYTES

_CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]'
_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
IN_PARTS = ", in parts"
WHOLE, PIECEMEAL = b"\x00", b"\x01"
"""The first byte of a harness that cuts: in one read, or in as many as it may be."""


def _fill(unit: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """`unit` as often as fits."""
    return before + unit * ((MAX_BYTES - len(before) - len(after)) // len(unit)) + after


def _numbered(unit: bytes, before: bytes, after: bytes) -> bytes:
    """As `_fill`, with a number in each."""
    count = (MAX_BYTES - len(before) - len(after)) // (len(unit) + 3)
    return before + b"".join(unit % number for number in range(count)) + after


BODIES = {
    "nested arrays": _fill(b"["),
    "nested objects": _fill(b'{"a":'),
    "nested in a field": _CHAT + b',"tools":[{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}]}",
    "nested just so deep": _CHAT + b',"tools":[{"x":' + b"[" * 960 + b"]" * 960 + b"}]}",
    "many unknown fields": _numbered(b',"%d":1', _CHAT, b"}"),
    "one field many times": _fill(b',"seed":1', _CHAT, b"}"),
    "many messages": _fill(b'{"role":""},', b'{"model":"m","messages":[', b'{"role":""}]}'),
    "many parts": _fill(b"{},", b'{"model":"m","messages":[{"role":"","content":[', b"{}]}]}"),
    "many parts, then a wrong one": _fill(
        b"{},", b'{"model":"m","messages":[{"role":"","content":[', b"1]}]}"
    ),
    "escapes in the model": _fill(rb"\u0041", b'{"messages":[{"role":""}],"model":"', b'"}'),
    "escapes in the text": _fill(rb"\n", b'{"model":"m","messages":[{"role":"","content":"', b'"}]}'),
    "surrogates": _fill(rb"\ud83c\udf0a", b'{"model":"m","messages":[{"role":"","content":"', b'"}]}'),
    "lone surrogates": _fill(rb"\ud83c", b'{"model":"m","messages":[{"role":"","content":"', b'"}]}'),
    "a long integer": _fill(b"9", _CHAT + b',"seed":', b"}"),
    "a long fraction": _fill(b"9", _CHAT + b',"temperature":0.', b"}"),
    "a long exponent": _fill(b"9", _CHAT + b',"temperature":1e', b"}"),
    "a long integer, made small": _fill(b"9", _CHAT + b',"temperature":', b"e-65000}"),
    "many long integers": _fill(b"9" * 4000 + b",", b'{"model":"m","prompt":[', b"1]}"),
    "empty arrays": _fill(b"[],", b'{"model":"m","prompt":[', b"[]]}"),
    "empty texts": _fill(b'"",', b'{"model":"m","input":[', b'""]}'),
    "white space": _fill(b" ", _CHAT, b"}"),
    "zeros": _fill(b"\x00"),
    "no UTF-8": _fill(b"\xff", b'{"model":"', b'"}'),
    "long characters": _fill("🌊".encode(), b'{"model":"m","messages":[{"role":"","content":"', b'"}]}'),
    "markers": _fill(b"[[scripted ", b'{"model":"m","messages":[{"role":"","content":"', b'"}]}'),
    "open quotes in a marker": _fill(rb"\"'", b'{"model":"m","prompt":"[[scripted ', b'"}'),
    "options in a marker": _fill(b"ttft=1 ", b'{"model":"m","prompt":"[[scripted ', b']]"}'),
    "backslashes in a marker": _fill(rb"\\", b'{"model":"m","prompt":"[[scripted text=\\"', b'"}'),
}

# What looks like the beginning of words that are sought, and errors in errors.
REFUSALS = {
    f"words: {words.decode().strip()}": _fill(words, b'{"error":{"message":"', b'"}}')
    for words in (b"model ", b"exceed ", b"context ", b"longer than ", b"prompt ", b"violate ", b"<title>")
} | {
    "errors in errors": _fill(b'{"error":{"message":', b"", b"1"),
    "lists of errors": _fill(b'[{"errors":', b"", b"1"),
    "mistakes": _fill(b'{"loc":["body"],"msg":"no"},', b'{"detail":[', b"{}]}"),
    "JSON in texts": _fill(rb"{\"error\":", b'{"error":"', b'"}'),
    "lone surrogates in words": _fill(rb"\ud83c", b'{"error":"', b'"}'),
}

STREAMS = {
    "carriage returns": _fill(b"\r"),
    "line feeds": _fill(b"\n"),
    "both": _fill(b"\r\n"),
    "both, the other way round": _fill(b"\n\r"),
    "comments": _fill(b":\n\n"),
    "comments, carriage returns": _fill(b":\r\r"),
    "empty data": _fill(b"data\n\n"),
    "data lines of one event": _fill(b"data\n", after=b"\n"),
    "lines that mean nothing": _fill(b"a\n", after=b"\n"),
    "small events": _fill(b"data: {}\n\n"),
    "small events, carriage returns": _fill(b"data:{}\r\r"),
    "small events, both": _fill(b"data:{}\r\n\r\n"),
    "named events": _fill(b"event:a\rdata:{}\r\r"),
    "choices": _fill(b"{},", b'data: {"choices":[', b"{}]}\n\n"),
    "an event each": _fill(b'data: {"choices":[{"index":0}]}\n\n'),
    "one long event": _fill(b"a", b'data: {"choices":[{"text":"', b'"}]}\n\n'),
    "one that never ends": _fill(b"a", b"data: "),
    "colons": _fill(b":"),
    "nested": _fill(b"[", b"data: "),
    "an error, nested just so deep": b'data: {"error":' + b"[" * 980 + b"]" * 980 + b"}\n\n",
}

RESPONSES = {
    "many headers": _fill(b"a:\r\n", _OK, b"\r\n"),
    "a long header": _fill(b"a", _OK + b"a:", b"\r\n\r\n"),
    "a long name": _fill(b"a", _OK, b":b\r\n\r\n"),
    "a long reason": _fill(b"a", b"HTTP/1.1 200 ", b"\r\n\r\n"),
    "small chunks": _fill(b"1\r\na\r\n", _OK + _CHUNKED, b"0\r\n\r\n"),
    "a chunk with a long extension": _fill(b"a", _OK + _CHUNKED + b"1;", b"\r\na\r\n0\r\n\r\n"),
    "trailers": _fill(b"a:b\r\n", _OK + _CHUNKED + b"0\r\n", b"\r\n"),
    "continues": _fill(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "many answers": _fill(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "line ends": _fill(b"\r\n"),
    "a body up to the end": _fill(b"a", _OK + b"\r\n"),
}

REQUESTS = {
    "one after the other": _fill(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "one after the other, short": _fill(b"GET / HTTP/1.0\r\n\r\n"),
    "upgrades": _fill(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "many headers": _fill(b"a:\r\n", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"\r\n"),
    "a long header": _fill(b"a", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\na:", b"\r\n\r\n"),
    "a long name": _fill(b"a", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b":\r\n\r\n"),
    "a long target": _fill(b"a", b"GET /", b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "percent signs": _fill(b"%ff", b"GET /v1/models/", b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "small chunks": _fill(b"1\r\n \r\n", _HEAD + _CHUNKED, b"0\r\n\r\n"),
    "trailers": _fill(b"a:b\r\n", _HEAD + _CHUNKED + b"0\r\n", b"\r\n"),
    "line ends": _fill(b"\r\n"),
    "a nested body": _HEAD + b"Content-Length: 60000\r\n\r\n" + b"[" * 60_000,
}


def slow_inputs() -> list[tuple[str, str, bytes]]:
    """Harness, name and input of each."""
    found = [
        (harness, name, data)
        for harness in ("chat", "completions", "embeddings", "answer")
        for name, data in BODIES.items()
    ]
    refusals = {**BODIES, **REFUSALS}
    found += [("refusal", name, b"\x00\x80" + b"9" * 5000 + b"\n" + data) for name, data in refusals.items()]
    cut = {"events": STREAMS, "response": RESPONSES, "edge": REQUESTS}
    for harness, inputs in cut.items():
        for name, data in inputs.items():
            found += [(harness, name, WHOLE + data), (harness, name + IN_PARTS, PIECEMEAL + data)]
    return found
