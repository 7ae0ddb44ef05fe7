"""What a client sends becomes requests: the parser's side of a connection, whose other side is `connection.py`.

It runs under uvicorn's server, in the place of uvicorn's own protocol, and differs from it in what it does not put up with:
a head is checked before anything runs (`limits.py`). A client that asks to upgrade to HTTP/2 is answered in HTTP/1.1. Every
call pays for what a request costs here: mind it.
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
"""Where in the ASGI scope a request finds its headers as a dict."""

# What the parser gets at once: 20,000 headers in one read would hold up everybody else for 10 ms.
SLICE_BYTES = 32 * 1024
# One read may hold more requests than `MAX_AHEAD`. So many are no pipelining.
FAR_TOO_MANY_AHEAD = 64
# A request line, or the beginning of one at the end of a read, anywhere: the parser does not say where it stopped.
# RFC 9110, 5.6.2, says what a method is made of.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(rb"(?<!%b)(?<! )(%b{1,40}) \S+ HTTP/1\.[01]\r?\n" % (_TOKEN, _TOKEN))
_BEGINNING = re.compile(rb"(?<!%b)(?<! )([A-Z]{1,40})(?: \S*(?: [HTP/1.]*)?)?\Z" % _TOKEN)
_METHODS = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"}
)


class EdgeProtocol(ClientConnection):
    """One client connection, as uvicorn's server wants it."""

    # -- what is read ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if len(data) <= SLICE_BYTES:
            self._receive(data)
            return
        # A head or a chain of requests without end is found out before much was made of it.
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
        # Seldom: a request comes whole, in one read.
        if patience.is_watching or self._scope is not None or self._last is None or self._last.more_body:
            self._watch(len(data))

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._url = b""
        self._expects_100 = False
        self._headers = []
        self._scope = self._fixed_scope.copy()
        self._idle.since = 0.0

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header to the head. Trailers are ignored."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_100 = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head is whole; of one that asks for an upgrade nothing is known yet."""
        parser, scope = self._parser, self._scope
        if scope is None or parser.should_upgrade():
            return
        version = parser.get_http_version()
        try:
            scope[HEADERS] = self._check_head(version)
            scope["raw_path"], scope["path"], scope["query_string"] = split_target(self._url)
        except GatewayError as error:
            self._wrong = error  # the parser keeps nothing of an exception but that there was one
            raise
        scope["method"] = parser.get_method().decode("ascii")
        scope["headers"] = self._headers
        scope["http_version"] = version
        self._scope = None
        # Trailers are nobody's headers: the parser would add them to those of the request.
        self._headers = []
        self._patience.begin_body()
        self._last = cycle = Cycle(
            scope,
            self._corked,
            self._flow,
            default_headers=self._state.default_headers,
            expects_100=self._expects_100 and version != "1.0",  # which does not know it (RFC 9110, 10.1.1)
            on_response=self._on_response,
        )
        cycle.keep_alive = version != "1.0" and parser.should_keep_alive()
        if not self._answering():
            self._start(cycle)
        else:
            self._ahead.append(cycle)
            self._look_ahead()

    def on_body(self, body: bytes) -> None:
        """A part of a body. Of a request that was answered already it is thrown away."""
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
        """A request is whole."""
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
        """The headers by name. Raises GatewayError."""
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
        """For bytes at which the parser stopped."""
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
        """To the parser. Raises httptools.HttpParserError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Once more only for the next request, which is then one too many.
            self._refuse_upgrade(data[upgrade.args[0] :])

    def _refuse_upgrade(self, rest: bytes) -> None:
        """Go on as if nobody had asked (RFC 9110, 7.8), as Java's own client does with every request.

        llhttp would lose the body; so a new parser gets the head again, without that header.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        if method == b"CONNECT":
            # Not for any target, so it is not a 405 (RFC 9110, 9.1).
            self._refuse(MethodUnknown("This is not a proxy: 'CONNECT' is not implemented here"))
            return
        if self._answering():
            self._refuse(BadRequest("There is nothing to upgrade to"))
            return
        lines = [b"%b %b HTTP/%b" % (method, self._url, version)]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*lines, b"", rest]))


def _strange_method(data: bytes) -> str:
    """The method that the parser does not know, where these bytes hold a request line with one."""
    methods = [line[1] for line in _REQUEST_LINE.finditer(data)]
    if (beginning := _BEGINNING.search(data)) is not None:
        methods.append(beginning[1])
    return next((method.decode() for method in methods if method not in _METHODS), "")
