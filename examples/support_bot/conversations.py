"""200 conversations with the support bot: what the engine says, what a reviewer decides, and how each has to end.

`released`: the first answer reaches the client. `regenerated`: the first answer promises something and the second one does
not, so the client gets the second. `reviewed`: both promise something, and a person approves or edits the second.
`blocked`: the answer admits liability, or a person rejects it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import cycle, islice
from typing import NamedTuple

QUESTIONS = (
    "My parcel has been on its way for {n} days. What now?",
    "Order {n} came broken. What do you offer me?",
    "I have been a customer for {n} months. Can you do something about the price?",
    "Invoice {n} looks too high. Can I have some of it back?",
    "I want to cancel order {n}. What does it cost?",
)
PLAIN = (
    "I am sorry to hear that. Could you tell me the number on the label?",
    "Your order has left our warehouse and is with the carrier.",
    "You find the invoice under Account, then Orders.",
    "I have looked at it: the payment was booked on Monday.",
    "Please send a photo of the damage, and a colleague looks at it today.",
    "The carrier scans parcels twice a day, so the page may be some hours behind.",
    "You can change the address under Account as long as the order is open.",
    "Thank you for the details. I have added them to your case.",
    "The price on the page includes taxes.",
    "Our shop in the old harbour is open from nine to six.",
)
HEDGES = (
    "I can't promise a refund, but I have passed your case on to a colleague.",
    "I am not able to give you a discount myself.",
    "Whether you get a refund is decided by a colleague, who looks at it this week.",
    "I cannot guarantee that it arrives on Friday.",
    "We do not offer free repairs after the warranty has ended.",
    "I don't know whether a discount is possible. Please ask our sales team.",
    "A refund may be possible if the parcel is lost; a colleague has to check that.",
    "I can't tell you that it's on us before somebody has seen the photos.",
    "I'm afraid I can't waive the fee.",
    "There is no guarantee that it is back in stock next week.",
)
OFFERS = (
    "We offer free shipping on orders over 50 euros.",
    "You will get a full refund within 30 days.",
    "You'll get a full refund within 30 days of the purchase.",
    "We give you 5% off your first order.",
    "You will receive free shipping on orders over 50 euros.",
    "We offer a discount of 10% for students.",
)
"""What the policy of the shop allows: see `allow` in tidegate.yaml."""
PROMISES = (
    "I'll give you a full refund of {n} euros.",
    "We will give you a 20% discount on your next order.",
    "You will get your money back.",
    "I guarantee that it will arrive tomorrow.",
    "We will refund the shipping costs.",
    "I promise you a discount of {n} euros.",
    "I will waive the fee for you.",
    "You'll receive a voucher for {n} euros.",
    "We will send you a replacement for free.",
    "I guarantee you a refund.",
)
"""What the rules find."""
VEILED = (
    "Don't worry about the bill, order {n} is settled.",
    "Consider it done, you hear from us.",
    "This one's on the house.",
    "Leave the costs to us.",
    "I'll sort that out for you, money included.",
)
"""What only the classifier finds."""
LIABILITY = (
    "We accept full liability for the damage.",
    "This was our fault, and we are liable for it.",
    "We are legally responsible for what happened to you.",
)
"""What no person has to look at: it never leaves."""
SECOND = (
    "I have passed your case on to a colleague, who writes to you within two days.",
    "A colleague has to decide that. I have noted what you told me.",
    "I can't decide that, but I have asked our team for you.",
)
EDITED = "A colleague has looked at case {n}: you find our answer in your account."


class Review(NamedTuple):
    """What the reviewer decides."""

    action: str
    text: str | None = None
    reason: str = ""


class Conversation(NamedTuple):
    question: str
    answers: tuple[str, ...]
    ends: str
    """`released`, `regenerated`, `reviewed` or `blocked`."""
    review: Review | None = None


REJECTED = Review("reject", reason="The shop does not give that.")


def conversations() -> list[Conversation]:
    """Return all 200, each with another question, in a mixed order."""
    promises = [*PROMISES, *VEILED]
    found = [
        *(
            Conversation(_asked(n), (_said(one, n),), "released")
            for n, one in _numbered(90, 1000, PLAIN, HEDGES, OFFERS)
        ),
        *(
            Conversation(_asked(n), (_said(one, n), SECOND[n % len(SECOND)]), "regenerated")
            for n, one in _numbered(50, 2000, PROMISES, VEILED)
        ),
        *(
            Conversation(_asked(n), (_said(one, n), _said(promises[n % 15], n)), "reviewed", _decided(n))
            for n, one in _numbered(35, 3000, PROMISES, VEILED)
        ),
        *(
            Conversation(_asked(n), (_said(one, n), _said(promises[n % 15], n)), "blocked", REJECTED)
            for n, one in _numbered(15, 4000, VEILED, PROMISES)
        ),
        *(Conversation(_asked(n), (_said(one, n),), "blocked") for n, one in _numbered(10, 5000, LIABILITY)),
    ]
    return [found[at * 7 % len(found)] for at in range(len(found))]


def _numbered(count: int, first: int, *sentences: Sequence[str]) -> list[tuple[int, str]]:
    """Return so many sentences, from each of the lists in turn, with numbers from `first` on."""
    turns = cycle(zip(*(cycle(one) for one in sentences), strict=False))
    said = [one for each in islice(turns, count) for one in each]
    return list(enumerate(said[:count], first))


def _asked(n: int) -> str:
    return QUESTIONS[n % len(QUESTIONS)].format(n=n)


def _said(sentence: str, n: int) -> str:
    """Put a sentence between others."""
    chance = random.Random(n)
    others = chance.sample(PLAIN, chance.randrange(4))
    others.insert(chance.randint(0, len(others)), sentence.format(n=n % 90 + 10))
    return " ".join(others)


def _decided(n: int) -> Review:
    """Every other case is edited."""
    return Review("edit", EDITED.format(n=n)) if n % 2 else Review("approve")
