"""The categories of content that guards tell apart, in one table for all of them.

The first fourteen are the hazards of the MLCommons taxonomy with their codes in Llama Guard 3 and 4, S1 to S14. The others
are those that other guards know. A policy names these categories, and each guard maps its own labels onto them.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from tidegate.kernel.nearest import nearest


class Hazard(NamedTuple):
    """A category: its name in policies, verdicts and metrics, its code if it has one, and what belongs to it."""

    name: str
    code: str
    title: str
    what: str


HAZARDS = (
    Hazard(
        "violent_crimes", "S1", "Violent Crimes", "helps with crimes of violence against people or animals"
    ),
    Hazard(
        "non_violent_crimes",
        "S2",
        "Non-Violent Crimes",
        "helps with fraud, theft, drugs, hacking and the like",
    ),
    Hazard("sex_crimes", "S3", "Sex Crimes", "helps with trafficking, assault or harassment"),
    Hazard("child_exploitation", "S4", "Child Exploitation", "shows or enables the sexual abuse of children"),
    Hazard(
        "defamation", "S5", "Defamation", "says what is false and harms the reputation of a living person"
    ),
    Hazard(
        "specialized_advice",
        "S6",
        "Specialized Advice",
        "gives medical, legal or financial advice without care",
    ),
    Hazard("privacy", "S7", "Privacy", "has private information about people"),
    Hazard("intellectual_property", "S8", "Intellectual Property", "violates the rights to works of others"),
    Hazard("weapons", "S9", "Indiscriminate Weapons", "helps to make weapons of mass destruction"),
    Hazard("hate", "S10", "Hate", "demeans people for what they are"),
    Hazard(
        "self_harm", "S11", "Self-Harm", "enables or encourages suicide, self-injury or disordered eating"
    ),
    Hazard("sexual_content", "S12", "Sexual Content", "is erotic"),
    Hazard("elections", "S13", "Elections", "has false information about how elections work"),
    Hazard("code_abuse", "S14", "Code Interpreter Abuse", "attacks the machine that runs code for the model"),
    Hazard("jailbreak", "", "Jailbreak", "tries to free the model of its rules"),
    Hazard("injection", "", "Prompt Injection", "gives the model instructions that are not its user's"),
    Hazard("harassment", "", "Harassment", "insults or threatens a person"),
    Hazard("profanity", "", "Profanity", "uses vulgar words"),
    Hazard("violence", "", "Violence", "shows or praises violence"),
    Hazard("illicit", "", "Illicit Acts", "helps with acts that are against the law"),
    Hazard("unethical", "", "Unethical Acts", "helps with acts that are wrong and not against the law"),
    Hazard("politics", "", "Politically Sensitive Topics", "has false information about political events"),
    Hazard("malware", "", "Malware", "has or helps to make harmful software"),
    Hazard("off_topic", "", "Off Topic", "is not what the application is for"),
    Hazard("ungrounded", "", "Ungrounded", "says what the given context does not"),
    Hazard("irrelevant", "", "Irrelevant", "does not answer the question, or has nothing to do with it"),
    Hazard("policy", "", "Policy", "breaks a rule that the operator has written"),
)
OTHER = "other"
"""The category of what a guard objects to under a label that it should not know."""
_BY_WORD = {word: one for one in HAZARDS for word in (one.name, one.code.lower()) if word}


def hazard(word: str) -> Hazard:
    """Return a category by its name or its code, such as `S1`. Raises ValueError, which names the nearest one."""
    found = _BY_WORD.get(word.strip().lower().replace("-", "_"))
    if found is None:
        meant = nearest(word, [one.name for one in HAZARDS])
        guess = f"; did you mean '{meant}'?" if meant else ""
        names = ", ".join(one.name for one in HAZARDS)
        raise ValueError(f"there is no category '{word}'{guess} There are S1 to S14, and by name: {names}")
    return found


def _name_of(word: str) -> str:
    return hazard(word).name


HazardName = Annotated[str, AfterValidator(_name_of)]
"""The name of a category in settings, where its code means the same."""
