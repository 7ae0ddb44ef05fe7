"""For a path that is not there: the one that its client probably meant.

Most often the base URL lacks its `/v1`, or has it twice, or has what another server wants in its place.
"""

from __future__ import annotations

from collections.abc import Iterable

BELOW = "/v1/"


def hint(path: str, known: Iterable[str]) -> str:
    """What to say of a path beside that it does not exist; `known` are the paths that do, empty where nothing comes near.

    A path comes near one below `/v1/` when both end in the same names, whatever the client has put before them.
    """
    paths = [one for one in known if one.startswith(BELOW)]
    names = [name for name in path.lower().split("/") if name]
    if not names:
        return ""
    if names == ["v1"]:
        return f"; below it are {', '.join(sorted(paths))}"
    # The longest first: `/chat/completions` is not `/completions`.
    for one in sorted(paths, key=len, reverse=True):
        end = one.removeprefix(BELOW).split("/")
        if names[-len(end) :] == end:
            return f"; did you mean {one}?"
    if names[0] == "models":
        return f"; did you mean {BELOW}{path.strip('/')}?"
    return ""
