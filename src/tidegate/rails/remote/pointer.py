"""JSON pointers (RFC 6901): where in a document a value stands. Pure."""

from __future__ import annotations

import re
from typing import Any, cast

_INDEX = re.compile(r"0|[1-9][0-9]*")
_BAD_ESCAPE = re.compile(r"~(?![01])")


class NotThere(LookupError):
    """The document has nothing at this place."""


class Pointer:
    """One pointer, such as `/results/0/flagged`. The empty one stands for the whole document."""

    def __init__(self, source: str) -> None:
        """Raises ValueError, which says what is wrong, if it is not a pointer."""
        if source and not source.startswith("/"):
            raise ValueError(
                f"'{source}' is not a JSON pointer: it has to begin with /, such as /result/score"
            )
        if _BAD_ESCAPE.search(source):
            raise ValueError(f"'{source}' is not a JSON pointer: write ~0 for ~, and ~1 for a / in a name")
        self.source = source
        self._names = [name.replace("~1", "/").replace("~0", "~") for name in source.split("/")[1:]]

    def of(self, document: Any) -> Any:
        """Return the value in a document. Raises NotThere."""
        found = document
        for name in self._names:
            if isinstance(found, dict) and name in found:
                found = cast("dict[str, Any]", found)[name]
            elif isinstance(found, list) and _INDEX.fullmatch(name) and len(name) < 10:
                items = cast("list[Any]", found)
                if int(name) >= len(items):
                    raise NotThere(self.source)
                found = items[int(name)]
            else:
                raise NotThere(self.source)
        return found
