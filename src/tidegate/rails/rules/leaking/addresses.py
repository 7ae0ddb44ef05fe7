"""Addresses as browsers read them: the host that a URL leads to, and whether it looks as if it carried data there.

Browsers forgive much (WHATWG URL Standard, https://url.spec.whatwg.org): white space within, backslashes for slashes, any
number of slashes, a user name before the host. What is read here is what they would open.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from tidegate.kernel.text import Views

_REMOVED: Final = re.compile(r"[\t\n\r]")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")  # by Markdown
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_REMOTE: Final = frozenset({"http", "https", "ws", "wss", "ftp"})
_SCRIPT: Final = frozenset({"javascript", "vbscript", "data", "livescript", "mocha"})
_AUTHORITY: Final = re.compile(r"[^/?#]*")
_PORT: Final = re.compile(r":[0-9]*$")
_TEMPLATE: Final = re.compile(r"\{\{|\$\{|\$\(|%\{|<%")
_ENCODINGS: Final = ("base64", "hex")
MOST_WORDS: Final = 8
"""A part of an address with so many words is prose, which nobody reads in an address."""
FEWEST_ENCODED: Final = 12
"""The shortest encoded text that is looked for, in characters."""
_LONGEST_HOST: Final = 253  # RFC 1035, and no browser looks up a longer one
LONGEST_LABEL: Final = 40
"""Names of hosts with a longer label are not made by people."""


class Address(NamedTuple):
    """What a URL says. `host` is empty if it leads to where the text is shown, and for schemes without a host."""

    scheme: str
    host: str
    user: str = ""
    rest: str = ""

    @property
    def runs(self) -> bool:
        """Whether it is a script or a document of its own instead of an address."""
        return self.scheme in _SCRIPT


def address_of(url: str) -> Address:
    """Return what a browser makes of a URL, as it stands in Markdown or HTML."""
    url = html.unescape(url)
    if "\\" in url:
        url = _ESCAPED.sub(r"\1", url)
    url = _REMOVED.sub("", url.strip("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f \t\r\n\x1b\x1f"))
    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    if scheme and scheme not in _REMOTE:
        return Address(scheme, "", rest=url[len(scheme) + 1 :])
    rest = url[len(scheme) + 1 :] if scheme else url
    rest = rest.replace("\\", "/")
    if not scheme and not rest.startswith("//") and not rest.lower().startswith("www."):
        return Address("", "", rest=rest)
    rest = rest.lstrip("/")
    authority = _AUTHORITY.match(rest)
    assert authority is not None, "it may be empty"
    user, _, host = authority[0].rpartition("@")
    return Address(scheme, host_of(host), user, rest[authority.end() :])


def host_of(host: str) -> str:
    """Return a host without its port as it is looked up. One that has no such form stays as it is."""
    host = unquote(host)
    if ":" in host:
        host = _PORT.sub("", host)
    host = host.strip().rstrip(".").lower()
    if host.isascii() or len(host) > _LONGEST_HOST:
        return host
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return host


class Hosts:
    """A set of hosts. `*.example.com` stands for all that end so, and not for `example.com` itself."""

    def __init__(self, hosts: Iterable[str]) -> None:
        listed = [host_of(one) for one in hosts]
        self._exact = frozenset(one for one in listed if not one.startswith("*."))
        self._endings = tuple(one[1:] for one in listed if one.startswith("*."))

    def __contains__(self, host: str) -> bool:
        return host in self._exact or host.endswith(self._endings)


def carries_data(address: Address, *, longest_value: int, shown: bool) -> bool:
    """Return whether an address looks as if it carried data: encoded text, prose, long values, or a template's gap.

    `shown` says that it stands in Markdown or HTML, where a gap that is not filled is no example for programmers.
    """
    if _is_short(address, longest_value):
        return False
    labels = address.host.split(".")[:-1]
    if any(len(one) > LONGEST_LABEL for one in labels):
        return True
    path, values, fragment = _parts(address.rest)
    if any(len(one) > longest_value for one in values):
        return True
    if any(len(one.split()) >= MOST_WORDS for one in (*path, *values)):
        return True
    parts = (*labels, address.user, *path, *values, fragment)
    if shown and any(_TEMPLATE.search(one) for one in parts):
        return True
    return any(_is_encoded(one) for one in parts)


def _is_short(address: Address, longest_value: int) -> bool:
    """Return whether an address is too short to carry data. A text has many short ones, if it has many."""
    whole = f"{address.host}/{address.user}/{address.rest}"
    return (
        len(whole) < min(FEWEST_ENCODED, longest_value) and "%" not in whole and not _TEMPLATE.search(whole)
    )


def _parts(rest: str) -> tuple[list[str], list[str], str]:
    """Return the parts of the path, the values of the query, and the fragment, without percent-encoding."""
    before, _, fragment = rest.partition("#")
    path, _, query = before.partition("?")
    return [unquote(one) for one in path.split("/")], list(_values(query)), unquote(fragment)


def _values(query: str) -> Iterator[str]:
    for pair in re.split("[&;]", query):
        name, _, value = pair.partition("=")
        # Base64 may end in signs of equality, and a value may stand without a name.
        yield unquote_plus(value)
        yield unquote_plus(name if value.strip("=") else pair)


def _is_encoded(text: str) -> bool:
    return len(text) >= FEWEST_ENCODED and any(
        view.name.startswith(_ENCODINGS) for view in Views(text).decoded
    )
