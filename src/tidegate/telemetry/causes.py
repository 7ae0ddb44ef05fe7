"""Describes why something failed, in words that help an operator to fix it. The causes come from chained exceptions."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

from tidegate.errors import GatewayError, UpstreamTimeout

# X.509 verification results of OpenSSL (`man verify`).
_UNKNOWN_AUTHORITY = "TLS: the certificate comes from an unknown authority; name its PEM file in ca_path"
_EXPIRED = "TLS: the certificate has expired"
_OTHER_NAME = "TLS: the certificate is for another host name"
_VERIFY: Mapping[int, str] = MappingProxyType(
    dict.fromkeys((2, 18, 19, 20, 21), _UNKNOWN_AUTHORITY)
    | {9: "TLS: the certificate is not valid yet", 10: _EXPIRED}
    | {62: _OTHER_NAME, 64: _OTHER_NAME}
)
_NO_TLS = "TLS: the server does not speak TLS on this port; is it http:// instead of https://?"
_REFUSED = "connection refused: nothing listens on this address and port"
_NO_NAME = "DNS: the host name does not resolve"
_RESET = "the server reset the connection"
_BY_NUMBER: Mapping[int, str] = MappingProxyType(
    {
        errno.ECONNREFUSED: _REFUSED,
        errno.ECONNRESET: _RESET,
        errno.EPIPE: _RESET,
        errno.ETIMEDOUT: "timed out: the network gave up on the connection",
        errno.EHOSTUNREACH: "no route to the host",
        errno.ENETUNREACH: "no route to the network",
        errno.EACCES: "the system does not permit this connection",
        errno.EPERM: "the system does not permit this connection",
        errno.EMFILE: "too many open files in this process (ulimit -n)",
        errno.ENFILE: "too many open files on this machine",
        errno.EADDRNOTAVAIL: "no local port is left for a connection",
    }
)
# Patterns for the exceptions of other libraries, which can be told apart only by their messages.
_BY_WORDS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        _REFUSED: re.compile(r"connection refused", re.IGNORECASE),
        _NO_NAME: re.compile(
            r"name or service not known|failed to lookup address|nodename nor servname|dns error",
            re.IGNORECASE,
        ),
        _UNKNOWN_AUTHORITY: re.compile(
            r"unknown ?issuer|self[- ]signed|unable to get local issuer", re.IGNORECASE
        ),
        _OTHER_NAME: re.compile(
            r"not valid for(?: any)? name|notvalidforname|hostname mismatch", re.IGNORECASE
        ),
        _EXPIRED: re.compile(r"certificate (has )?expired|invalid peer certificate: expired", re.IGNORECASE),
        _NO_TLS: re.compile(
            r"wrong version number|corrupt message|invalidcontenttype|http request", re.IGNORECASE
        ),
        _RESET: re.compile(r"connection reset|broken pipe", re.IGNORECASE),
    }
)
_NUMBER = re.compile(r"\[Errno (-?\d+)\]|os error (\d+)")
_MOST = 300
_DEEPEST = 8


def cause_of(error: BaseException) -> str:
    """Return the cause of an error on one line.

    This is the error's `cause` if it has one. Otherwise it is the description of the first exception in its `__cause__`
    chain that is known here. If none is known, it is the error's message.
    """
    if isinstance(error, GatewayError) and error.cause:
        return one_line(error.cause)
    for below in _chain(error) if isinstance(error, GatewayError) else (error, *_chain(error)):
        if found := _known(below):
            return found
    if not isinstance(error, GatewayError):
        return one_line(f"{type(error).__name__}: {error}")
    return one_line(f"timed out: {error.message}" if isinstance(error, UpstreamTimeout) else error.message)


def one_line(text: str) -> str:
    """Return text from a client or an engine without control characters and line ends, cut to 300 characters."""
    cut = text[: _MOST - 1] + "…" if len(text) > _MOST else text
    return "".join(character if character.isprintable() else " " for character in cut)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of an error's `__cause__` chain. An exception group counts as its first exception."""
    below = error.__cause__
    for _ in range(_DEEPEST):
        if below is None:
            return
        if isinstance(below, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", below)
            below = group.exceptions[0]
        yield below
        below = below.__cause__


def _known(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _VERIFY.get(error.verify_code, "TLS: the certificate is not accepted")
        return known if known is _UNKNOWN_AUTHORITY else f"{known}: {one_line(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return _NO_TLS if _BY_WORDS[_NO_TLS].search(reason.replace("_", " ")) else f"TLS: {one_line(reason)}"
    if isinstance(error, socket.gaierror):
        temporary = error.errno == socket.EAI_AGAIN
        return "DNS: the name servers do not answer" if temporary else _NO_NAME
    if isinstance(error, UnicodeError):
        return "DNS: the host name is not valid"
    if isinstance(error, OSError) and (known := _BY_NUMBER.get(error.errno or 0)):
        return known
    return _by_words(_text_of(error))


def _text_of(error: BaseException) -> str:
    """Return an exception's message, followed by the list of causes that a client written in Rust adds."""
    details: Any = getattr(error, "details", None)
    causes: Any = cast("dict[str, Any]", details).get("causes") if isinstance(details, dict) else None
    listed = [str(one) for one in cast("list[Any]", causes)] if isinstance(causes, list) else []
    return " ".join([str(error), *listed])


def _by_words(text: str) -> str:
    for found in _NUMBER.finditer(text):
        number = int(found[1] or found[2])
        if number in _BY_NUMBER:
            return _BY_NUMBER[number]
    return next((cause for cause, words in _BY_WORDS.items() if words.search(text)), "")
