import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.accuracy import measure
from rails.found import SCENE, kinds, streamed, whole
from rails.written import sentences

from tidegate.kernel.matching import Pattern
from tidegate.kernel.text import Views
from tidegate.rails.finders import as_it_is, by_patterns
from tidegate.rails.rules.pii import Pii, PiiConfig
from tidegate.rails.rules.recognizers.personal import ENTITIES
from tidegate.rails.streams.joint import JointSearch
from tidegate.rails.streams.spans import SpanScanner

PII = Pii(PiiConfig())
EVERYTHING = Pii(PiiConfig(entities=tuple(sorted(ENTITIES))))

EXAMPLES = {
    "Please write to jane.doe+x@mail.example.co.uk.": ("jane.doe+x@mail.example.co.uk", "EMAIL_ADDRESS"),
    "Kontakt: <max@müller.example.de>, danke": ("max@müller.example.de", "EMAIL_ADDRESS"),
    "Call 555-0123 now": ("555-0123", "PHONE_NUMBER"),
    "The line is 201-555-0123 x12, I think": ("201-555-0123 x12", "PHONE_NUMBER"),
    "Sie erreichen mich unter 030 901820.": ("030 901820", "PHONE_NUMBER"),
    "0171 2345678 (mobile)": ("0171 2345678", "PHONE_NUMBER"),
    "It is +49 30 901820.": ("+49 30 901820", "PHONE_NUMBER"),
    "電話番号は03-1234-5678です": ("03-1234-5678", "PHONE_NUMBER"),
    "Pay with 4111 1111 1111 1111, please": ("4111 1111 1111 1111", "CREDIT_CARD"),
    "I lost my card 4929717705917890": ("4929717705917890", "CREDIT_CARD"),  # invalid by its check digit
    "to DE89 3704 0044 0532 0130 00 by then": ("DE89 3704 0044 0532 0130 00", "IBAN_CODE"),
    "My iban is gb82west12345698765432": ("gb82west12345698765432", "IBAN_CODE"),
    "It is 536-90-4399.": ("536-90-4399", "US_SSN"),
    "social security number 536904399": ("536904399", "US_SSN"),
    "from 192.168.10.12:8080 on": ("192.168.10.12", "IP_ADDRESS"),
    "from 2001:db8:85a3::8a2e:370:7334 on": ("2001:db8:85a3::8a2e:370:7334", "IP_ADDRESS"),
    "the device 00:1A:2B:3C:4D:5E": ("00:1A:2B:3C:4D:5E", "MAC_ADDRESS"),
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 got it": ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "CRYPTO"),
    "NHS number 943 476 5919": ("943 476 5919", "UK_NHS"),
    "El titular es 12345678Z.": ("12345678Z", "ES_NIF"),
    "codice RSSMRA85T10A562S": ("RSSMRA85T10A562S", "IT_FISCAL_CODE"),
    "Steuer-ID 36574261809": ("36574261809", "DE_TAX_ID"),
    "PESEL 44051401359": ("44051401359", "PL_PESEL"),
    "O cliente 390.533.447-05 pagou": ("390.533.447-05", "BR_CPF"),
    "AHV 756.9217.0769.85": ("756.9217.0769.85", "CH_AHV"),
}

HARMLESS = (
    "Version 1.2.3.4 follows 1.2.3, v10.0.1.2 and 2.20.1.",
    "On 2024-01-31 at 12:30:45, on 31.01.2024 or 01/31/2024; 20240131T123045Z, 2019-2024.",
    "550e8400-e29b-41d4-a716-446655440000",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8, md5 d41d8cd98f00b204e9800998ecf8427e",
    "It costs $1,299.00, 1.299,00 €, 12 500 000 zł or ¥1,200,000.",
    "Order 4929717705917890 ships with tracking 1234567890123456.",
    "Order number 20240131-5550123, invoice INV-2024-001234, ticket #5550123.",
    "for i in range(1000000): x[i] = 3.14159265 * 0x7fffffff + 1e-9",
    "std::vector<int>::iterator it = a::b::begin(); 12:30:45 10:20",
    "127.0.0.1, 0.0.0.0, ::1, 10.0.0.0/8 and 255.255.255.0 name nobody.",
    "@decorator, user@host, a@b, me@localhost:8080, git@, @types/node@18.0.0",
    "1700000000000 ms, 1700000000 s, 640x480, 12345-6789, ISBN 978-3-16-148410-0",
    "RFC 9111, section 4.2; 100-200 pages, 7 of 12, 50 %, 3/4 and -273.15 degrees.",
)


@pytest.mark.parametrize("text", EXAMPLES)
def test_each_entity_is_found(text):
    assert kinds(PII, text) == [EXAMPLES[text]]


@pytest.mark.parametrize("text", HARMLESS)
def test_usual_text_has_no_personal_data(text):
    assert kinds(PII, text) == []


@given(
    st.dates(), st.times(), st.uuids(), st.binary(min_size=20, max_size=20), st.decimals(0, 10**6, places=2)
)
def test_made_dates_hashes_and_prices_have_no_personal_data(date, time, uuid, digest, price):
    version = f"{date.month}.{date.day}.{time.minute}"
    text = f"{date} {time:%H:%M:%S} {date:%d.%m.%Y} {uuid} {digest.hex()} ${price:,} v{version} {version}.{time.second}-rc1"
    assert [one for one in kinds(PII, text) if one[1] != "IP_ADDRESS"] == []


def test_what_is_folded_is_found_where_it_stands():
    card = "\uff14\uff11\uff11\uff11-1111-1111-11\u200b11"  # digits in full width, and an invisible character
    text = f"My card: {card}!"
    [span] = whole(PII, text)
    assert (span.kind, text[span.start : span.end]) == ("CREDIT_CARD", card)


def test_settings_choose_entities_scores_regions_and_exceptions():
    text = "Write to a.b@example.com or to Help@example.com from 10.1.2.3"
    only = Pii(PiiConfig(entities=("EMAIL_ADDRESS",), allow=("help@EXAMPLE.com",)))
    assert kinds(only, text) == [("a.b@example.com", "EMAIL_ADDRESS")]
    assert kinds(Pii(PiiConfig(score_threshold=0.9)), text) == [
        ("a.b@example.com", "EMAIL_ADDRESS"),
        ("Help@example.com", "EMAIL_ADDRESS"),
    ]
    at_home = "06 12 34 56 78 again"
    assert kinds(Pii(PiiConfig(regions=("FR",))), at_home) == [("06 12 34 56 78", "PHONE_NUMBER")]
    assert kinds(Pii(PiiConfig(regions=("US",))), at_home) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"entities": ("EMAIL",)}, "has no entity 'EMAIL'; there are: ABA_ROUTING_NUMBER"),
        ({"regions": ("UK",)}, "has no region 'UK': write the two capital letters of a country, such as US"),
        ({"entities": ()}, "at least 1 item"),
    ],
)
def test_mistakes_in_the_settings_are_named(settings, says):
    with pytest.raises(ValidationError, match=says):
        PiiConfig(**settings)


def test_urls_and_hosts_are_found_on_request():
    assert kinds(PII, "See https://example.com/a?b=c and example.org.") == []
    assert kinds(EVERYTHING, "See (https://example.com/a?b=c), and www.example.org.") == [
        ("https://example.com/a?b=c", "URL"),
        ("www.example.org", "DOMAIN_NAME"),
    ]


def test_a_verdict_names_the_surest_kind_and_no_text_of_the_user():
    verdict = PII.check(*_seen("a.b@example.com from 10.1.2.3"))
    assert (verdict.passed, verdict.category, verdict.score, verdict.reason) == (
        False,
        "EMAIL_ADDRESS",
        1.0,
        "personal data",
    )
    assert PII.check(*_seen("nothing")).passed


def _seen(text):
    return Views(text), SCENE


@pytest.mark.parametrize("rail", [PII, EVERYTHING], ids=["usual", "everything"])
@pytest.mark.parametrize("text", EXAMPLES)
def test_splitting_a_stream_anywhere_leaks_nothing(rail, text):
    text = f"{text} And that is all."
    expected = whole(rail, text)
    for at in range(len(text) + 1):
        found, clear = streamed(rail, (text[:at], text[at:]))
        assert found == expected, at
        assert not any(span.start < clear[0] < span.end for span in expected), at


@given(
    st.lists(
        st.sampled_from([*EXAMPLES, *HARMLESS]) | st.text("0123456789 -.:@ax+()", max_size=12), max_size=6
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
)
def test_a_stream_has_the_spans_of_its_text(parts, sizes):
    text = " ".join(parts)
    events, at = [], 0
    while at < len(text):
        size = sizes[len(events) % len(sizes)]
        events.append(text[at : at + size])
        at += size
    found, clear = streamed(PII, events)
    assert [(one.start, one.end) for one in found] == [(one.start, one.end) for one in whole(PII, text)]
    assert clear == sorted(clear)
    assert clear[-1] == len(text)


def test_most_text_of_a_stream_is_released_at_once():
    words = [
        "Rome",
        "was",
        "not",
        "built",
        "in",
        "a",
        "day",
        ",",
        "they",
        "say",
        ",",
        "nor",
        "in",
        "ten",
        "of",
        "them",
    ]
    _, clear = streamed(PII, [f" {word}" for word in words])
    arrived = [sum(len(word) + 1 for word in words[: at + 1]) for at in range(len(words))]
    held = [total - released for total, released in zip(arrived, clear[:-1], strict=True)]
    assert all(
        kept <= len(word) for kept, word in zip(held, words, strict=True)
    )  # the word that may begin an address


def test_sentences_of_ten_locales():
    scores = {one.entity: one.counts for one in measure(sentences(500))}
    assert scores["all"].f1 >= 0.97
    assert all(counts.f1 >= 0.95 for counts in scores.values())


def test_words_before_a_number_count_in_a_joint_search_too():
    events = ["My", " phone", " number", " is", " now", " 555-", "0123", " again."]
    scanners = [PII.scanner(), SpanScanner(by_patterns([Pattern("LONG", r"zzz\d")]), as_it_is)]
    search = JointSearch.of(scanners)
    assert search is not None
    joint = search.joint(scanners)
    found = []
    for event in events:
        if joint.clear_after(event) < 0:
            found += [span for scanner in scanners for span in scanner.feed(event).found]
            joint.rest()
    text = "".join(events)
    assert [text[span.start : span.end] for span in found] == ["555-0123"]
