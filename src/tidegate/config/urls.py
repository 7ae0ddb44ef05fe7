"""What the URL of an engine may be, and what it most likely should have been."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_USABLE = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_VERSION = re.compile(r"v\d+[a-z]*\d*", re.IGNORECASE)
# What people copy from a server's documentation. `chat` and `models/NAME` only below a version: elsewhere a base URL may
# end so.
_ENDPOINT = re.compile(
    r"""/(?: (?:chat/)?completions | embeddings | responses | messages | models | moderations | rerank | score
        | api/(?:chat|generate|embed|tags) | audio/\w+ | images/\w+ | (?<=/v\d/)(?: chat | models/.* ) )$""",
    re.VERBOSE | re.IGNORECASE,
)


def check(url: str) -> str:
    """A base URL without its last slash. Raises ValueError for one that cannot be, or that ends in an endpoint."""
    if not _USABLE.fullmatch(url):
        raise ValueError("must look like http://host:port/v1, without a query, a fragment or a user name")
    check_port(url)
    url = url.rstrip("/")
    if found := _ENDPOINT.search(urlsplit(url).path):
        raise ValueError(
            f"ends in the endpoint {found[0]}, which the gateway adds to each call: write {_base(url, found)}"
        )
    return url


def check_port(url: str) -> None:
    """Raises ValueError for a URL whose host or port cannot be."""
    try:
        urlsplit(url).port  # noqa: B018 - reading it is the check
    except ValueError as error:
        # Not the error's own words: they may hold the password.
        raise ValueError("has a host or a port that cannot be") from error


def likely(url: str) -> str | None:
    """The URL that is more likely meant than this one, which names no version of an API; None: there is none.

    Most servers have their API below `/v1`; some providers have it elsewhere, with a version or `openai` in the path.
    """
    parts = urlsplit(url).path.split("/")
    if any(_VERSION.fullmatch(part) for part in parts) or parts[-1] == "openai":
        return None
    if parts[-1] == "api":  # Ollama's own API stands beside the one it shares with others
        return f"{url.removesuffix('/api')}/v1"
    return f"{url}/v1"


def _base(url: str, endpoint: re.Match[str]) -> str:
    base = url[: len(url) - len(endpoint[0])]
    return base if urlsplit(base).path else f"{base}/v1"
