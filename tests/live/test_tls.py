"""HTTPS by certificate files, through the official SDK, and clients that never finish a handshake."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import uvloop
from openai import OpenAI
from serving import PATIENCE_S, Process, config_to, eventually, run_gateway, serve
from starlette.types import Receive, Scope, Send

from tidegate.config import ServerConfig, TlsConfig, parse_text
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.errors import ConfigError
from tidegate.http.edge.server import EdgeServer, bind

TLS = Path(__file__).parent.parent / "egress" / "tls"


FILES = {"certificate_path": str(TLS / "server.pem"), "key_path": str(TLS / "server.pem")}
MAX_CONNECTIONS = 4
STANDING_ROOM = 64


def connections(process: Process) -> int:
    """The open connections that clients made to it: the sockets it holds whose own port is the one it listens on."""
    held: set[str] = set()
    for file in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            held.add(str(file.readlink()))
    port, listening = f":{urlsplit(process.url).port:04X}", "0A"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] != listening and f"socket:[{row[9]}]" in held for row in rows)


@contextlib.contextmanager
def secure(url: str, *, bytes_of_hello: int | None = None) -> Iterator[socket.socket]:
    """A connection with its handshake done; or with so many bytes of it sent and nothing more."""
    parts = urlsplit(url)
    trust = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE_S) as plain:
        if bytes_of_hello is None:
            with trust.wrap_socket(plain, server_hostname="localhost") as wrapped:
                yield wrapped
            return
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        plain.sendall(outgoing.read()[:bytes_of_hello])
        yield plain


def get(url: str, path: str = "/healthz") -> bytes:
    """The answer of a request that asks to close afterwards."""
    with secure(url) as client:
        client.sendall(b"GET %b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % path.encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def is_open(client: socket.socket) -> bool:
    """Whether the server has said nothing and not closed."""
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    return False


def ended(client: socket.socket) -> bool:
    """True once the server has closed; raises TimeoutError where it does not."""
    client.settimeout(PATIENCE_S)
    try:
        while client.recv(65536):
            pass  # the server's part of the handshake
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("bytes_of_hello", [0, 1, 100, 10_000])
def test_who_never_finishes_the_handshake_counts_and_is_closed(bytes_of_hello: int) -> None:
    settings = {"tls": FILES, "max_connections": MAX_CONNECTIONS, "first_byte_timeout_ms": 1000}
    patient = {"tls": FILES, "first_byte_timeout_ms": 600_000}
    with (
        serve(config_to("http://127.0.0.1:1/v1", server=settings)) as process,
        run_gateway(config_to("http://127.0.0.1:1/v1", server=patient)) as other,
        secure(other.url, bytes_of_hello=0) as elsewhere,
        contextlib.ExitStack() as opened,
    ):
        silent = [
            opened.enter_context(secure(process.url, bytes_of_hello=bytes_of_hello)) for _ in range(200)
        ]
        assert get(process.url).startswith(b"HTTP/1.1 200"), "whoever speaks is served"
        assert connections(process) <= MAX_CONNECTIONS + STANDING_ROOM
        assert all(map(ended, silent))
        assert is_open(elsewhere), "it is the setting that ends them"
        eventually(lambda: connections(process) == 0, "all of them are gone")
        assert get(process.url).startswith(b"HTTP/1.1 200")
        assert "Traceback" not in process.log()


def test_a_silent_connection_with_its_handshake_done_counts_too() -> None:
    settings = {"tls": FILES, "max_connections": MAX_CONNECTIONS, "first_byte_timeout_ms": 60_000}
    with (
        serve(config_to("http://127.0.0.1:1/v1", server=settings)) as process,
        contextlib.ExitStack() as opened,
    ):
        for _ in range(100):
            opened.enter_context(secure(process.url))
        assert get(process.url).startswith(b"HTTP/1.1 200")
        # Who had to leave has two seconds to say farewell.
        eventually(lambda: connections(process) <= MAX_CONNECTIONS, "there are no more")


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    body = f"{scope['scheme']} {(await receive())['body'].decode()}".encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_request_in_the_same_segment_as_the_end_of_the_handshake_is_served(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> bytes:
        settings = ServerConfig(port=0, tls=TlsConfig.model_validate(FILES))
        server = EdgeServer(hello, settings)
        listener = bind(settings)
        task = asyncio.create_task(server.serve([listener]))
        try:
            return await asyncio.to_thread(eager, listener.getsockname()[1])
        finally:
            server.should_exit = True
            await task

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main()).endswith(b"https abc")


def eager(port: int) -> bytes:
    """What comes back to a client whose `Finished` and whole request leave in one write."""
    trust = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        client.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc")
        plain.sendall(outgoing.read())
        said = b""
        while not said.endswith(b"abc"):
            incoming.write(plain.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                said += client.read(65536)
        return said


def test_the_sdk_streams_over_tls() -> None:
    with (
        run_in_thread(ScriptedServer(script=Script(tokens=5, itl_ms=5))) as engine,
        serve(config_to(engine.base_url, server={"tls": FILES})) as process,
    ):
        assert process.url.startswith("https://")
        trust = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
        url = process.base_url.replace("127.0.0.1", "localhost")
        with (
            httpx2.Client(verify=trust) as http,
            OpenAI(base_url=url, api_key="-", http_client=http, max_retries=0) as openai,
        ):
            chunks = openai.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_a_missing_certificate_is_a_mistake_with_its_path() -> None:
    tls = {"certificate_path": "/nowhere/cert.pem", "key_path": str(TLS / "server.pem")}
    with pytest.raises(
        ConfigError, match=r"server\.tls\.certificate_path: there is no file /nowhere/cert\.pem"
    ):
        parse_text(config_to("http://127.0.0.1:1/v1", server={"tls": tls}), source="test")


# -- certificates that change ----------------------------------------------------------------------------------------------


def served_certificate(url: str) -> bytes | None:
    """The certificate that a new connection is shown, whoever signed it."""
    parts = urlsplit(url)
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE_S) as plain,
        anybody.wrap_socket(plain) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True)


def replace(path: Path, data: bytes) -> None:
    following = path.with_suffix(".new")
    following.write_bytes(data)
    following.replace(path)


def test_a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    first, second = ((TLS / name).read_bytes() for name in ("server.pem", "other-server.pem"))
    certificate.write_bytes(first)
    key.write_bytes(first)
    tls = {"certificate_path": str(certificate), "key_path": str(key)}
    with (
        run_in_thread(ScriptedServer(script=Script(tokens=5))) as engine,
        serve(config_to(engine.base_url, server={"tls": tls})) as process,
        secure(process.url) as kept,
    ):
        before = served_certificate(process.url)
        replace(certificate, second)  # its key comes later: until then the two do not fit
        assert served_certificate(process.url) == before
        process.wait_for_log("cannot be used")
        replace(key, second)
        after = served_certificate(process.url)
        assert after != before
        for broken in (b"", b"no PEM", second[:300]):
            replace(certificate, broken)
            assert served_certificate(process.url) == after
        certificate.unlink()
        assert served_certificate(process.url) == after
        replace(certificate, first)
        replace(key, first)
        assert served_certificate(process.url) == before
        kept.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")  # a connection from before stays
