"""Why there is no connection, in words for an operator: from what the system and OpenSSL say."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from types import MappingProxyType

from tidegate.errors import GatewayError, UpstreamUnreachable

_OF_SYSTEM: Mapping[int, str] = MappingProxyType(
    {
        errno.ECONNREFUSED: "connection refused: nothing listens there",
        errno.ECONNRESET: "connection reset",
        errno.EPIPE: "connection reset",
        errno.EHOSTUNREACH: "no route to the host",
        errno.ENETUNREACH: "the network cannot be reached",
        errno.ETIMEDOUT: "timed out",
        errno.EMFILE: "the gateway has too many open files",
    }
)
# OpenSSL's numbers for why a certificate is not taken (x509_vfy.h).
_OF_CERTIFICATE: Mapping[int, str] = MappingProxyType(
    {
        10: "the certificate has expired",
        9: "the certificate is not valid yet",
        18: "the certificate is signed by itself; ca_path can name it",
        19: "the certificate's authority is unknown; ca_path can name it",
        20: "the certificate's authority is unknown; ca_path can name it",
        21: "the certificate's authority is unknown; ca_path can name it",
        62: "the certificate is for another name",
        64: "the certificate is for another address",
    }
)

_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)


def of_error(error: GatewayError) -> str:
    """What an operator should know of a failure: its words, and the cause where one is known."""
    cause = error.cause or in_words(error.__cause__)
    words = f"{error.message}: {cause}" if cause else error.message
    return f"does not answer: {words}" if isinstance(error, UpstreamUnreachable) else words


def in_words(error: BaseException | None) -> str:
    """The innermost cause that is known, such as `DNS: the name is not known`; empty where none is."""
    while error is not None:
        if words := _one(error):
            return words
        error = error.__cause__ or error.__context__
    return ""


def _one(error: BaseException) -> str:
    match error:
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return "DNS: the name could not be looked up just now"
        case socket.gaierror() | UnicodeError():
            return "DNS: the name is not known"
        case ssl.SSLError():
            return f"TLS: {_of_tls(error)}"
        case TimeoutError():
            return "timed out"
        case OSError(errno=int(number)):
            return _OF_SYSTEM.get(number, error.strerror or "")
        case _:
            return "connection reset" if isinstance(error, ConnectionError) else ""


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_CERTIFICATE.get(error.verify_code, error.verify_message)
    if error.reason in _NOT_TLS:
        return "the server does not speak it on this port; the url may have to begin with http://"
    return (error.reason or "the handshake failed").replace("_", " ").lower()
