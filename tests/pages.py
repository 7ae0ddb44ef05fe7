"""HTML pages as tests read them: strictly, every element closed in order, text apart from markup."""

from __future__ import annotations

from html.parser import HTMLParser

WITHOUT_END = {"meta", "br", "hr", "link", "img", "input"}
HOSTILE = """</title></style></script><script>alert(1)</script><img src=x onerror=alert(2)>" onload="x' &amp; ${7}"""
"""Text that an engine may send, to break out of every place of a page."""


class Page(HTMLParser):
    """Reads a page strictly: every element that begins must end, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.cells: list[list[str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in WITHOUT_END:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in {"td", "th"}:
            self.cells[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"script", "style"}:
            self.words.append(data)
            if {"td", "th"} & set(self.open):
                self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, head: str) -> list[str]:
        return next(cells for cells in self.cells if cells[0] == head)
