"""Turns the bytes from a client into requests: the parsing half of a connection. `connection.py` is the other half.

The protocol runs under uvicorn's server, in place of uvicorn's own protocol. Unlike that one, it checks a request's head
before the application runs (`limits.py`). A client that asks to upgrade to HTTP/2 is answered in HTTP/1.1. This code runs
for every request, so keep it cheap.
"""

from __future__ import annotations

import re

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from tidegate.errors import BadRequest, GatewayError, MethodUnknown
from tidegate.http.edge.connection import ClientConnection
from tidegate.http.edge.cycle import Cycle
from tidegate.http.edge.limits import is_probe, split_target

HEADERS = "tidegate.headers"
"""The key in the ASGI scope for the request's headers as a dict."""

# The parser gets at most this much at once: 20,000 headers in one read would block all other connections for 10 ms.
SLICE_BYTES = 32 * 1024
# One read may hold more requests than `MAX_AHEAD`. No pipelining client sends more than this many.
FAR_TOO_MANY_AHEAD = 64
# Find a request line anywhere in a read, or the beginning of one at its end: the parser does not report where it stopped.
# The characters of a method are those of a token in RFC 9110, 5.6.2.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(rb"(?<!%b)(?<! )(%b{1,40}) \S+ HTTP/1\.[01]\r?\n" % (_TOKEN, _TOKEN))
_BEGINNING = re.compile(rb"(?<!%b)(?<! )([A-Z]{1,40})(?: \S*(?: [HTP/1.]*)?)?\Z" % _TOKEN)
_METHODS = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"}
)


class EdgeProtocol(ClientConnection):
    """One client connection, with the interface of uvicorn's protocols."""

    # -- what is read ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Handle bytes from the client."""
        if len(data) <= SLICE_BYTES:
            self._receive(data)
            return
        # In slices, so that an endless head or an endless series of requests is refused before much of it is parsed.
        for at in range(0, len(data), SLICE_BYTES):
            self._receive(data[at : at + SLICE_BYTES])

    def _receive(self, data: bytes) -> None:
        if self._corked.is_closing() or self._refused is not None:
            return
        patience = self._patience
        patience.arriving = self._read_size = len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse_unread(error, data)
            return
        # This is rarely true: most requests arrive complete, in one read.
        if patience.is_watching or self._scope is not None or self._last is None or self._last.more_body:
            self._watch(len(data))

    def on_message_begin(self) -> None:
        """Begin a new request. The parser calls this at the first byte of the request."""
        self._url = b""
        self._expects_100 = False
        self._headers = []
        self._scope = self._fixed_scope.copy()
        self._idle.since = 0.0

    def on_url(self, url: bytes) -> None:
        """Add a part to the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header to the head. Trailers are ignored."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_100 = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the complete head and start its request, or queue it. `_refuse_upgrade` handles an upgrade later."""
        parser, scope = self._parser, self._scope
        if scope is None or parser.should_upgrade():
            return
        version = parser.get_http_version()
        try:
            scope[HEADERS] = self._check_head(version)
            scope["raw_path"], scope["path"], scope["query_string"] = split_target(self._url)
        except GatewayError as error:
            self._wrong = (
                error  # kept here, because the parser raises an error of its own instead of this one
            )
            raise
        scope["method"] = parser.get_method().decode("ascii")
        scope["headers"] = self._headers
        scope["http_version"] = version
        self._scope = None
        # A new list: the parser also calls `on_header` for trailers, and these must not join the request's headers.
        self._headers = []
        self._patience.begin_body()
        self._last = cycle = Cycle(
            scope,
            self._corked,
            self._flow,
            default_headers=self._state.default_headers,
            expects_100=self._expects_100 and version != "1.0",  # not in HTTP/1.0: RFC 9110, 10.1.1
            on_response=self._on_response,
        )
        cycle.keep_alive = version != "1.0" and parser.should_keep_alive()
        if not self._answering():
            self._start(cycle)
        else:
            self._ahead.append(cycle)
            self._look_ahead()

    def on_body(self, body: bytes) -> None:
        """Add a part to the request's body. If the request was answered already, the part is dropped."""
        cycle = self._last
        if cycle is None or cycle.response_complete:
            return
        self._patience.body_bytes += len(body)
        cycle.body += body
        if cycle is not self._running:
            self._look_ahead()
        elif len(cycle.body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        cycle.tell()

    def on_message_complete(self) -> None:
        """Mark the request as complete."""
        cycle = self._last
        if cycle is None or self._parser.should_upgrade():
            return
        cycle.more_body = False
        self._patience.arriving = 0
        cycle.tell()
        if self._corked.client_still_sends:
            self._corked.client_still_sends = False
            if not cycle.response_started:
                cycle.keep_alive = self._keeps_alive

    def _check_head(self, version: str) -> dict[bytes, bytes]:
        """Return the headers by name. Raises GatewayError for a head that must be refused."""
        headers, target = self._headers, self._url
        edge = self._edge
        if len(headers) > edge.max_headers:
            raise edge.too_many()
        if self._patience.read_bytes + self._read_size > edge.max_head_bytes:
            edge.check_size(target, headers)
        found = edge.check_head(target, version, headers)
        if edge.is_full(self._state.connections) and not is_probe(target):
            raise edge.full()
        if len(self._ahead) >= FAR_TOO_MANY_AHEAD:
            raise BadRequest(f"More than {FAR_TOO_MANY_AHEAD} requests wait for their turn")
        return found

    def _refuse_unread(self, error: httptools.HttpParserError, data: bytes) -> None:
        """Refuse bytes that the parser did not accept, with the error that fits."""
        if self._wrong is not None:
            self._refuse(self._wrong)
        elif isinstance(error, httptools.HttpParserInvalidMethodError) and (method := _strange_method(data)):
            self._refuse(MethodUnknown(f"The method '{method}' is not implemented here"))
        elif self._last is None or self._last.more_body or self._url:
            self._refuse(BadRequest("This is not valid HTTP"))
        else:
            words = "What follows a whole request is not valid HTTP; 'Content-Length' counts bytes, not characters"
            self._refuse(BadRequest(words), is_request=False)

    def _feed(self, data: bytes) -> None:
        """Pass bytes to the parser. Raises httptools.HttpParserError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # This recurses at most once: a request that follows an unanswered upgrade is refused.
            self._refuse_upgrade(data[upgrade.args[0] :])

    def _refuse_upgrade(self, rest: bytes) -> None:
        """Ignore a request to upgrade (RFC 9110, 7.8). Java's own HTTP client sends one with every request.

        llhttp would drop the body, so a new parser gets the head again, without the `Upgrade` header.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        if method == b"CONNECT":
            # `CONNECT` is not implemented for any target, so the status is 501 and not 405 (RFC 9110, 9.1).
            self._refuse(MethodUnknown("This is not a proxy: 'CONNECT' is not implemented here"))
            return
        if self._answering():
            self._refuse(BadRequest("A pipelined request must not ask for an upgrade"))
            return
        lines = [b"%b %b HTTP/%b" % (method, self._url, version)]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*lines, b"", rest]))


def _strange_method(data: bytes) -> str:
    """Return the method that the parser does not know, or "" if the bytes hold no request line with such a method."""
    methods = [line[1] for line in _REQUEST_LINE.finditer(data)]
    if (beginning := _BEGINNING.search(data)) is not None:
        methods.append(beginning[1])
    return next((method.decode() for method in methods if method not in _METHODS), "")
