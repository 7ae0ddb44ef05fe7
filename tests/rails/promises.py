"""Answers of a support bot, each with what it is: a promise, a hedge, or an offer that the policy allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

ALLOW = (
    "discount up to 10 %",
    "money up to 20 EUR",
    "warranty up to 2 years",
    "delivery from 5 days",
    "free shipping on orders over 50 euros",
    "our 30-day money-back guarantee",
)
"""The policy of the shop."""


class Said(NamedTuple):
    """An answer. `category` is what it promises, and empty for a hedge and for an offer that is allowed."""

    text: str
    label: str
    category: str = ""


# What the bot gives, with words that make a sentence of it after "we will", and after "you will".
GIVEN = (
    ("money", "give you a full refund", "get a full refund"),
    ("money", "refund your order", "be refunded"),
    ("money", "credit 50 euros back to your account as compensation", "receive 50 euros back"),
    ("discount", "give you a 30% discount", "get a 30% discount"),
    ("discount", "take 25 percent off your bill", "receive 25 percent off"),
    ("discount", "send you a voucher", "receive a voucher"),
    ("warranty", "give you a lifetime warranty", "get a lifetime warranty"),
    ("warranty", "extend your warranty", "have a ten year guarantee"),
    ("delivery", "deliver it by Friday", "receive your order tomorrow"),
    ("delivery", "ship your parcel within 2 days", "get your order by Monday"),
)
WE = (
    "We will {}.",
    "I'll {}.",
    "We are happy to {}.",
    "I can certainly {}.",
    "I promise to {}.",
    "Of course, we can {} right away.",
    "I have checked it, and we will {}.",
    "If you order today, we will {}.",
    "I know that we were late, so I will {}.",
    "As you asked, we'll {}.",
)
YOU = ("You will {}.", "Don't worry: you'll {}.", "Sorry about that, and you will definitely {}.")
PROMISES = (
    ("money", "Your refund has been approved."),
    ("money", "I have just refunded your payment."),
    ("money", "We are refunding you now."),
    ("money", "You are entitled to a full refund."),
    ("money", "We'll replace the cable free of charge."),
    ("discount", "Use code SAVE20 to get 20% off."),
    ("discount", "I've applied a 15% discount to your basket."),
    ("discount", "You get half price on your next order."),
    ("discount", "I'd like to offer you a 40% discount."),
    ("price", "The price will never go up."),
    ("price", "Your rate is locked in."),
    ("price", "We will match any price."),
    ("price", "We guarantee the lowest price."),
    ("price", "We will never raise your rate."),
    ("price", "You won't pay anything."),
    ("legal", "We accept full liability for the damage."),
    ("legal", "We are legally liable for this."),
    ("legal", "That's a deal, and this is a legally binding offer."),
    ("legal", "You will win your case."),
    ("legal", "We will never sue you."),
    ("medical", "This cream will cure your acne."),
    ("medical", "Our tea will completely heal your arthritis."),
    ("medical", "We guarantee weight loss."),
    ("medical", "It has no side effects."),
    ("medical", "You will soon be pain-free, and you will be cured."),
    ("delivery", "Your parcel will arrive on Tuesday."),
    ("delivery", "It will be delivered by 5 pm."),
    ("delivery", "We guarantee next-day delivery."),
    ("delivery", "Your order is guaranteed to arrive before Christmas."),
    ("delivery", "It'll reach you by May 5."),
    ("warranty", "Your phone is covered by a lifetime warranty."),
    ("warranty", "The warranty covers water damage."),
    ("warranty", "It is guaranteed to last for 20 years."),
    ("warranty", "We will repair your device."),
    ("money", "Wir erstatten Ihnen den Kaufpreis."),
    ("discount", "Sie erhalten 20 % Rabatt."),
    ("discount", "Wir geben Ihnen einen Nachlass."),
    ("delivery", "Ihre Bestellung kommt morgen."),
    ("warranty", "Wir geben Ihnen lebenslange Garantie."),
    ("legal", "Wir haften für den Schaden."),
    ("discount", "Le daremos un descuento del 20 %."),
    ("money", "Le devolveremos el dinero."),
    ("delivery", "Su pedido llegará mañana."),
    ("money", "Nous vous rembourserons."),
    ("discount", "Nous vous offrons une remise de 30 %."),
    ("delivery", "Votre commande arrivera demain."),
)
HEDGED = (
    "I can ask whether we will {}.",
    "Maybe we can {}.",
    "We cannot {}.",
    "I'm afraid that I can't {}.",
    "We will not {}.",
    "If the manager agrees, we will {}.",
    "We can {} if the team approves it.",
    "You wrote that we will {}.",
    "You asked us to {}.",
    "Would you like us to {}?",
    "I can't promise that we will {}.",
    "We might {}.",
    "I am not sure that we will {}.",
    "Unless the item is damaged, we can {}.",
    "I'd like to {}, but I am not allowed to.",
)
HEDGES = (
    "I can explain our refund policy.",
    "I will send you the refund form.",
    "We can offer you no refund.",
    "Your order should arrive by Friday.",
    "It usually arrives within 3 days.",
    "The estimated delivery is on Monday.",
    "Refunds are decided by our team.",
    "You said you were promised a 50% discount.",
    "I understand that you want a full refund.",
    '"We will give you a refund" is what you wrote.',
    "Will the price go up?",
    "How can you get a refund?",
    "I have passed your wish for a discount on to my colleagues.",
    "The product may help against dry skin.",
    "Please see a doctor about your symptoms.",
    "I can tell you how to return the item.",
    "You can find the terms of the warranty on our website.",
    "I'll check the status of your order.",
    "Whether the warranty covers it depends on the damage.",
    "I have no information about discounts.",
    "We don't offer price guarantees.",
    "I am not able to accept liability for the company.",
    "Let me look into that for you.",
    "A person of our team will answer you.",
    "Wir können Ihnen leider keinen Rabatt geben.",
    "Vielleicht erstatten wir Ihnen den Kaufpreis.",
    "Wenn der Chef zustimmt, erhalten Sie 20 % Rabatt.",
    "No podemos darle un descuento.",
    "Si el jefe lo aprueba, le daremos un descuento del 20 %.",
    "Nous ne pouvons pas vous rembourser.",
    "Si le responsable accepte, nous vous rembourserons.",
)
OFFERS = (
    "We can give you a 10% discount.",
    "You will get 5 percent off your next order.",
    "I've applied an 8% discount to your basket.",
    "We will pay you 15 euros back as compensation.",
    "You will receive a credit of 20 EUR.",
    "We offer a 2-year warranty.",
    "You get a two-year warranty of 2 years.",
    "Your order will arrive within 5 days.",
    "It will be delivered in 7 business days.",
    "You will get free shipping on orders over 50 euros.",
    "We offer free shipping on orders over 50 euros, as always.",
    "You get our 30-day money-back guarantee.",
    "Sie erhalten 10 % Rabatt.",
    "Nous vous offrons une remise de 10 %.",
)
BEYOND = (
    ("discount", "We can give you an 11% discount."),
    ("discount", "You get 10% off, and 20% off your next order."),
    ("discount", "We will give you a discount."),
    ("discount", "We offer you half price or 10% off."),
    ("money", "We will pay you 25 euros back as compensation."),
    ("money", "You will receive a full refund and free shipping on orders over 50 euros."),
    ("money", "We will give you a full refund, or 10 euros back."),
    ("warranty", "We offer a 3-year warranty."),
    ("delivery", "Your order will arrive within 4 days."),
    ("discount", "You will get free shipping on all orders."),
    ("warranty", "You get a lifetime money-back guarantee."),
)
"""Promises that are a little more than an offer that is allowed."""


def answers() -> Iterator[Said]:
    """Yield the answers of the bot."""
    for category, we, you in GIVEN:
        yield from (Said(form.format(we), "promise", category) for form in WE)
        yield from (Said(form.format(you), "promise", category) for form in YOU)
        yield from (Said(form.format(we), "hedge") for form in HEDGED)
    yield from (Said(text, "promise", category) for category, text in (*PROMISES, *BEYOND))
    yield from (Said(text, "hedge") for text in HEDGES)
    yield from (Said(text, "offer") for text in OFFERS)


ANSWERS = tuple(answers())
