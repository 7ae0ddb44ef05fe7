"""Targets and hosts that may lead some server past its rules, and a way to send them as they stand."""

from __future__ import annotations

from collections.abc import Iterator

from serving import Running, wire
from talking import chat

EVIL_HOSTS = ("evil.example", "x/healthz?y=", "127.0.0.1.evil.example", "g/v1/models#", "g/admin/reload")


def ask(gateway: Running, method: str, target: str, *lines: str, host: str = "g") -> tuple[int, bytes]:
    """One request as it stands; the status 0 where the gateway closes without one."""
    body = chat() if method == "POST" else b""
    head = [f"{method} {target} HTTP/1.1", f"host: {host}", "content-type: application/json", *lines]
    with wire(gateway.url) as client:
        client.send(
            "\r\n".join([*head, f"content-length: {len(body)}", "connection: close", "", ""]).encode() + body
        )
        answer = client.read_to_end()
    return (int(answer.split()[1]) if answer else 0), answer


def tricks(path: str) -> Iterator[str]:
    """The path in every disguise that some server somewhere undoes."""
    first, last = path[1], path[-1]
    yield path.replace(first, f"%{ord(first):02x}", 1)
    yield path.replace(last, f"%{ord(last):02X}")
    yield path.replace("/", "%2f").replace("%2f", "/", 1)
    yield path.replace("/", "%2F")
    yield path.replace("/", "//")
    yield "/" + path
    yield path + "/"
    yield path + "//"
    yield path + "/."
    yield path + "/.."
    yield path + "%00"
    yield path + "%20"
    yield path + "%3f"
    yield path + ";x=y"
    yield path + ".json"
    yield path.upper()
    yield path.title()
    yield "/." + path
    yield "/%2e" + path
    yield "/x/.." + path
    yield "/x/%2e%2e" + path
    yield "/v1/models/.." + path
    yield "/v1/models/%2e%2e/%2e%2e" + path
    yield "/v1/%2e%2e" + path
    yield "\\" + path[1:]
    yield path.replace("/", "\\")
    yield path.replace("/", "%5c")
    yield "/%252e%252e" + path
    yield "http://evil.example" + path
    yield "http://g:80@evil.example" + path
    yield "http://evil.example/?" + path
    yield "/?" + path
    yield "/#" + path
    yield "?" + path
    yield path[1:]
