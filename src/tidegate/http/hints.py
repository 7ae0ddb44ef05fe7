"""Suggests the path that a client probably meant by one that does not exist.

The usual mistake is a base URL without `/v1`, with `/v1` twice, or with the prefix of another server.
"""

from __future__ import annotations

from collections.abc import Iterable

BELOW = "/v1/"


def hint(path: str, known: Iterable[str]) -> str:
    """Return a hint to append to the error for an unknown path, or "" if no path in `known` is similar.

    A path is similar to one below `/v1/` if it ends in the same names, whatever prefix the client has put before them.
    """
    paths = [one for one in known if one.startswith(BELOW)]
    names = [name for name in path.lower().split("/") if name]
    if not names:
        return ""
    if names == ["v1"]:
        return f"; below it are {', '.join(sorted(paths))}"
    # Longer paths are tried first, because `/chat/completions` also ends in `/completions`.
    for one in sorted(paths, key=len, reverse=True):
        end = one.removeprefix(BELOW).split("/")
        if names[-len(end) :] == end:
            return f"; did you mean {one}?"
    if names[0] == "models":
        return f"; did you mean {BELOW}{path.strip('/')}?"
    return ""
