"""Numbers that states give to people, with the checks of python-stdnum.

Bare digits with one check digit are right by chance once in ten times, so those need a supporting word.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate.rails.rules.recognizers.recognizer import (
    Found,
    Judge,
    Recognizer,
    alone,
    scored,
    stdnum,
    summed,
)

_ssn = stdnum("us.ssn")


def _us_ssn(text: str, start: int, end: int) -> Found | None:
    if not alone(text, start, end):
        return None
    parts = re.split(r"[-. ]", text[start:end])
    if not _ssn("-".join(parts)):
        return Found(start, end, 0.3)  # never given out, and yet meant to be one after "SSN"
    return Found(start, end, 0.85 if text[start + 3] == "-" else 0.5)


def _number(
    entity: str, source: str, judge: Judge, *words: str, most: float = 1.0, usual: bool = True
) -> Recognizer:
    return Recognizer(entity, rf"\b(?:{source})", judge, 32, words, most=most, usual=usual)


def _low(entity: str, source: str, check: str, *words: str) -> Recognizer:
    """Return the recognizer of a number that counts only with a supporting word."""
    return _number(entity, source, summed(stdnum(check), 0.3), *words, most=0.3)


NATIONAL: Final = (
    _number(
        "US_SSN",
        r"\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}|\d{3}\.\d{2}\.\d{4}",
        _us_ssn,
        *("ssn", "ssns", "social security", "social sec", "soc sec", "tax id"),
    ),
    _number("US_SSN", r"\d{9}", scored(0.2), "ssn", "ssns", "social security", "soc sec", most=0.2),
    _number("US_ITIN", r"9\d{2}-\d{2}-\d{4}", summed(stdnum("us.itin"), 0.5), "itin", "taxpayer", "tax id"),
    _low("UK_NHS", r"\d{3}[- ]?\d{3}[- ]?\d{4}", "gb.nhs", "nhs", "national health", "patient"),
    _number(
        "UK_NINO",
        r"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z] ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]",
        summed(lambda text: text[:2].isupper(), 0.5, otherwise=0.3),
        *("national insurance", "nino", "ni number"),
    ),
    _number("ES_NIF", r"\d{8}-?[A-Za-z]", summed(stdnum("es.dni"), 0.6), "dni", "nif", "documento"),
    _number("ES_NIE", r"[XYZxyz]-?\d{7}-?[A-Za-z]", summed(stdnum("es.nie"), 0.7), "nie", "nif", "extranjero"),
    _number(
        "IT_FISCAL_CODE", r"[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z]", summed(stdnum("it.codicefiscale"), 0.9)
    ),
    _low(
        "DE_TAX_ID",
        r"\d{2} \d{3} \d{3} \d{3}|\d{11}",
        "de.idnr",
        *("steuer", "idnr", "tax id", "identifikationsnummer", "tin"),
    ),
    _number(
        "FR_NIR",
        r"[12] ?\d{2} ?\d{2} ?\d[0-9ABab] ?\d{3} ?\d{3} ?\d{2}",
        summed(stdnum("fr.nir"), 0.6),
        "securite sociale",
    ),
    _low("NL_BSN", r"\d{9}|\d{4}\.\d{2}\.\d{3}", "nl.bsn", "bsn", "burgerservice", "sofi"),
    _low("PL_PESEL", r"\d{11}", "pl.pesel", "pesel"),
    _number("SE_PERSONNUMMER", r"(?:19|20)?\d{6}[-+]\d{4}", summed(stdnum("se.personnummer"), 0.6), "personnummer"),
    _number("FI_PERSONAL_IDENTITY_CODE", r"\d{6}[-+A]\d{3}[0-9A-Y]", summed(stdnum("fi.hetu"), 0.8), "hetu", "henkil"),
    _low("NO_FODSELSNUMMER", r"\d{6} ?\d{5}", "no.fodselsnummer", "fodselsnummer", "personnummer"),
    _low("DK_CPR", r"\d{6}-\d{4}", "dk.cpr", "cpr", "personnummer"),
    _number("CH_AHV", r"756\.\d{4}\.\d{4}\.\d{2}|756\d{10}", summed(stdnum("ch.ssn"), 0.8), "ahv", "avs"),
    _number("BE_NATIONAL_NUMBER", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", summed(stdnum("be.nn"), 0.8), "rijksregister"),
    _number("BR_CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", summed(stdnum("br.cpf"), 0.9), "cpf"),
    _low("BR_CPF", r"\d{11}", "br.cpf", "cpf"),
    _low("IN_AADHAAR", r"[2-9]\d{3} ?\d{4} ?\d{4}", "in_.aadhaar", "aadhaar", "uidai"),
    _number("IN_PAN", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", summed(stdnum("in_.pan"), 0.4), "pan", most=0.4),
    _number("CN_RESIDENT_ID", r"[1-9]\d{16}[0-9Xx]", summed(stdnum("cn.ric"), 0.8), "身份证", "resident"),
    _number("KR_RRN", r"\d{6}-[1-4]\d{6}", summed(stdnum("kr.rrn"), 0.8), "주민", "resident"),
    _low("CA_SIN", r"\d{3}[- ]\d{3}[- ]\d{3}|\d{9}", "ca.sin", "sin", "social insurance"),
    _low("AU_TFN", r"\d{3} \d{3} \d{3}|\d{9}", "au.tfn", "tfn", "tax file"),
    _number("MX_CURP", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d", summed(stdnum("mx.curp"), 0.9), "curp"),
    _number(
        "US_DRIVER_LICENSE",
        r"[A-Za-z]\d{6,14}|\d{7,9}",
        scored(0.2),
        *("driver", "licence", "license"),
        most=0.2,
        usual=False,
    ),
    _number("US_PASSPORT", r"[A-Za-z]\d{8}|\d{9}", scored(0.2), "passport", most=0.2, usual=False),
)  # fmt: skip
