"""How companies promise something in English, as rows of slots (see `grammar`), and how they speak of it without promising.

Words are written as they are in a folded text: without accents. `promising_abroad` has other languages.
"""

# ruff: noqa: E501  (tables of words)

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tidegate.rails.rules.wording.grammar import Slots

CATEGORIES: Final = ("money", "discount", "price", "legal", "medical", "delivery", "warranty")
US: Final = "{us}"
"""Stands for the words by which the speaker means the company, which the settings add to."""


class Promises(NamedTuple):
    """The promises of one language.

    A row with `not` first is a promise with a negation in it, such as that a price will not rise. The others are words in
    RE2's syntax. `doubts` before a promise in its part of a sentence, or within it, make it none; so does a `denial`, and a
    `condition` anywhere in the sentence that is not a `bargain`: what the other one has to do to get it. `reported` is what
    stands right before the words of others, `quoting` what says that words in quotes are theirs, `refusals` take a promise
    back behind it, and `about` stands right behind what is only spoken of, as in `refund policy`. `questions` are the words
    with which a sentence begins that asks.
    """

    language: str
    us: str
    slots: Slots
    rows: Mapping[str, tuple[str, ...]]
    doubts: str
    denials: str
    conditions: str
    bargains: str
    reported: str
    quoting: str
    refusals: str
    about: str
    questions: str


MONEY: Final = r"(?:(?:\$|€|£|usd|eur|gbp|chf) ?[0-9][0-9.,]*|[0-9][0-9.,]* ?(?:\$|€|£|usd|eur|gbp|chf|dollars?|euros?|pounds?|bucks?))"
PERCENT: Final = r"[0-9]{1,3}(?:[.,][0-9]{1,2})? ?(?:%|percent|per cent)"

_ADV: Final = r"(?:gladly|happily|certainly|definitely|absolutely|of course|surely|immediately|personally|also|now|just|even|fully|hereby|simply|always|today|then|still|happily|even|be able to|go ahead and|already)"
_WILL: Final = rf"{US}(?:'ll| will| shall| can|(?:'m|'re|'s| am| are| is) (?:going|happy|glad|pleased|delighted|able|prepared|willing|ready|committed) to|'d be (?:happy|glad|pleased|delighted) to| would be (?:happy|glad|pleased|delighted) to| promises?(?: you)? to| guarantees?(?: you)? to| agrees? to| commits? to| undertakes? to| ha(?:ve|s) agreed to|'ve agreed to)(?: {_ADV}){{0,3}}"
_ARE: Final = rf"{US}(?:'m|'re|'s| am| are| is)(?: {_ADV}){{0,2}}"
_HAVE: Final = rf"{US}(?:'ve|'s| have| has)(?: {_ADV}){{0,2}}"
_YOU_WILL: Final = rf"you(?:'ll| will| shall| are going to|'re going to)(?: {_ADV}){{0,2}}"

ENGLISH: Final = Promises(
    "en",
    r"i|we|our (?:company|team|store|shop|support team|manager|warehouse|business|technicians?)",
    {
        "will": _WILL,
        "are": _ARE,
        "have": _HAVE,
        "you_will": _YOU_WILL,
        "give": rf"(?:{_WILL} (?:give|offer|grant|provide|issue|send|apply|add|arrange|process|approve|get|extend|pay|make|throw in|include|authori[sz]e|do|have)|{_ARE} (?:giving|offering|granting|providing|issuing|sending|applying|adding|arranging|processing|approving|paying|including|authori[sz]ing)"
        rf"|{_HAVE} (?:given|offered|granted|provided|issued|sent|applied|added|arranged|processed|approved|paid|authori[sz]ed|included)|{US}(?:'d| would) like to (?:offer|give|send|extend|provide|grant)|{US}(?: {_ADV})? (?:offer|give|grant|guarantee|promise|provide|approve|issue)s?)",
        "you_get": rf"(?:{_YOU_WILL} (?:get|receive|have|be given|be offered|be paid|be granted|enjoy|see|be eligible for|be entitled to)|you can (?:get|have|claim|expect)|you(?:'re| are)(?: {_ADV})? (?:entitled to|getting|receiving|owed|guaranteed)|you qualify for|you get|you receive)",
        "refund": rf"refunds?|money back|your money|reimbursement|compensation|store credit|account credit|credit note|goodwill (?:payment|credit|gesture)|credit of {MONEY}|{MONEY}(?: (?:back|credit|in credit|refund|compensation))|payout|damages",
        "repay": r"refund|credit|reimburse|compensate|pay back|repay|waive|write off",
        "repaying": r"refunding|crediting|reimbursing|compensating|repaying|waiving|writing off",
        "repaid": r"refunded|credited|reimbursed|compensated|repaid|waived|written off|paid back",
        "it": r"you|your|the|this|that|these|those|it|all|any|every|half|everything|him|her|them|in full|"
        rf"{MONEY}",
        "your_refund": r"(?:your|the|a|a full|the full) (?:refund|reimbursement|compensation|money|credit|payment)(?:'ll| will|'s| is| has)(?: (?:be|been|being|already|now)){0,2} (?:issued|processed|approved|paid|sent|credited|returned|refunded|on its way|guaranteed|back|confirmed)",
        "be_repaid": r"be (?:refunded|reimbursed|compensated|paid back|fully refunded|fully reimbursed)",
        "free": r"for free|free of charge|at no (?:extra |additional )?(?:cost|charge)|on the house|without (?:any )?(?:cost|charge)",
        "discount": rf"discounts?|price reduction|rebate|coupons?|vouchers?|promo(?:tional)? code|free (?:shipping|delivery|month|year|upgrade|gift)|half[\s-]price|half off|{PERCENT} (?:off|discount|less|reduction|cheaper|on|for you)|{MONEY} (?:off|discount|less)|(?:reduced|special|discounted|lower) (?:price|rate)|gift card|(?:[a-z]+ )?months? free|two for one|for (?:only |just )?{MONEY}",
        "reduce": r"reduce|lower|cut|drop|discount|knock|take|slash|halve",
        "price": r"prices?|bill|fees?|rate|cost|invoice|total|subscription|premium|charges?|off",
        "use_code": r"use (?:the |this |my )?(?:promo |discount |coupon |voucher )?code",
        "your_discount": r"(?:your|the|a) (?:discount|coupon|voucher|rebate)(?:'ll| will|'s| is| has)(?: (?:be|been|being|already|now)){0,2} (?:applied|approved|guaranteed|added|activated|confirmed)",
        "match": r"match|beat|undercut|honou?r|lock in|freeze|guarantee|hold|keep",
        "a_price": r"prices?|offer|quote|rate|fee",
        "guarantee": rf"(?:{US}(?:'ll| will| can)?|our)(?: {_ADV})? (?:guarantees?|promises?)(?: you)?",
        "price_guarantee": r"price (?:guarantee|match|lock|promise)|(?:lowest|best) prices?(?: guaranteed?)?|guaranteed (?:price|rate)|fixed (?:price|rate)",
        "fixed": r"(?:your|the|this) (?:[a-z]+ )?(?:price|rate|fee|premium)(?:'s| is| will be| will stay| stays| will remain| remains) (?:locked(?: in)?|guaranteed|fixed|frozen|the same|unchanged)",
        "not_rise": r"(?:your|the|this|our) (?:[a-z]+ )?(?:prices?|rates?|fees?|premiums?|bill|subscription) (?:will not|will never|won't|can't|cannot) (?:ever )?(?:change|go up|increase|rise|be raised|be increased)",
        "not_raise": rf"{US} (?:will not|will never|won't) (?:ever )?(?:raise|increase|change|put up)",
        "pay_no_more": rf"you(?:'ll| will) (?:never pay more|not pay (?:more|a cent|anything)|pay nothing|never pay)|you won't (?:pay|be charged|owe)(?: (?:anything|a cent|more|any [a-z]+))?|you(?:'ll| will) (?:only|just) pay {MONEY}",
        "accept": rf"(?:{_WILL} (?:accept|admit|assume|take|acknowledge|bear)|{US}(?: {_ADV})? (?:accept|admit|assume|take|acknowledge|bear)s?|{_ARE} (?:accepting|taking|assuming))",
        "liability": r"liability|(?:full |legal |all |sole |complete )?responsibility|the blame|fault|negligence|guilt",
        "are_liable": rf"{US}(?:'m|'re| am| are| is| was| were)(?: (?:fully|legally|clearly|entirely|solely|completely)){{0,2}} (?:liable|legally responsible|responsible for (?:the|your|this|all|any)|at fault|negligent|in breach)",
        "not_sue": rf"{US} (?:will not|will never|won't) (?:ever )?(?:sue|prosecute|press charges|take (?:you|any|this|legal)|pursue|enforce|hold you)",
        "binding": r"(?:this|that|it|consider (?:this|it)|which)(?: is|'s| constitutes| forms| counts as)?(?: now)? an? (?:legally )?binding (?:offer|agreement|contract|promise|commitment|deal)",
        "win": r"win (?:your|the|this) (?:case|claim|lawsuit|appeal|dispute)",
        "settle": r"settle (?:the|your|this) (?:case|claim|matter|dispute)|indemnify|drop (?:the|all|any) (?:charges|claims?)|release you from|let you out of (?:the|your) contract|cancel (?:the|your) contract",
        "remedy": r"(?:this|it|that|our [a-z]+|(?:this|that|the) (?:product|treatment|supplement|device|cream|medicine|pills?|therapy|programme?|drops|ointment))(?:'ll| will| is going to| is guaranteed to| is proven to)(?: (?:completely|definitely|certainly|permanently|quickly|fully|always|surely)){0,2} (?:cure|heal|reverse|eliminate|get rid of|eradicate|prevent|treat|stop|relieve|fix)",
        "illness": r"diseases?|pain|cancer|diabetes|arthritis|anxiety|depression|acne|eczema|migraines?|insomnia|symptoms?|infections?|allerg(?:y|ies)|asthma|inflammation|illness|condition|headaches?|covid|flu|wrinkles|hair loss|blood pressure|covid",
        "recover": r"(?:definitely|completely|fully|certainly|surely|soon|quickly) (?:recover|be cured|be healed|be healthy|be pain[\s-]free|feel better)|be (?:cured|healed|pain[\s-]free|symptom[\s-]free)|lose [0-9]+ (?:kg|kilos|pounds|lbs)",
        "cure": r"recovery|cure|pain relief|weight loss|healing|results|medical (?:results|outcome)",
        "harmless": r"(?:it|this|that|they|our [a-z]+|(?:this|that|these|the) (?:product|treatment|supplement|cream|medicine|pills?|therapy|drops))(?:'s| is|'re| are) (?:completely|totally|100 ?%|perfectly|entirely|absolutely) (?:safe|harmless|without side effects)|(?:has|have|are|is) (?:absolutely )?no side effects",
        "parcel": r"(?:(?:your|the|this|that|a|each) (?:[a-z]+ )?(?:order|package|parcel|delivery|shipment|item|items|replacement|products?|goods|furniture|phone|laptop|card|gift|tickets?)|it|they|everything|delivery)(?:'ll| will| is going to| are going to| is guaranteed to| are guaranteed to| shall)(?: (?:definitely|certainly|surely|absolutely|also|now|all)){0,2} (?:arrive|be delivered|be shipped|ship|be there|reach you|be with you|get there|get to you|be dispatched|be at your (?:door|home|house)|land|be in your hands)",
        "deliver": r"deliver|ship|dispatch|get it to you|have it (?:delivered|there|with you)|have (?:your|the) (?:order|package|parcel|item) (?:delivered|there|with you|shipped)",
        "send": r"send|have|get|bring|hand over",
        "goods": r"(?:your |the |a |you the |you your |you a |you )?(?:new )?(?:order|package|parcel|items?|replacement|products?|shipment|goods)",
        "when": r"(?:(?:by|on|before|within|in|no later than|not later than|at the latest|until|at|this|next|the) )*(?:the next |less than |under |the end of )?(?:tomorrow|today|tonight|(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:next|this) (?:week|month)|the (?:week|month)|noon|midnight|christmas(?: eve)?|(?:[0-9]+|one|two|three|four|five|six|seven|ten|24|48) ?(?:to|-)? ?(?:[0-9]+ )?(?:business |working )?(?:hours?|days?|weeks?|minutes?|h)"
        r"|(?:january|february|march|april|may|june|july|august|september|october|november|december) [0-9]{1,2}(?:st|nd|rd|th)?|(?:the )?[0-9]{1,2}(?:st|nd|rd|th)(?: of [a-z]+)?|[0-9]{1,2} (?:january|february|march|april|may|june|july|august|september|october|november|december)|[0-9]{1,2}(?::[0-9]{2})? ?(?:am|pm)|[0-9]{1,2}[./-][0-9]{1,2}(?:[./-][0-9]{2,4})?)",
        "fast_delivery": r"(?:same|next|one|two|[0-9]+)[\s-]day (?:delivery|shipping)|on[\s-]time delivery|delivery (?:by|on|before|within|in|tomorrow|today)|guaranteed delivery|express (?:delivery|shipping)",
        "delivery_sure": r"delivery is guaranteed|guaranteed (?:delivery|to arrive)",
        "warranty": r"(?:(?:lifetime|life[\s-]long|extended|full|free|limited|unlimited|[0-9]+[\s-](?:year|month|day)s?|one[\s-]year|two[\s-]year|three[\s-]year|five[\s-]year|ten[\s-]year|additional|unconditional|money[\s-]back) )+(?:warranty|guarantee|protection|coverage)|warranty|satisfaction guarantee",
        "covered": r"(?:your|the|this|it|they|that|all|you|every) ?(?:[a-z]+ )?(?:'s|is|'re|are|will be)(?: (?:fully|still|also|completely|always)){0,2} (?:covered|protected|insured)(?: (?:by|under|against|for))?",
        "warranty_covers": r"(?:your|the|our|this) (?:[a-z]+ )?(?:warranty|guarantee)(?: (?:also|fully|always))? (?:covers|will cover|includes|will include|will be extended|is extended|has been extended|lasts|will last)",
        "extend": r"extend (?:your|the) (?:warranty|guarantee|coverage)",
        "replace": r"replace|repair|exchange|swap",
        "unit": r"(?:your|the|this|that|any|every) (?:[a-z]+ )?(?:order|item|product|device|phone|unit|purchase|laptop|machine|appliance|watch|bike|tv|part|screen|battery|tyres?|shoes|sofa|washing machine)|it (?:for you|within|whenever|any ?time|as often)",
        "lasts": r"(?:it|this|they|your [a-z]+|the [a-z]+)(?:'s| is|'re| are|'ll| will)(?: guaranteed to)? (?:last|work|run|hold)(?: (?:for|at least))* (?:a lifetime|forever|for ?ever|for life|[0-9]+ (?:years|months))|guaranteed (?:to last|for life|for [0-9]+ (?:years|months))",
    },
    {
        "money": (
            "give ... refund",
            "will repay it",
            "are repaying it",
            "have repaid it",
            "you_get ... refund",
            "you_will be_repaid",
            "you_have_been_(?:refunded|reimbursed|compensated)",
            "your_refund",
            "will ... free",
        ),
        "discount": (
            "give ... discount",
            "will reduce ... price",
            "you_get ... discount",
            "your_discount",
            "use_code ... discount",
        ),
        "price": (
            "will match ... a_price",
            "give ... price_guarantee",
            "guarantee ... a_price",
            "fixed",
            "not not_rise",
            "not not_raise ... a_price",
            "not pay_no_more",
        ),
        "legal": (
            "accept .. liability",
            "are_liable",
            "not not_sue",
            "binding",
            "you_will win",
            "will settle",
            "guarantee ... (?:win|approval|compliance|visa|acquittal)",
        ),
        "medical": (
            "remedy ... illness",
            "you_will recover",
            "guarantee ... cure",
            "not harmless",
        ),
        "delivery": (
            "parcel .. when",
            "will deliver ... when",
            "will send goods ... when",
            "you_get (?:it|them|your_[a-z]+|the_[a-z]+) .. when",
            "give ... fast_delivery",
            "guarantee ... (?:delivery|arrival|arrive)",
            "delivery_sure .. when?",
        ),
        "warranty": (
            "give ... warranty",
            "you_get ... warranty",
            "covered ... warranty",
            "warranty_covers",
            "will extend",
            "will replace unit",
            "lasts",
        ),
    },
    doubts=r"may [a-z]+|might|perhaps|maybe|possibly|probably|potentially|hopefully|usually|typically|normally|generally|sometimes|often|in most cases|as a rule|whether|would you like|in theory|for example|such as|suppose|imagine|let's say|estimated|hypothetically",
    denials=r"not|no|never|cannot|can't|don't|doesn't|didn't|won't|wouldn't|couldn't|isn't|aren't|unable|neither|nor|nobody|without|instead of|rather than|regret that|afraid",
    conditions=r"if|provided|as long as|assuming|unless|once|when|subject to|depending on|depends on|in case|pending|where applicable|as soon as|only after|on condition|eligible|up to (?:the|our|my) (?:manager|team|supervisor)",
    bargains=r"(?:if|once|when|as soon as|provided|provided that|as long as)(?: and when)? (?:you(?:'d like|'d prefer|'re happy|'re ready| would like| like| want| wish| prefer| need| (?:just |only |also |then )?(?:order|buy|purchase|pay|sign|subscribe|renew|upgrade|book|stay|confirm|agree|accept|choose|switch|place|tell|reply|say|act|call|send|share|leave|come|join|spend|take))|it helps|that helps|needed|necessary|that works|that's ok|that suits|possible|and when you)|as soon as possible|when it comes to|when you(?:'re| are) ready",
    reported=r"(?:you|customers?|they|he|she|someone|people|who)(?:'ve|'re| have| are| were| had)? (?:said|say|saying|wrote|write|asked|ask|asking|mentioned|claimed|claim|think|thought|believe|believed|hope|hoping|hoped|expect|expected|expecting|want|wanted|wish|told|heard|read|suggest|suggested|request|requested|demand|demanded)(?: (?:me|us))?(?: to (?:say|confirm|promise|write))?(?: that)?|(?:message|e-?mail|review|ad|advert|website|article|text|letter|rumou?r|post)(?: you [a-z]+)? (?:says|said|states|stated|claims|claimed|promises)(?: that)?|asked for confirmation that|(?:understand|see|know) (?:that )?you (?:want|expect|hope|believe|think)(?: that)?|to (?:say|claim|promise|confirm|write) (?:that )?|(?:ask|wonder|wondering|see|check|find out|know) (?:if|whether|how|when|why)",
    quoting=r"said|says|say|wrote|write|writes|asked|ask|mentioned|claimed|quote|quoted|phrase|words|sentence|means|wish|message|heard|read",
    refusals=r"(?:but|however|unfortunately) .*(?:can't|cannot|can not|unable|not able|not allowed|not permitted|not authori[sz]ed|not possible|not up to me)",
    about=r"polic(?:y|ies)|process|requests?|forms?|status|options?|pages?|team|department|rules?|conditions?|terms|information|details|procedures?|guidelines?|questions?|system|code field|calculator",
    questions=r"do|does|did|can|could|will|would|shall|should|is|are|was|were|have|has|may|what|how|when|why|which|who|where|whether|am",
)
