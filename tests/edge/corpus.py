"""Raw requests that no well-meaning client sends: what goes over the wire, and what may come back.

`statuses` are those of the first answer; an empty set stands for a connection that ends without a word, which is always
allowed beside them unless `must_answer`. `calls` is how many requests may reach an engine. Nothing may be answered twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
SMUGGLED = b'{"model":"smuggled","messages":[{"role":"user","content":"smuggled"}]}'
"""What an engine must never see: it stands where a body ends, for whoever reads the length differently."""
TYPE = b"content-type: application/json"
LENGTH = b"content-length: %d" % len(BODY)


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    statuses: frozenset[int] = frozenset({400})
    calls: int = 0
    answers: int = 1
    must_answer: bool = False


def post(*lines: bytes, target: bytes = b"/v1/chat/completions", host: bytes | None = b"host: g") -> bytes:
    """The head of a chat request with these header lines."""
    head = [b"POST %b HTTP/1.1" % target, *([host] if host else []), TYPE, *lines]
    return b"\r\n".join([*head, b"", b""])


def chunk(data: bytes, size: bytes | None = None) -> bytes:
    return b"%b\r\n%b\r\n" % (b"%x" % len(data) if size is None else size, data)


INNER = post(b"content-length: %d" % len(SMUGGLED), host=b"host: g") + SMUGGLED
"""A whole request, hidden where a body ends for one reader and goes on for the other."""
CHUNKED = b"transfer-encoding: chunked"
ENDED = chunk(BODY) + b"0\r\n\r\n"


def bad(name: str, data: bytes, *statuses: int, calls: int = 0, answers: int = 1) -> Case:
    return Case(name, data, frozenset(statuses or (400,)), calls, answers)


def told(name: str, data: bytes, *statuses: int) -> Case:
    """A case whose client has to be told."""
    return Case(name, data, frozenset(statuses), must_answer=True)


def lengths() -> Iterator[Case]:
    """How long is the body? Each of these has two answers, or none."""
    yield bad("CL and TE", post(LENGTH, CHUNKED) + b"0\r\n\r\n" + INNER)
    yield bad("TE and CL", post(CHUNKED, b"content-length: 5") + ENDED + INNER)
    yield bad("CL twice, the same", post(LENGTH, LENGTH) + BODY)
    yield bad("CL twice, different", post(LENGTH, b"content-length: 0") + BODY + INNER)
    yield bad("CL a list", post(b"content-length: 5, 5") + BODY)
    for value in (
        b"-5",
        b"+5",
        b"0x10",
        b"5.0",
        b"5 5",
        b"1e3",
        b"\xd9\xa1",
        b"9" * 30,
        b"18446744073709551616",
    ):
        yield bad(f"CL {value!r}", post(b"content-length: " + value) + BODY + INNER)
    yield bad("CL empty", post(b"content-length: ") + INNER)
    yield bad("CL with a space before the colon", post(b"content-length : 5") + BODY + INNER)
    yield bad("CL folded", post(b"content-length:\r\n 5") + BODY + INNER)
    yield bad("CL after an LF only", post(b"x: y\ncontent-length: 0") + BODY + INNER)
    yield bad("CL after a CR only", post(b"x: y\rcontent-length: 0") + BODY + INNER)
    yield bad("CL after a NUL", post(b"x: y\0content-length: 0") + BODY + INNER)
    for value in (
        b"gzip",
        b"identity",
        b"xchunked",
        b"chunked, identity",
        b"identity, chunked",
        b"gzip, chunked",
        b"chunked, chunked",
        b"\x0bchunked",
        b"chunked\x00",
        b'"chunked"',
        b"chunked;q=1",
        b"",
    ):
        yield bad(f"TE {value!r}", post(b"transfer-encoding: " + value) + ENDED + INNER)
    yield bad("TE twice", post(CHUNKED, CHUNKED) + ENDED + INNER)
    yield bad("TE twice, one identity", post(CHUNKED, b"transfer-encoding: identity") + ENDED + INNER)
    yield bad("TE with a space before the colon", post(b"transfer-encoding : chunked") + ENDED + INNER)
    yield bad("TE folded", post(b"transfer-encoding:\r\n chunked") + ENDED + INNER)
    yield bad("TE behind a tab", post(b"\ttransfer-encoding: chunked") + ENDED + INNER)
    yield bad("TE behind a folded line", post(b"x: y\r\n transfer-encoding: chunked") + ENDED + INNER)
    yield bad("TE in HTTP/1.0", post(CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0") + ENDED + INNER)
    yield bad("no length, and a body all the same", post() + BODY + INNER)


def chunks() -> Iterator[Case]:
    """Bodies in pieces that do not add up."""
    for size in (
        b"-1",
        b"+39",
        b"0x39",
        b"39 ",
        b" 39",
        b"g",
        b"",
        b"39_",
        b"f" * 17,
        b"1" + b"0" * 20,
        b"3\x009",
    ):
        yield bad(f"chunk size {size!r}", post(CHUNKED) + chunk(BODY, size) + b"0\r\n\r\n" + INNER)
    yield bad("chunk longer than its size", post(CHUNKED) + b"5\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER)
    yield bad("chunk shorter than its size", post(CHUNKED) + b"40\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER)
    yield bad("chunk ended by LF", post(CHUNKED) + b"39\r\n" + BODY + b"\n0\r\n\r\n" + INNER)
    yield bad("chunk size ended by LF", post(CHUNKED) + b"39\n" + BODY + b"\r\n0\r\n\r\n" + INNER)
    yield bad("chunk size ended by CR", post(CHUNKED) + b"39\r" + BODY + b"\r\n0\r\n\r\n" + INNER)
    yield bad("LF in a chunk extension", post(CHUNKED) + b"39;a=\nb\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER)
    yield bad("NUL in a chunk extension", post(CHUNKED) + b"39;\0\r\n" + BODY + b"\r\n0\r\n\r\n" + INNER)
    endless = post(CHUNKED) + b"39;" + b"a" * 400_000
    yield bad("a chunk extension without end", endless, 400, 408)
    many = b"".join(b"1;%b\r\n \r\n" % (b"x" * 2000) for _ in range(200))
    yield bad("many long chunk extensions", post(CHUNKED) + many, 400, 408)
    yield bad("a trailer without end", post(CHUNKED) + chunk(BODY) + b"0\r\nx: " + b"a" * 400_000, 400, 408)
    trailers = b"".join(b"x-%d: y\r\n" % number for number in range(40_000))
    yield bad("trailers without end", post(CHUNKED) + chunk(BODY) + b"0\r\n" + trailers, 400, 408, 431)
    yield bad("a trailer that is no header", post(CHUNKED) + chunk(BODY) + b"0\r\nx y\r\n\r\n" + INNER)


def lines() -> Iterator[Case]:
    """Heads that are not made of lines as they should be."""
    whole = post(LENGTH) + BODY
    yield bad("LF only", whole.replace(b"\r\n", b"\n"))
    yield bad("CR only", whole.replace(b"\r\n", b"\r"))
    yield bad("LF after the request line", whole.replace(b"\r\n", b"\n", 1))
    yield bad("LF at the end of the head", post(LENGTH)[:-2] + b"\n" + BODY)
    yield bad("folded header", post(LENGTH, b"x-folded: a\r\n b") + BODY)
    yield bad("space before a colon", post(LENGTH, b"x-a : b") + BODY)
    yield bad("space before the first header", whole.replace(b"\r\nhost", b"\r\n host"))
    yield bad("no colon", post(LENGTH, b"x-a") + BODY)
    yield bad("no name", post(LENGTH, b": b") + BODY)
    for byte in (0, 1, 8, 10, 11, 13, 27, 127):
        yield bad(f"byte {byte} in a value", post(LENGTH, b"x-a: b%cc" % byte) + BODY)
        yield bad(f"byte {byte} in a name", post(LENGTH, b"x%ca: b" % byte) + BODY)
        yield bad(
            f"byte {byte} in a target", post(LENGTH, target=b"/v1/chat%c/completions" % byte) + BODY, 400, 404
        )
    for name in (b"x a", b"x(a", b'x"a', b"x\xe4a", b"x@a", b"x/a", b"x[a]", b"{x}"):
        yield bad(f"name {name!r}", post(LENGTH, name + b": b") + BODY)


def starts() -> Iterator[Case]:
    """First lines of another protocol, another version, or none."""
    yield bad("HTTP/0.9", b"GET /healthz\r\n\r\n")
    yield bad("HTTP/0.9 by name", b"GET /healthz HTTP/0.9\r\nhost: g\r\n\r\n")
    yield bad("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    for version in (b"2.0", b"1.2", b"3.0", b"1", b"1.1.1", b"11", b"1.10", b"x.y", b"1,1", b"-1.1"):
        yield bad(f"HTTP/{version.decode()}", b"GET /healthz HTTP/%b\r\nhost: g\r\n\r\n" % version)
    yield bad("http/1.1", b"GET /healthz http/1.1\r\nhost: g\r\n\r\n")
    yield bad("no version", b"GET /healthz \r\nhost: g\r\n\r\n")
    yield bad("RTSP", b"OPTIONS /healthz RTSP/1.0\r\nhost: g\r\n\r\n", 400, 405)
    for method in (b"get", b"G\0ET", b"GE T", b"G(T", b"NONSENSE", b"", b"\xff", b"A" * 70_000):
        yield bad(
            f"method {method[:9]!r}", b"%b /healthz HTTP/1.1\r\nhost: g\r\n\r\n" % method, 400, 431, 501
        )
    for method in (b"TRACE", b"DELETE", b"PUT", b"PATCH", b"OPTIONS"):
        yield told(f"method {method.decode()}", b"%b /healthz HTTP/1.1\r\nhost: g\r\n\r\n" % method, 405)
    for method in (
        b"PROPFIND",
        b"PURGE",
        b"MKCOL",
        b"BREW",
        b"FOO",
        b"GETX",
        b"post",
        b"CONNECT",
        b"M-SEARCH",
    ):
        for path in (b"/healthz", b"/v1/chat/completions", b"/nothing"):
            line = b"%b %b HTTP/1.1" % (method, path)
            yield told(line.decode(), line + b"\r\nhost: g\r\n\r\n", 501)
    yield told("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n", 501)
    yield bad("SOURCE", b"SOURCE /healthz ICE/1.0\r\nhost: g\r\n\r\n", 400, 501)
    yield bad("a TLS greeting", bytes.fromhex("16030100c8010000c40303") + bytes(200))
    yield bad("SSH", b"SSH-2.0-OpenSSH_9.6\r\n")
    yield bad("SMTP", b"HELO example.com\r\nMAIL FROM:<a@b>\r\n")
    yield bad("PROXY protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /healthz HTTP/1.1\r\nhost: g\r\n\r\n")
    yield bad("noise", bytes(range(256)) * 40)
    yield bad("NULs", bytes(5000))
    yield bad("an answer instead of a request", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    yield bad("nothing but line ends", b"\r\n" * 50_000, 400, 431)


def sizes() -> Iterator[Case]:
    """Too much of everything."""
    yield told("a header of 1 MB", post(LENGTH, b"x: " + b"a" * 2**20) + BODY, 431)
    yield told("a header name of 1 MB", post(LENGTH, b"a" * 2**20 + b": x") + BODY, 431)
    yield told("a header of 80 kB", post(LENGTH, b"x: " + b"a" * 80_000) + BODY, 431)
    yield told("20,000 headers", post(LENGTH, *(b"x-%d: y" % n for n in range(20_000))) + BODY, 431)
    yield told("200 headers", post(LENGTH, *(b"x-%d: y" % n for n in range(200))) + BODY, 431)
    yield told("20,000 empty headers", post(LENGTH, *(b"a:" for n in range(20_000))) + BODY, 431)
    yield told("a target of 1 MB", post(LENGTH, target=b"/" + b"a" * 2**20) + BODY, 431)
    yield told("a query of 80 kB", post(LENGTH, target=b"/v1/models?" + b"a" * 80_000) + BODY, 431)
    yield told("a body over the limit", post(b"content-length: 99999999999") + BODY, 413)
    yield told("60 MB", post(b"content-length: 60000000") + b" " * 60_000_000, 413)
    yield told("60 MB in chunks", post(CHUNKED) + chunk(b" " * 2**20) * 60 + b"0\r\n\r\n", 413)
    requests = b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n" * 3000
    yield Case("3,000 requests at once", requests, frozenset({200, 400}), answers=3000)


def bodies() -> Iterator[Case]:
    """Whole requests with bodies that are refused before anything is built from them."""

    def body(content: bytes) -> bytes:
        return post(b"content-length: %d" % len(content)) + content

    for coding in (b"gzip", b"deflate", b"br", b"zstd", b"identity, gzip", b"x", b""):
        yield told(
            f"content-encoding {coding.decode()}", post(LENGTH, b"content-encoding: " + coding) + BODY, 415
        )
    twice = (b"content-encoding: gzip", b"content-encoding: identity")
    yield bad("content-encoding twice", post(LENGTH, *twice) + BODY)
    yield bad("content-type twice", post(LENGTH, b"content-type: text/plain") + BODY)
    deep = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"metadata":%b1%b}'
    yield told("65 levels", body(deep % (b"[" * 64, b"]" * 64)), 400)
    yield told("65 levels of objects", body(deep % (b'{"a":' * 64, b"}" * 64)), 400)
    yield told("a million levels", body(deep % (b"[" * 10**6, b"]" * 10**6)), 400)
    yield told("a million levels, open", body(b"[" * 10**6), 400)
    hidden = b'{"model":"m","user":"%b","metadata":%b1%b}' % (rb"]\"]\\" * 99, b"[" * 99, b"]" * 99)
    yield told("99 levels, brackets in strings", body(hidden), 400)
    yield told("a million lists", body(deep % (b"[" + b"[]," * 10**6, b"]")), 400)


def waits() -> Iterator[Case]:
    """What never goes on. Nobody is waited for longer than 10 s."""
    yield Case("nothing at all", b"", frozenset())
    yield bad("a first byte", b"P", 400, 408)
    yield bad("half a request line", b"POST /v1/chat", 400, 408)
    yield bad("half a head", post(LENGTH)[:-4], 400, 408)
    yield told("no body", post(LENGTH), 408)
    yield told("half a body", post(LENGTH) + BODY[:9], 408)
    yield told("half a chunk", post(CHUNKED) + b"39\r\n" + BODY[:9], 408)
    yield told("no last chunk", post(CHUNKED) + chunk(BODY), 408)
    yield told("no end of the trailers", post(CHUNKED) + chunk(BODY) + b"0\r\n", 408)
    yield Case(
        "100-continue, and no body",
        post(LENGTH, b"expect: 100-continue"),
        frozenset({100}),
        answers=2,
        must_answer=True,
    )


def ahead() -> Iterator[Case]:
    """What comes behind a whole request."""
    whole = post(LENGTH) + BODY
    once = {"calls": 1, "answers": 1}
    yield bad("garbage behind a request", whole + b"\xff\xfe nonsense\r\n\r\n", 200, 400, **once)
    yield bad("half a request behind one", whole + b"POST /v1/cha", 200, **once)
    yield bad("a request behind a last one", post(LENGTH, b"connection: close") + BODY + INNER, 200, **once)
    old = whole.replace(b"HTTP/1.1", b"HTTP/1.0")
    yield bad("a request behind one in HTTP/1.0", old + INNER, 200, **once)
    yield bad(
        "a request behind a HEAD with a body",
        b"HEAD /healthz HTTP/1.1\r\nhost: g\r\n" + b"content-length: %d\r\n\r\n" % len(INNER) + INNER,
        200,
    )
    yield bad(
        "a request as the body of a GET",
        b"GET /healthz HTTP/1.1\r\nhost: g\r\n" + b"content-length: %d\r\n\r\n" % len(INNER) + INNER,
        200,
    )
    yield bad("a request behind a refused one", post(LENGTH, b"x y: z") + BODY + INNER)
    upgrade = (b"connection: upgrade", b"upgrade: websocket")
    yield bad(
        "a request behind an upgrade with a body",
        post(LENGTH, *upgrade) + BODY + b"\xff" + INNER,
        200,
        400,
        **once,
    )
    yield bad("an upgrade with two lengths", post(LENGTH, CHUNKED, *upgrade) + ENDED + INNER)


def hosts() -> Iterator[Case]:
    """Who is asked, in the header and in the target."""
    yield bad("no Host", post(LENGTH, host=None) + BODY)
    yield bad("two Hosts", post(LENGTH, b"host: h") + BODY)
    yield bad("two Hosts, the same", post(LENGTH, b"host: g") + BODY)
    yield bad("two Authorizations", post(LENGTH, b"authorization: a", b"Authorization: b") + BODY)
    for host in (
        b"",
        b" ",
        b"x/health?y=",
        b"x/healthz",
        b"g#",
        b"g@h",
        b"a b",
        b"a,b",
        b"g:x",
        b"g:80:80",
        b"g:999999",
        b"[::1",
        b"[::1]x",
        b"[g]",
        b"%67",
        b"g%00",
        b"\xc3\xa4",
        b"-g",
        b".",
        b"..",
        b"*",
        b"g\\h",
        b"a" * 300,
        b"<script>",
        b"${jndi:ldap://x}",
        b"http://g",
    ):
        yield bad(f"Host {host[:20]!r}", post(LENGTH, host=b"host: " + host) + BODY)
    for host in (b"evil.example", b"127.0.0.1.evil.example", b"localhost.evil.example:80", b"evil.example."):
        yield told(f"Host {host.decode()}", post(LENGTH, host=b"host: " + host) + BODY, 421)
    for target in (
        b"http://evil.example/v1/chat/completions",
        b"HTTPS://evil.example:80/v1/chat/completions",
    ):
        yield told(f"target {target.decode()}", post(LENGTH, target=target) + BODY, 421)
    for target in (
        b"http://x/health?y=/v1/models",
        b"http://",
        b"http:///v1/models",
        b"http://a@g/v1/chat/completions",
        b"ftp://g/v1/models",
        b"*",
        b"g:80",
        b"g",
        b"?",
        b"file://localhost/etc/passwd",
        b"//",
        b"\\\\g\\x",
    ):
        yield bad(f"target {target.decode()}", post(LENGTH, target=target) + BODY, 400, 404, 405)


CASES = [
    case for kind in (lengths, chunks, lines, starts, sizes, bodies, waits, ahead, hosts) for case in kind()
]
