"""How a case of the corpus is sent, and what came back."""

from __future__ import annotations

import math
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge.corpus import Case

ANSWER_WITHIN_S = 10.0
MORE_WITHIN_S = 0.25
"""How long a second answer is waited for where the connection stays open."""
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Outcome:
    """What came back. `took_s` is up to the first answer or the end, infinite where neither came."""

    statuses: list[int]
    took_s: float
    closed: bool


def send(url: str, case: Case) -> Outcome:
    """Send a case and read what comes. Reads while it sends, as a client should."""
    parts = urlsplit(url)
    began = time.monotonic()
    took_s = math.inf
    received, closed = b"", False
    with socket.create_connection((parts.hostname, parts.port), ANSWER_WITHIN_S) as connection:

        def write() -> None:
            with suppress(OSError):
                connection.sendall(case.data)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        reader = connection.dup()
        with suppress(TimeoutError), reader:
            reader.settimeout(ANSWER_WITHIN_S)
            while not closed:
                try:
                    part = reader.recv(65536)
                except ConnectionError:
                    part = b""
                received += part
                closed = part == b""
                if closed or _final(received):
                    took_s = min(took_s, time.monotonic() - began)
                    reader.settimeout(MORE_WITHIN_S)
    writer.join(ANSWER_WITHIN_S)
    return Outcome([int(status) for status in _STATUS.findall(received)], took_s, closed)


def _final(received: bytes) -> bool:
    return any(status >= b"200" for status in _STATUS.findall(received))
