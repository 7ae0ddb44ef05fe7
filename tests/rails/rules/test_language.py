"""The rail `language`: sentences of many languages, and texts that are no language."""

# ruff: noqa: RUF001  (sentences in scripts whose letters look like Latin ones)

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rails.found import SCENE, whole

from tidegate.kernel.text import Views
from tidegate.rails.rules.wording.language import Language, LanguageConfig

SAID = {
    "en": "My card was swallowed by the machine yesterday, so what should I do now?",
    "de": "Meine Karte wurde gestern am Automaten eingezogen, was soll ich jetzt tun?",
    "fr": "Ma carte a été avalée hier par le distributeur, que dois-je faire maintenant?",
    "es": "Mi tarjeta fue retenida ayer por el cajero, ¿qué debo hacer ahora?",
    "it": "La mia carta è stata trattenuta ieri dal bancomat, cosa devo fare adesso?",
    "pt": "O meu cartão ficou retido ontem na caixa automática, o que devo fazer agora?",
    "nl": "Mijn pas is gisteren door de automaat ingeslikt, wat moet ik nu doen?",
    "sv": "Mitt kort fastnade i automaten i går, vad ska jag göra nu?",
    "da": "Mit kort sidder fast i automaten siden i går, hvad skal jeg gøre nu?",
    "nb": "Kortet mitt ble sittende fast i automaten i går, hva skal jeg gjøre nå?",
    "pl": "Moja karta została wczoraj zatrzymana przez bankomat, co mam teraz zrobić?",
    "cs": "Bankomat mi včera spolkl kartu, co mám teď dělat?",
    "tr": "Kartım dün bankamatikte kaldı, şimdi ne yapmalıyım?",
    "fi": "Korttini jäi eilen automaattiin, mitä minun pitää nyt tehdä?",
    "ro": "Cardul meu a fost reținut ieri de bancomat, ce trebuie să fac acum?",
    "hu": "A kártyámat tegnap elnyelte az automata, most mit tegyek?",
    "id": "Kartu saya tertelan mesin kemarin, apa yang harus saya lakukan sekarang?",
    "ru": "Моя карта вчера застряла в банкомате, что мне теперь делать?",
    "uk": "Моя картка вчора застрягла в банкоматі, що мені тепер робити?",
    "bg": "Картата ми заседна вчера в банкомата, какво трябва да направя сега?",
    "el": "Η κάρτα μου κρατήθηκε χθες από το μηχάνημα, τι να κάνω τώρα;",
    "he": "הכרטיס שלי נבלע אתמול בכספומט, מה עליי לעשות עכשיו?",
    "ar": "علقت بطاقتي أمس في جهاز الصراف، ماذا أفعل الآن؟",
    "fa": "کارت من دیروز در دستگاه گیر کرد، حالا چه کار باید بکنم؟",
    "hi": "मेरा कार्ड कल एटीएम में फंस गया, अब मुझे क्या करना चाहिए?",
    "th": "บัตรของฉันถูกตู้เอทีเอ็มยึดเมื่อวาน ฉันควรทำอย่างไร",
    "zh": "我的卡昨天被自动取款机吞了，我现在应该怎么办？",
    "ja": "昨日カードがATMに飲み込まれました。どうすればいいですか。",
    "ko": "어제 카드가 현금인출기에 걸렸어요, 이제 어떻게 해야 하나요?",
}
CLOSE = ({"da", "nb", "sv"}, {"ru", "uk", "bg"}, {"es", "pt"}, {"en", "nl"})
NO_LANGUAGE = (
    "Danke schön!",
    "C'est la vie.",
    "`for wert in liste_der_werte: drucke(wert)`",
    "```python\nfür = das_ist_ein_wort\nund_noch_ein_langes_wort = für\n```",
    "https://beispiel.example/das/ist/eine/lange/adresse/ohne/text",
    "def berechne_den_wert(eingabe_wert): return eingabe_wert * zahl_der_werte",
    "Please ask Jürgen Müller-Lüdenscheidt and Friederike Großmann about it.",
    "    fur jeden wert in der liste\n\t\tdrucke den wert und gehe weiter",
    "| Spalte mit einem Wert | Spalte ohne einen Wert |",
    "12 345 678 90 12 345 678 90 12 345 678 90 12 345 678 90",
    "The answer of Mr. Oppenheim and of Mrs. Bhattacharya was read by all of them.",
)


def rail(*allow: str, **settings: Any) -> Language:
    return Language(LanguageConfig.model_validate({"allow": allow, **settings}))


ENGLISH = rail("en")


def passes(language: Language, text: str) -> bool:
    return language.check(Views(text), SCENE).passed


@pytest.mark.parametrize("code", SAID)
def test_a_sentence_passes_where_its_language_is_allowed_and_only_there(code: str) -> None:
    assert passes(rail(code), SAID[code])
    assert passes(rail(*SAID), SAID[code])
    for other in ("en", "de", "ru", "ja", "ar"):
        if other != code and not any({code, other} <= group for group in CLOSE):
            verdict = rail(other).check(Views(SAID[code]), SCENE)
            assert (verdict.passed, verdict.category) == (False, "language"), (code, other)
            if not any(code in group for group in CLOSE):
                assert verdict.reason.endswith(f": {code}")


@pytest.mark.parametrize("text", NO_LANGUAGE)
def test_short_texts_code_and_names_do_not_count(text: str) -> None:
    assert passes(ENGLISH, text)


def test_each_sentence_is_judged_by_itself() -> None:
    text = f"{SAID['en']} {SAID['de']} {SAID['en']}"
    [span] = whole(ENGLISH, text)
    assert text[span.start : span.end] == SAID["de"]


def test_capitals_are_read_too() -> None:
    assert not passes(ENGLISH, SAID["de"].upper())
    assert passes(ENGLISH, SAID["en"].upper())


def test_short_sentences_count_together() -> None:
    assert not passes(ENGLISH, "Das ist gut. Wir gehen heim. Und du auch. Es wird schon dunkel.")


def test_fewest_letters_can_be_set() -> None:
    assert passes(rail("en", min_letters=200), SAID["de"])
    assert not passes(rail("en", min_letters=8), "Das weiß ich nicht.")


def test_unknown_languages_are_refused() -> None:
    with pytest.raises(ValidationError, match="has no language 'english': write one of ar, bg, cs"):
        rail("english")
    with pytest.raises(ValidationError):
        rail()


@given(
    st.lists(
        st.sampled_from([*list(SAID.values())[:6], "a", ". ", "\n", "`", "```", " ", "1", "<", "Ab", "ß"])
    )
)
def test_spans_are_within_the_text_and_in_order(pieces: list[str]) -> None:
    text = "".join(pieces)
    spans = whole(ENGLISH, text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert [span.start for span in spans] == sorted({span.start for span in spans})
