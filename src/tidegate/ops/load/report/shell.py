"""The frame of a report: one self-contained HTML page, which loads no font, picture or script.

A content security policy in the page forbids every request. The page's script only shows values under the pointer; all else
works without it.
"""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Literal

from tidegate.ops.load.report.markup import Html, tag

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_SIGNS = {"passed": "✓", "failed": "✗", "unjudged": "•"}


def document(title: str, *, top: Html, sections: list[Html]) -> str:
    """Return a whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", _file("page.css")),
    )
    body = tag("body", top, tag("main", *sections), tag("script", _file("page.js")))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def banner(kind: Literal["passed", "failed", "unjudged"], *said: object) -> Html:
    """Return the verdict in a coloured box."""
    sign = tag("span", _SIGNS[kind], class_="sign", aria_hidden="true")
    return tag("div", sign, tag("p", *said), class_=f"verdict {kind}")


def alarm(text: str) -> Html:
    """Return a reason to doubt the figures, in a box that stands out."""
    sign = tag("span", "!", class_="sign", aria_hidden="true")
    return tag("div", sign, tag("p", text), class_="verdict warning", role="alert")


def section(title: str, about: str, *inside: Html | None) -> Html | None:
    """Return a section with a heading, or None if there is nothing in it."""
    present = [part for part in inside if part]
    if not present:
        return None
    return tag("section", tag("h2", title), tag("p", about, class_="about") if about else None, *present)


def timelines(title: str, about: str, charts: list[Html]) -> Html | None:
    """Return a section with charts below each other, each as wide as the page."""
    return section(title, about, tag("div", *charts, class_="timelines") if charts else None)


def scrolling(head: Html, rows: list[Html], kind: str) -> Html:
    """Return a table in a box that scrolls sideways on a narrow page."""
    return tag("div", tag("table", head, tag("tbody", *rows), class_=kind), class_="scroll", tabindex="0")


def download(data: bytes, name: str, text: str) -> Html:
    """Return a link that saves JSON which is part of the page."""
    encoded = base64.b64encode(data).decode()
    return tag("a", text, href=f"data:application/json;base64,{encoded}", download=name)


def _file(name: str) -> Html:
    return Html(files("tidegate.ops.load.report").joinpath(name).read_text("utf-8"))
