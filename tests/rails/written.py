"""Sentences with personal data made by Faker, in ten locales, each with the spans that a reader would mark.

The words around the data are this project's own. They say what kind of number follows before telephone numbers, and before
half of the rest. A third of the sentences has dates, prices, versions or order numbers and no personal data.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from faker import Faker

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR", "ja_JP")

FRAMES = {
    "en": {
        "EMAIL_ADDRESS": ("Write to {} by Friday.", "I sent it to {}, but nobody answered", "<{}> bounced."),
        "PHONE_NUMBER": ("Call me at {} after six.", "Phone: {}",
                         "You can reach the office on {}, it is open.", "My phone number is {}."),
        "CREDIT_CARD": ("Charge my card {} please.", "The payment with {} failed twice."),
        "IBAN_CODE": ("Send the rent to {} today.", "IBAN: {}"),
        "IP_ADDRESS": ("Requests from {} are refused.", "The server {} does not answer."),
        "DOMAIN_NAME": ("My website is {}", "Look at {} for the details."),
        "": ("The meeting is on {date} at {time}.", "It costs {price} since version {version}.",
             "Order {order} has {count} parts."),
    },
    "de": {
        "EMAIL_ADDRESS": ("Schreiben Sie an {}, bitte.", "{} ist meine neue Adresse."),
        "PHONE_NUMBER": ("Sie erreichen mich unter {}.", "Telefon: {}", "Rufen Sie mich unter {} an."),
        "CREDIT_CARD": ("Meine Kreditkarte {} ist gesperrt.", "Bitte buchen Sie von {} ab."),
        "IBAN_CODE": ("Bitte auf das Konto {} zahlen.", "{} ist meine IBAN."),
        "IP_ADDRESS": ("Der Rechner {} ist nicht erreichbar.",),
        "DOMAIN_NAME": ("Mehr dazu auf {}",),
        "": ("Wir treffen uns am {date} um {time}.", "Das kostet {price} je Stück.",
             "Bestellung {order} mit {count} Teilen."),
    },
    "fr": {
        "EMAIL_ADDRESS": ("Écrivez à {} s'il vous plaît.", "Mon adresse est {}."),
        "PHONE_NUMBER": ("Appelez-moi au {} ce soir.", "Téléphone : {}", "On peut me joindre au {}."),
        "CREDIT_CARD": ("Ma carte {} a été volée.", "Débitez {} dès demain."),
        "IBAN_CODE": ("Virement sur le compte {}.", "Voici : {}"),
        "IP_ADDRESS": ("L'adresse {} est bloquée.",),
        "DOMAIN_NAME": ("Mon site est {}",),
        "": ("La réunion est le {date} à {time}.", "Cela coûte {price}.", "Commande {order}, {count} pièces."),
    },
    "es": {
        "EMAIL_ADDRESS": ("Escribe a {} mañana.", "Mi correo es {}."),
        "PHONE_NUMBER": ("Llámame al {} esta tarde.", "Teléfono: {}", "Mi móvil es {}."),
        "CREDIT_CARD": ("Mi tarjeta {} no funciona.", "Cargue {} otra vez."),
        "IBAN_CODE": ("Transfiera a la cuenta {}.", "Es {}, gracias."),
        "IP_ADDRESS": ("El servidor {} no responde.",),
        "DOMAIN_NAME": ("Mi página es {}",),
        "": ("La reunión es el {date} a las {time}.", "Cuesta {price}.", "Pedido {order} con {count} piezas."),
    },
    "it": {
        "EMAIL_ADDRESS": ("Scrivi a {} domani.", "La mia posta è {}."),
        "PHONE_NUMBER": ("Chiamami al {} stasera.", "Telefono: {}", "Il mio cellulare è {}."),
        "CREDIT_CARD": ("La mia carta di credito {} è bloccata.", "Addebita {} ancora."),
        "IBAN_CODE": ("Bonifico sul conto {}.", "Ecco: {}"),
        "IP_ADDRESS": ("L'indirizzo {} è bloccato.",),
        "DOMAIN_NAME": ("Il mio sito è {}",),
        "": ("La riunione è il {date} alle {time}.", "Costa {price}.", "Ordine {order} con {count} pezzi."),
    },
    "nl": {
        "EMAIL_ADDRESS": ("Schrijf naar {} vandaag.", "Mijn adres is {}."),
        "PHONE_NUMBER": ("Bel me op {} vanavond.", "Telefoon: {}", "Mijn mobiel is {}."),
        "CREDIT_CARD": ("Mijn creditcard {} is gestolen.", "Boek het af van {} graag."),
        "IBAN_CODE": ("Maak het over naar rekening {}.", "Het is {}, dank u."),
        "IP_ADDRESS": ("De server {} antwoordt niet.",),
        "DOMAIN_NAME": ("Mijn website is {}",),
        "": ("De vergadering is op {date} om {time}.", "Dat kost {price}.", "Bestelling {order} met {count} delen."),
    },
    "pl": {
        "EMAIL_ADDRESS": ("Napisz do {} jutro.", "Mój adres to {}."),
        "PHONE_NUMBER": ("Zadzwoń do mnie: {} wieczorem.", "Telefon: {}", "Mój numer komórkowy: {}."),
        "CREDIT_CARD": ("Moja karta {} jest zablokowana.", "Proszę obciążyć {} jutro."),
        "IBAN_CODE": ("Przelew na konto {}.", "Oto {}"),
        "IP_ADDRESS": ("Serwer {} nie odpowiada.",),
        "DOMAIN_NAME": ("Moja strona to {}",),
        "": ("Spotkanie jest {date} o {time}.", "To kosztuje {price}.", "Zamówienie {order}, {count} części."),
    },
    "pt": {
        "EMAIL_ADDRESS": ("Escreva para {} amanhã.", "Meu e-mail é {}."),
        "PHONE_NUMBER": ("Ligue para {} à noite.", "Telefone: {}", "Meu celular é {}."),
        "CREDIT_CARD": ("Meu cartão {} foi roubado.", "Cobre de {} amanhã."),
        "IBAN_CODE": ("Transfira para a conta {}.", "É {}, obrigado."),
        "IP_ADDRESS": ("O servidor {} não responde.",),
        "DOMAIN_NAME": ("Meu site é {}",),
        "": ("A reunião é em {date} às {time}.", "Custa {price}.", "Pedido {order} com {count} peças."),
    },
    "ja": {
        "EMAIL_ADDRESS": ("{} までご連絡ください。", "メールは{}です。"),
        "PHONE_NUMBER": ("電話番号は{}です。", "携帯: {}", "お電話は {} までお願いします。"),
        "CREDIT_CARD": ("クレジットカード{}を止めてください。", "{} で払います。"),
        "IBAN_CODE": ("送金先は {} です。",),
        "IP_ADDRESS": ("サーバー {} が応答しません。",),
        "DOMAIN_NAME": ("サイトは {} です。",),
        "": ("会議は{date}の{time}です。", "値段は{price}です。", "注文{order}は{count}個です。"),
    },
}  # fmt: skip


class Sentence(NamedTuple):
    """A text, and the places of its personal data as (start, end, entity)."""

    text: str
    marked: tuple[tuple[int, int, str], ...]
    locale: str


def sentences(count: int, *, seed: int = 13) -> Iterator[Sentence]:
    """Yield sentences of all locales in turn, always the same ones for a seed."""
    rng = random.Random(seed)
    fakers = {locale: Faker(locale) for locale in LOCALES}
    for at, faker in enumerate(fakers.values()):
        faker.seed_instance(seed + at)
    for at in range(count):
        locale = LOCALES[at % len(LOCALES)]
        yield _sentence(fakers[locale], locale, rng)


def _sentence(faker: Any, locale: str, rng: random.Random) -> Sentence:
    frames = FRAMES[locale[:2]]
    if rng.random() < 1 / 3:
        return Sentence(_harmless(faker, rng.choice(frames[""]), rng), (), locale)
    entity = rng.choice([one for one in frames if one])
    before, _, after = rng.choice(frames[entity]).partition("{}")
    value = _value(faker, entity, rng)
    return Sentence(before + value + after, ((len(before), len(before) + len(value), entity),), locale)


def _value(faker: Any, entity: str, rng: random.Random) -> str:
    made = {
        "EMAIL_ADDRESS": faker.email,
        "PHONE_NUMBER": faker.phone_number,
        "CREDIT_CARD": faker.credit_card_number,
        "IBAN_CODE": faker.iban,
        "IP_ADDRESS": rng.choice((faker.ipv4_public, faker.ipv4_private, faker.ipv6)),
        "DOMAIN_NAME": faker.url,
    }
    return str(made[entity]())


def _harmless(faker: Any, frame: str, rng: random.Random) -> str:
    return frame.format(
        date=faker.date(rng.choice(("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d"))),
        time=faker.time(rng.choice(("%H:%M", "%H:%M:%S"))),
        price=rng.choice(("$1,299.00", "1.299,00 €", "£24.50", "12 500 zł", "¥1,200,000", "R$ 1.250.000,00")),
        version=f"{rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(200)}",
        order=rng.choice(
            (faker.uuid4(), f"A-{rng.randrange(10**5)}", str(rng.randrange(10**5)), faker.sha1())
        ),
        count=rng.randrange(2000),
    )
