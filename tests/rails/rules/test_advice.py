"""The rail `advice`: sentences that treat or defend somebody, and information that does not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rails.found import SCENE, streamed, whole

from tidegate.kernel.text import Views
from tidegate.rails.rules.wording.advice import AdviceConfig, AdviceRail

RAIL = AdviceRail(AdviceConfig())
MEDICAL = AdviceRail(AdviceConfig(categories=("medical",)))
LEGAL = AdviceRail(AdviceConfig(categories=("legal",)))

SHOULD = (
    "You should",
    "You must",
    "I recommend that you",
    "You can safely",
    "It's best to",
    "You should just",
)
DOSES = ("400 mg", "two tablets", "0.5 mg", "1,000 mcg", "2 capsules", "20-40 mg", "a pill")
MEDICINES = (
    "ibuprofen",
    "amoxicillin",
    "Lisinopril",
    "your insulin",
    "the antibiotics",
    "sertraline tablets",
)
DISEASES = (
    "diabetes",
    "the flu",
    "type 2 diabetes",
    "strep throat",
    "a urinary tract infection",
    "clinical depression",
)
ACTS = (
    "sue your landlord",
    "plead guilty",
    "plead not guilty",
    "settle out of court",
    "file a lawsuit",
    "press charges",
    "sign the agreement",
    "refuse to testify",
    "stop paying rent",
    "take them to court",
)


def medical() -> Iterator[str]:
    for should, dose, medicine in product(SHOULD, DOSES, MEDICINES):
        yield f"{should} take {dose} of {medicine} every day."
    for dose, medicine in product(DOSES, MEDICINES):
        yield f"Take {dose} of {medicine} twice a day."
        yield f"Please take {dose} after meals."
        yield f"I'd recommend taking {dose} of {medicine}."
    for should, medicine in product(SHOULD, MEDICINES):
        yield f"{should} stop taking {medicine}."
        yield f"{should} double the dose of {medicine}."
        yield f"{should} switch to {medicine}."
    for disease in DISEASES:
        yield f"You have {disease}."
        yield f"From what you tell me, you most likely have {disease}."
        yield f"This is clearly {disease}."
        yield f"You are suffering from {disease}."
        yield f"My diagnosis is {disease}."
    yield "Stop taking your antidepressants."
    yield "You don't need to see a doctor."
    yield "Sie sollten 400 mg Ibuprofen einnehmen."
    yield "Nehmen Sie 400 mg Ibuprofen."
    yield "Setzen Sie die Tabletten ab."
    yield "Sie haben eine Lungenentzündung."
    yield "Debería tomar 400 mg de ibuprofeno."
    yield "Deje de tomar sus antidepresivos."
    yield "Usted tiene diabetes."
    yield "Vous devriez prendre 400 mg d'ibuprofène."
    yield "Arrêtez votre traitement."
    yield "Vous avez une pneumonie."


def legal() -> Iterator[str]:
    strong = [one for one in SHOULD if one != "You can safely"]
    for should, act in product(strong, ACTS):
        yield f"{should} {act}."
        yield f"After all that, {should[0].lower()}{should[1:]} {act} now."
    for act in ACTS:
        yield f"{act.capitalize()}."
        yield f"Then {act}."
    yield "You should not sign the waiver."
    yield "Don't sign that contract."
    yield "I would recommend suing."
    yield "You have a strong case."
    yield "You will definitely win the lawsuit."
    yield "You are not legally liable."
    yield "You don't need a lawyer."
    yield "Sie sollten Ihren Vermieter verklagen."
    yield "Sie sollten den Vertrag nicht unterschreiben."
    yield "Debería demandar a su jefe."
    yield "Vous devriez porter plainte."
    yield "Vous devez signer le contrat."


ADVICE = {"medical": tuple(medical()), "legal": tuple(legal())}
HARMLESS = (
    "You should see a doctor.",
    "Please talk to your pharmacist before you change anything.",
    "You should ask a lawyer whether you should sue.",
    "Ask your doctor if you should take 400 mg.",
    "Do not stop taking your medication without talking to your doctor.",
    "You should never stop taking your antidepressants without your doctor.",
    "Take 20 mg only as prescribed by your doctor.",
    "You should take 20 mg a day unless your doctor has told you otherwise.",
    "The usual dose for adults is 200 to 400 mg every six hours.",
    "Adults usually take 400 mg; children take less.",
    "Ibuprofen is a medicine for pain and fever.",
    "If you have diabetes, eat regularly.",
    "When you have the flu, rest helps.",
    "Do you have asthma?",
    "People who have depression often sleep badly.",
    "Some people have to stop taking statins.",
    "I cannot say whether you have pneumonia.",
    "You should take a break, drink water and sleep.",
    "Take 200 g of flour and two teaspoons of sugar.",
    "You can use a tablet or a phone.",
    "Take a look at the second page.",
    "You should take the second bus, then the train.",
    "You have a new message.",
    "You have to sign in first, then sign up for the newsletter.",
    "Sign the commit with your key.",
    "You should sign the package before you upload it.",
    "A contract is binding when both parties sign it.",
    "In many countries, tenants may withhold rent; a lawyer can tell you more.",
    "He decided to sue the company and won the lawsuit.",
    "To sue somebody means to go before a court.",
    "She pleaded guilty in 1999.",
    "You should settle the invoice by Friday.",
    "You should apply the patch and restart the server.",
    "Sie sollten einen Arzt fragen.",
    "Fragen Sie Ihren Arzt, ob Sie 400 mg nehmen sollten.",
    "Wenn Sie Diabetes haben, essen Sie regelmäßig.",
    "Debería consultar a un médico.",
    "Si usted tiene diabetes, consulte a su médico.",
    "Vous devriez consulter un avocat.",
    "Si vous avez une grippe, reposez-vous.",
)


def passes(rail: AdviceRail, text: str) -> bool:
    return rail.check(Views(text), SCENE).passed


def test_the_corpus_is_large() -> None:
    assert len(ADVICE["medical"]) > 400
    assert len(ADVICE["legal"]) > 100


@pytest.mark.parametrize("category", ["medical", "legal"])
def test_all_advice_is_found_by_the_rail_of_its_category_alone(category: str) -> None:
    mine, other = (MEDICAL, LEGAL) if category == "medical" else (LEGAL, MEDICAL)
    for text in ADVICE[category]:
        verdict = RAIL.check(Views(text), SCENE)
        assert (verdict.passed, verdict.category) == (False, category), text
        assert not passes(mine, text), text
        assert passes(other, text), text


@pytest.mark.parametrize("text", HARMLESS)
def test_information_and_caution_pass(text: str) -> None:
    assert passes(RAIL, text)
    assert streamed(RAIL, list(text))[0] == []


def test_nothing_of_advice_is_clear_in_a_stream_before_it_is_found() -> None:
    draw = random.Random(14)
    every = [*ADVICE["medical"], *ADVICE["legal"]]
    for text in draw.sample(every, 150):
        said = f"{draw.choice(HARMLESS)} {text} {draw.choice(HARMLESS)}"
        spans = whole(RAIL, said)
        assert spans, said
        cuts = sorted(draw.sample(range(1, len(said)), 20))
        events = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
        found, clear = streamed(RAIL, events)
        assert found == spans, said
        told = 0
        scanner = RAIL.scanner()
        for event in events:
            scan = scanner.feed(event)
            told += len(scan.found)
            if not told:
                assert scan.clear <= spans[0].start, said
        assert clear[-1] == len(said)


def test_disguises_are_seen_through() -> None:
    assert not passes(RAIL, "You sh\u200bould t\u0430ke 400 mg of ibuprofen.")
    assert not passes(RAIL, "You should take **400 mg** of ibuprofen.")
    assert not passes(RAIL, "You should\ntake 400 mg of ibuprofen.")


WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            ["You should ", "take ", "400 mg", ". ", "if ", "as prescribed ", "sue ", "stop taking "]
        ),
        st.sampled_from(
            ["your pills", "0", ".", "5 mg ", "\u00e9", "\u200b", "Take ", "two pills ", "and ", "sign "]
        ),
        st.sampled_from(["the contract", "\n", "you have ", "diabetes"]),
    ),
    max_size=14,
)


@settings(max_examples=150)
@given(WORDS)
def test_streams_and_whole_texts_are_judged_alike(events: list[str]) -> None:
    rail: Any = RAIL
    assert streamed(rail, events)[0] == whole(rail, "".join(events))
