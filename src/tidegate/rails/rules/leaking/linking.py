"""Images and links in Markdown, HTML and style sheets, and addresses that stand in a text."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from tidegate.kernel.matching import Beginnings, Match, Pattern, PatternSet
from tidegate.rails.rules.leaking.addresses import Address, Hosts, address_of, carries_data
from tidegate.types.verdict import Span

IMAGE_LINK: Final = "IMAGE_LINK"
DATA_LINK: Final = "DATA_LINK"
SCRIPT_LINK: Final = "SCRIPT_LINK"
FALSE_LINK: Final = "FALSE_LINK"
OTHER_LINK: Final = "LINK"
_SCORES: Final = {SCRIPT_LINK: 1.0, IMAGE_LINK: 0.9, DATA_LINK: 0.8, FALSE_LINK: 0.7, OTHER_LINK: 0.6}

MOST_TEXT: Final = 100
"""The longest text of a link, in characters. One with a longer text is judged as an image, which is stricter."""
CONTEXT_CHARS: Final = MOST_TEXT + 8
_TEXT: Final = rf"\[(?:[^\[\]\n\\]|\\.|\[[^\[\]\n]*\]){{0,{MOST_TEXT}}}\]"
_TARGET: Final = r"\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)"
_SHOWN: Final = rf"[^<>]{{0,{MOST_TEXT}}}(?:<[^<>/]{{1,40}}>[^<>]{{0,{MOST_TEXT}}}){{0,2}}(?:</[^<>a][^<>]{{0,20}}>){{0,2}}"
_LOADING: Final = (
    "img|image|iframe|frame|script|link|embed|object|video|audio|source|track|input|form|base|meta|body|table|td"
    "|svg|use"
)
_IMAGE, _LINK, _ORPHAN, _REFERENCE, _DEFINITION, _TAG, _ANCHOR, _STYLE, _BARE = (
    "image", "link", "orphan", "reference", "definition", "tag", "anchor", "style", "bare"
)  # fmt: skip
LINKING: Final = (
    Pattern(_IMAGE, rf"!{_TEXT}{_TARGET}"),
    Pattern(_LINK, rf"{_TEXT}{_TARGET}"),
    Pattern(_ORPHAN, rf"\]{_TARGET}"),
    Pattern(_REFERENCE, rf"!\[[^\[\]\n]{{0,{MOST_TEXT}}}\](?:\[[^\[\]\n]{{0,{MOST_TEXT}}}\])?"),
    Pattern(_DEFINITION, rf"\[[^\[\]\n]{{1,{MOST_TEXT}}}\]:[ \t\n]{{0,8}}[^\s]+"),
    Pattern(_TAG, rf"""<(?:{_LOADING})[\s/](?:[^<>"']|"[^"]*"|'[^']*')*>""", ignore_case=True),
    Pattern(_TAG, rf"<(?:{_LOADING})[\s/][^<>]*>", ignore_case=True),
    Pattern(_ANCHOR, rf"<(?:a|area)\s[^<>]*>(?:{_SHOWN}</a[^<>]*>)?", ignore_case=True),
    Pattern(_STYLE, r"""url\(\s*["']?[^\s"')]+""", ignore_case=True),
    Pattern(_BARE, r"""(?:(?:https?|ftp|wss?):[/\\]|www\.)[^\s<>"'`\[\]]+""", ignore_case=True),
)
"""What a link may be. All of these are found; whether one is objected to depends on its address."""
SIGNS: Final = (
    r"(?i)(?:https?|ftp|wss?):[/\\]", r"(?i)www\.", r"\]\(", r"\]:", r"!\[", r"(?i)url\(",
    rf"(?i)<(?:a|area|{_LOADING})[\s/]"
)  # fmt: skip
"""What every one of them has, for RE2."""

_ATTRIBUTE: Final = re.compile(
    r"""(?i)\b(src|srcset|href|poster|data|action|formaction|background|content|style)\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)"""
)
_IN_STYLE: Final = re.compile(r"""(?i)url\(\s*["']?([^\s"')]+)""")
_IN_CONTENT: Final = re.compile(r"""(?i)url\s*=\s*["']?([^\s"']+)""")
_NAMED: Final = re.compile(
    r"[\s*_~`]*(?:<[^>]*>\s*)*(?:(?:https?://|www\.)(?P<host>[^\s/?#<>\]*_~`]+)|(?P<bare>[a-z0-9-]+(?:\.[a-z0-9-]+)*"
    r"\.(?:com|org|net|edu|gov|bank))(?=[\s/?#<\]*_~`]|$))"
)
"""A text of a link that names a host. Without a scheme, only where it can be nothing else: `Node.js` is none."""
_BRACKET: Final = re.compile(r"[\[\]]")
_AT_THE_END: Final = ".,;:!?)*_~"


@lru_cache(maxsize=1)
def _patterns() -> PatternSet:
    """Return the patterns as a set. It takes long to make, and never changes."""
    return PatternSet(LINKING)


@lru_cache(maxsize=4)
def growing_links(max_chars: int) -> Beginnings:
    """Return the test for links that are not complete."""
    return Beginnings(LINKING, max_chars=max_chars)


class LinkSearch:
    """The search for links that are objected to."""

    def __init__(self, allowed: Hosts, *, images: str, links: str, longest_value: int) -> None:
        self._allowed = allowed
        self._images = images
        self._links = links
        self._longest_value = longest_value
        self._patterns = _patterns()
        self._kinds: Mapping[str, Callable[[str, Match], str]] = {
            _IMAGE: lambda text, one: self._image(_target(_said(text, one))),
            _LINK: self._inline,
            _REFERENCE: self._reference,
            _DEFINITION: lambda text, one: self._link(
                _said(text, one).partition("]:")[2].strip().strip("<>")
            ),
            _TAG: lambda text, one: _first(map(self._image, _addresses(_said(text, one)))),
            _ANCHOR: self._anchor,
            _STYLE: self._style,
            _BARE: lambda text, one: self._link(_said(text, one), shown=False),
        }

    def find(self, text: str, start: int) -> Sequence[Span]:
        """Return the links that begin at `start` or later and are objected to. They may overlap."""
        # What stands before `start` says whether the end of a link belongs to one whose beginning is known.
        matches = [
            one._replace(end=_before_signs(text, one)) if one.name == _BARE else one
            # Both patterns of tags find most of them.
            for one in dict.fromkeys(self._patterns.find(text, 0))
        ]
        known = [(one.start, one.end) for one in matches if one.name == _LINK]
        opened: Mapping[int, int] | None = None
        found: list[Span] = []
        for one in matches:
            if one.start < start:
                continue
            if one.name == _ORPHAN:
                if _is_within(one.start, known):
                    continue
                opened = _opened(text) if opened is None else opened
                kind = self._orphan(text, one, opened.get(one.start, -1))
            else:
                kind = self._kinds[one.name](text, one)
            if kind:
                found.append(Span(one.start, one.end, kind, _SCORES[kind]))
        return found

    def _inline(self, text: str, one: Match) -> str:
        if one.start and text[one.start - 1] == "!":
            return ""
        said = _said(text, one)
        target = _target(said)
        return self._link(target) or self._false(said[1 : said.rfind("](")], target)

    def _orphan(self, text: str, one: Match, at: int) -> str:
        """The end of a link or image whose text has line ends, or is long. Its bracket opens at `at`, if not at -1."""
        target = _target(_said(text, one))
        first = max(one.start - MOST_TEXT, 0)
        if at < first:
            # Where the text itself begins within a link, as a part of a longer one may, the part before had all of it.
            return self._image(target) if first else ""
        return self._image(target) if text[at - 1 : at] == "!" else self._link(target)

    def _reference(self, text: str, one: Match) -> str:
        """An image whose address stands elsewhere. `vec![1]` is a macro of Rust."""
        is_macro = one.start > 0 and text[one.start - 1].isalnum()
        is_inline = text[one.end : one.end + 1] == "("
        return "" if self._images == "data" or is_macro or is_inline else IMAGE_LINK

    def _anchor(self, text: str, one: Match) -> str:
        tag, _, rest = _said(text, one).partition(">")
        shown = rest.rpartition("</")[0]
        return _first(self._link(url) or self._false(shown, url) for url in _addresses(tag))

    def _style(self, text: str, one: Match) -> str:
        url = _said(text, one).partition("(")[2].lstrip("\"' \t\n")
        return self._image(url) if address_of(url).host else ""

    def _image(self, url: str) -> str:
        if self._images == "block":
            return IMAGE_LINK
        address = address_of(url)
        if address.runs:
            return "" if address.scheme == "data" and address.rest.startswith("image/") else SCRIPT_LINK
        return self._remote(address, self._images, IMAGE_LINK, shown=True)

    def _link(self, url: str, *, shown: bool = True) -> str:
        address = address_of(url)
        return SCRIPT_LINK if address.runs else self._remote(address, self._links, OTHER_LINK, shown=shown)

    def _remote(self, address: Address, policy: str, kind: str, *, shown: bool) -> str:
        if not address.host or (policy != "block" and address.host in self._allowed):
            return ""
        if kind != OTHER_LINK and policy != "data":
            return kind
        if carries_data(address, longest_value=self._longest_value, shown=shown):
            return DATA_LINK if kind == OTHER_LINK else kind
        return "" if policy == "data" else kind

    def _false(self, text: str, url: str) -> str:
        """Whether a link's text names another host than the one that it leads to."""
        named = _NAMED.match(text)
        host = address_of(url).host
        if named is None or not host or host in self._allowed:
            return ""
        said = address_of(f"//{named['host'] or named['bare']}").host
        one, other = said.removeprefix("www."), host.removeprefix("www.")
        return "" if one == other or one.endswith(f".{other}") or other.endswith(f".{one}") else FALSE_LINK


def _is_within(at: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Return whether a place is within one of some ranges, which are in order and do not overlap."""
    before = bisect_left(ranges, (at, 0)) - 1
    return before >= 0 and at < ranges[before][1]


def _opened(text: str) -> Mapping[int, int]:
    """Return where the bracket opens that is closed at each place where one is."""
    opened: dict[int, int] = {}
    waiting: list[int] = []
    for found in _BRACKET.finditer(text):
        at = found.start()
        if text[at] == "[":
            waiting.append(at)
        elif waiting:
            opened[at] = waiting.pop()
    return opened


def _said(text: str, one: Match) -> str:
    return text[one.start : one.end]


def _first(kinds: Iterable[str]) -> str:
    return next(filter(None, kinds), "")


def _before_signs(text: str, one: Match) -> int:
    """Return the end of an address without the signs behind it, which belong to the sentence."""
    return one.start + len(_said(text, one).rstrip(_AT_THE_END))


def _target(said: str) -> str:
    """Return the address in `[text](address "title")`."""
    target = said[said.rfind("](") + 2 : -1].strip()
    if target.startswith("<"):
        return target[1:].partition(">")[0]
    return target.partition(' "')[0].partition(" '")[0].strip()


def _addresses(tag: str) -> Iterator[str]:
    """Yield the addresses in the attributes of a tag."""
    for name, value in _ATTRIBUTE.findall(tag):
        said = value.strip("\"'")
        if name.lower() == "srcset":
            yield from (one.split()[0] for one in said.split(",") if one.strip())
        elif name.lower() == "style":
            yield from _IN_STYLE.findall(said)
        elif name.lower() == "content":
            yield from _IN_CONTENT.findall(said)
        else:
            yield said
