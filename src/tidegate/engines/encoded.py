"""Decompresses answers of engines that ignore the gateway's `accept-encoding: identity`."""

from __future__ import annotations

from tidegate.egress.exchange import Exchange
from tidegate.errors import UpstreamError
from tidegate.kernel.inflate import CannotInflate, Inflater

# The most bytes that one read returns. A limit is needed because compressed data can expand a thousandfold.
STEP_BYTES = 64 * 1024
_ABOUT_THE_BODY = frozenset({b"content-encoding", b"content-length"})


class DecodedExchange:
    """An exchange that decompresses the body of another exchange. Satisfies `Exchange`."""

    def __init__(self, exchange: Exchange, encoding: bytes) -> None:
        """Raises UpstreamError for an encoding that cannot be decoded."""
        self._exchange = exchange
        self.status = exchange.status
        self.headers = [header for header in exchange.headers if header[0] not in _ABOUT_THE_BODY]
        try:
            self._inflater = Inflater(encoding)
        except CannotInflate as error:
            name = encoding.decode("latin-1")
            raise UpstreamError(
                f"the engine compressed its answer with {name!r} although it was asked not to"
            ) from error

    async def read(self) -> bytes:
        """See `Exchange.read`. Raises UpstreamError for bytes that cannot be decompressed."""
        inflater = self._inflater
        try:
            while not (found := inflater.take(STEP_BYTES)):
                data = await self._exchange.read()
                if not data:
                    break
                inflater.put(data)
        except CannotInflate as error:
            raise UpstreamError(f"the engine's compressed answer cannot be read: {error}") from error
        if not found and not inflater.whole:
            raise UpstreamError("the engine's compressed answer broke off")
        return found

    async def close(self, *, expect_end: bool = False) -> None:
        """See `Exchange.close`."""
        await self._exchange.close(expect_end=expect_end)


def decoded_exchange(exchange: Exchange) -> Exchange:
    """Return the exchange itself, or a `DecodedExchange` if its body is compressed. Raises UpstreamError."""
    encoding = dict(exchange.headers).get(b"content-encoding", b"identity").strip().lower()
    return exchange if encoding in (b"identity", b"") else DecodedExchange(exchange, encoding)
