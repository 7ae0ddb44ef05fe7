"""Checks the URLs of engines and of issuers of tokens, and suggests a more likely URL of an engine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_USABLE = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_FETCHED = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?")
_VERSION = re.compile(r"v\d+[a-z]*\d*", re.IGNORECASE)
# Endpoints that people copy from a server's documentation. `chat` and `models/NAME` count only below a version, since a
# base URL may end in them otherwise.
_ENDPOINT = re.compile(
    r"""/(?: (?:chat/)?completions | embeddings | responses | messages | models | moderations | rerank | score
        | api/(?:chat|generate|embed|tags) | audio/\w+ | images/\w+ | (?<=/v\d/)(?: chat | models/.* ) )$""",
    re.VERBOSE | re.IGNORECASE,
)


def check_base(url: str, example: str = "http://host:port") -> str:
    """Return a base URL without its last slash. Raises ValueError, with an example, if it is not valid."""
    if not _USABLE.fullmatch(url):
        raise ValueError(f"must look like {example}, without a query, a fragment or a user name")
    check_port(url)
    return url.rstrip("/")


def check(url: str) -> str:
    """Return the base URL of an engine without its last slash. Raises ValueError if it ends in an endpoint, or is wrong."""
    url = check_base(url, "http://host:port/v1")
    if found := _ENDPOINT.search(urlsplit(url).path):
        raise ValueError(
            f"ends in the endpoint {found[0]}, which the gateway adds to each call: write {_base(url, found)}"
        )
    return url


def check_port(url: str) -> None:
    """Check the host and port of a URL. Raises ValueError if one of them is not valid."""
    try:
        urlsplit(url).port  # noqa: B018 - reading it is the check
    except ValueError as error:
        # The error's own message is not used, since it may have the password.
        raise ValueError("has a host or a port that is not valid") from error


def check_address(url: str) -> str:
    """Return a URL of any page, with or without a query. Raises ValueError if it is not valid."""
    if not (_FETCHED.fullmatch(url) and url.isascii() and url.isprintable()):
        raise ValueError("must look like https://host/path, without a fragment or a user name")
    check_port(url)
    return url


def check_trusted(url: str) -> str:
    """Return a URL whose content may be trusted: it uses https, or leads to this machine. Raises ValueError otherwise."""
    if not (_FETCHED.fullmatch(url) and url.isascii() and url.isprintable()):
        raise ValueError("must look like https://host/path, without a fragment or a user name")
    check_port(url)
    if urlsplit(url).scheme != "https" and not is_local(url):
        raise ValueError("must begin with https://: what arrives over http can be changed on its way")
    return url


def is_local(url: str) -> bool:
    """Return whether a URL names this machine: `localhost`, or an address of the loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def likely(url: str) -> str | None:
    """Return a more likely URL for one without a version of the API, or None if this one may be right.

    Most servers have their API below `/v1`. Some providers have it at another path, with a version or `openai` in it.
    """
    parts = urlsplit(url).path.split("/")
    if any(_VERSION.fullmatch(part) for part in parts) or parts[-1] == "openai":
        return None
    if parts[-1] == "api":  # Ollama's own API; its OpenAI API is at /v1
        return f"{url.removesuffix('/api')}/v1"
    return f"{url}/v1"


def _base(url: str, endpoint: re.Match[str]) -> str:
    base = url[: len(url) - len(endpoint[0])]
    return base if urlsplit(base).path else f"{base}/v1"
