"""The cause of a failure in words, from the exceptions below it."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from tidegate.telemetry.causes import cause_of, one_line


def verification(code: int, words: str = "") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, words
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


class Rust(Exception):
    """Another library's exception, which keeps the causes in a list."""

    def __init__(self, *words: str) -> None:
        super().__init__("error sending request")
        self.details = {"causes": [{"message": one} for one in words]}


CAUSES: list[tuple[BaseException, str]] = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
    (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] x"), "connection refused"),
    (ExceptionGroup("both", [OSError(errno.EHOSTUNREACH, "x"), OSError(errno.ECONNREFUSED, "x")]), "no route to the host"),
    (OSError(errno.ENETUNREACH, "x"), "no route to the network"),
    (ConnectionResetError(errno.ECONNRESET, "x"), "the server reset"),
    (OSError(errno.EMFILE, "x"), "too many open files"),
    (OSError(errno.EADDRNOTAVAIL, "x"), "no local port"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "DNS: the host name does not resolve"),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "DNS: the name servers do not answer"),
    (UnicodeError("label too long"), "DNS: the host name is not valid"),
    (verification(20), "TLS: the certificate comes from an unknown authority"),
    (verification(18), "TLS: the certificate comes from an unknown authority"),
    (verification(62), "TLS: the certificate is for another host name"),
    (verification(64), "TLS: the certificate is for another host name"),
    (verification(10), "TLS: the certificate has expired"),
    (verification(23, "certificate revoked"), "TLS: the certificate is not accepted: certificate revoked"),
    (tls("WRONG_VERSION_NUMBER"), "TLS: the server does not speak TLS"),
    (tls("HTTP_REQUEST"), "TLS: the server does not speak TLS"),
    (tls("TLSV1_ALERT_ACCESS_DENIED"), "TLS: TLSV1_ALERT_ACCESS_DENIED"),
    (Rust("client error (Connect)", "tcp connect error", "Connection refused (os error 111)"), "connection refused"),
    (Rust("dns error", "failed to lookup address information: Name or service not known"), "DNS:"),
    (Rust("invalid peer certificate: UnknownIssuer"), "TLS: the certificate comes from an unknown authority"),
    (Rust('invalid peer certificate: certificate not valid for name "x"'), "TLS: the certificate is for another"),
    (ValueError("what nobody knows"), "no connection to the engine"),
]  # fmt: skip


@pytest.mark.parametrize(("below", "words"), CAUSES, ids=[repr(below)[:60] for below, _ in CAUSES])
def test_the_exception_below_names_the_cause(below: BaseException, words: str) -> None:
    error = UpstreamUnreachable("no connection to the engine")
    error.__cause__ = below
    assert cause_of(error).startswith(words)


def test_a_cause_further_down_counts_too_and_its_own_comes_first() -> None:
    outer, middle = UpstreamError("x"), ValueError("y")
    outer.__cause__, middle.__cause__ = middle, ConnectionRefusedError(errno.ECONNREFUSED, "z")
    assert cause_of(outer).startswith("connection refused")
    outer.cause = "the engine answered with status 500"
    assert cause_of(outer) == "the engine answered with status 500"


def test_without_a_cause_the_words_of_the_error() -> None:
    assert cause_of(UpstreamError("the engine broke off")) == "the engine broke off"
    assert cause_of(UpstreamTimeout("nothing for 5 s")) == "timed out: nothing for 5 s"
    assert cause_of(KeyError("k")) == "KeyError: 'k'"


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    found = one_line(text)
    assert found.isprintable()
    assert len(found) <= 300
