"""Addresses of the internet: e-mail, hosts, URLs, IP and MAC addresses."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from tidegate.rails.rules.recognizers.recognizer import Found, Recognizer, alone, scored

_LABEL: Final = r"[A-Za-z0-9\x{c0}-\x{24f}](?:[A-Za-z0-9\x{c0}-\x{24f}-]{0,61}[A-Za-z0-9\x{c0}-\x{24f}])?"
_HOST: Final = r"[A-Za-z0-9\x{c0}-\x{24f}.\-]+\.(?:[A-Za-z\x{c0}-\x{24f}]{2,24}|xn--[A-Za-z0-9-]{2,30})"


_LOCAL: Final = re.compile(r"[A-Za-z0-9._%+'\-\u00c0-\u024f]")


def _email(text: str, start: int, end: int) -> Found | None:
    if start and _LOCAL.match(text, start - 1):
        return None  # longer than RFC 5321 allows
    local, _, host = text[start:end].partition("@")
    inner = local.lstrip(".-+'%")
    if not inner or inner.endswith(".") or ".." in host or host.startswith((".", "-")):
        return None
    if start and text[start - 1] in ":@/" and "://" in text[max(0, start - 2) : start]:
        return None  # user@host of a URL
    return Found(end - len(host) - 1 - len(inner), end, 1.0)


def _version_before(text: str, start: int) -> bool:
    return bool(
        re.search(
            r"(?:\bv|version|release|build|section|chapter|==|>=|<=|~=|\^)\s*$",
            text[max(0, start - 16) : start],
            re.IGNORECASE,
        )
    )


def _ip(text: str, start: int, end: int) -> Found | None:
    if not alone(text, start, end) and not _port_or_prefix(text, start, end):
        return None
    try:
        address = ipaddress.ip_address(text[start:end])
    except ValueError:
        return None
    if (
        address.is_loopback
        or address.is_unspecified
        or address.is_multicast
        or str(address).startswith("255.")
    ):
        return None  # names nobody
    if address.version == 4 and (_version_before(text, start) or _is_network(text, start, end)):
        return None
    return Found(start, end, 0.6 if address.version == 4 else 0.75)


def _is_network(text: str, start: int, end: int) -> bool:
    """Return whether an address stands for a network: 10.0.0.0/8."""
    return text[end : end + 1] == "/" and text[start:end].endswith(".0")


def _port_or_prefix(text: str, start: int, end: int) -> bool:
    """Return whether an address stands before a port or a prefix's length, or after `//` or `@`."""
    before, after = text[start - 1 : start] or " ", text[end : end + 1] or " "
    return not before.isalnum() and before not in "._-" and (not after.isalnum()) and after not in "._-"


def _ipv6(text: str, start: int, end: int) -> Found | None:
    written = text[start:end].rstrip(":") if not text[start:end].endswith("::") else text[start:end]
    end = start + len(written)
    if written.count(":") < 2 or not any(map(str.isdigit, written)) or len(written) < 6:
        return None
    return _ip(text, start, end)


def _domain(text: str, start: int, end: int) -> Found | None:
    if not alone(text, start, end) and text[end : end + 1] not in ("/", ":"):
        return None
    before = text[start - 1 : start]
    if before in ("@", "/", ".", "-", "_") or before.isalnum():
        return None
    host = text[start:end].lower()
    if ".." in host or host.startswith((".", "-")):
        return None
    top = host.rpartition(".")[2]
    if host.startswith("www."):
        return Found(start, end, 0.8)
    if top in _COMMON_TOPS:
        return Found(start, end, 0.5)
    return Found(start, end, 0.2) if len(top) == 2 else None


def _url(text: str, start: int, end: int) -> Found | None:
    written = text[start:end]
    kept = written.rstrip(".,;:!?'")
    while kept.endswith(")") and kept.count(")") > kept.count("("):
        kept = kept[:-1].rstrip(".,;:!?'")
    return Found(start, start + len(kept), 0.85) if len(kept) > len("https://a") else None


_COMMON_TOPS: Final = frozenset(
    {
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "mil",
        "int",
        "info",
        "biz",
        "io",
        "dev",
        "app",
        "ai",
        "co",
        "eu",
        "uk",
    }
    | {"de", "fr", "nl", "ch", "jp", "cn", "ru", "br"}
)

NET: Final = (
    Recognizer(
        "EMAIL_ADDRESS",
        rf"[A-Za-z0-9._%+'\-\x{{c0}}-\x{{24f}}]{{1,64}}@{_HOST}",
        _email,
        320,
    ),
    Recognizer(
        "IP_ADDRESS",
        r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}",
        _ip,
        15,
        ("ip", "ipv4", "address", "host", "server"),
    ),
    Recognizer(
        "IP_ADDRESS",
        r"(?:\b[0-9A-Fa-f]|:)[0-9A-Fa-f:]{0,20}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,34}(?:\d{1,3}(?:\.\d{1,3}){3})?",
        _ipv6,
        45,
        ("ip", "ipv6"),
    ),
    Recognizer(
        "MAC_ADDRESS",
        r"\b(?:(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4})",
        scored(0.6),
        17,
        ("mac", "ethernet", "device", "hardware"),
    ),
    Recognizer("URL", r"https?://[^\s<>\"`{}|\\^]+", _url, 1024, ignore_case=True, usual=False),
    Recognizer(
        "DOMAIN_NAME",
        _HOST,
        _domain,
        253,
        ("website", "site", "domain", "host", "url", "homepage"),
        usual=False,
    ),
)
