"""Tokens that must not open a gateway: forged, for somebody else, out of time, or of a form that two readers could take
differently. Each is good but for one thing, so that this one thing is what refuses it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from issuers import AUDIENCE, Idp, b64, rsa, sign
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

CANARY = "canary-7f3a"
"""In every forged token as `jti`, and in names that an attacker chooses: it must not be seen again."""
ATTACKER = rsa("one")  # of the same name as a key of the issuer
ATTACKERS_URL = "https://attacker.example"
NOW = int(time.time())


def forgeries(idp: Idp) -> dict[str, str]:
    """Every forged token by a name that says what is wrong with it."""
    found: dict[str, str] = {}
    for part in (
        _unsigned,
        _signed_with_the_public_key,
        _signed_by_another,
        _claims,
        _times,
        _headers,
        _forms,
    ):
        found |= part(idp)
    return found


def _claims_of(idp: Idp, **more: Any) -> dict[str, Any]:
    return idp.claims(jti=CANARY, **more)


def _raw(header: Mapping[str, Any] | str, payload: Mapping[str, Any] | str, signature: bytes | str) -> str:
    head = header if isinstance(header, str) else json.dumps(header)
    body = payload if isinstance(payload, str) else json.dumps(payload)
    return f"{b64(head)}.{b64(body)}.{signature if isinstance(signature, str) else b64(signature)}"


def _good(idp: Idp, header: Mapping[str, Any] = {}, **claims: Any) -> str:
    return idp.token(header=header, jti=CANARY, **claims)


def _unsigned(idp: Idp) -> dict[str, str]:
    good = _good(idp)
    _, _, signature = good.split(".")
    names = ("none", "None", "NONE", "nOnE", "none ", "", "null", "NoNe\u0000")
    found = {
        f"alg {name!r} {how}": _raw({"alg": name, "kid": "one"}, _claims_of(idp), rest)
        for name in names
        for how, rest in {"without a signature": "", "with another's": signature, "with a byte": "AA"}.items()
    }
    for odd in (None, 1, True, ["RS256"], {"RS256": 1}):
        found[f"alg {odd!r}"] = _raw({"alg": odd, "kid": "one"}, _claims_of(idp), signature)
    return found | {
        "no alg": _raw({"kid": "one"}, _claims_of(idp), signature),
        "no signature": good.rpartition(".")[0] + ".",
        "another case of the alg": _raw({"alg": "rs256", "kid": "one"}, _claims_of(idp), signature),
    }


def _signed_with_the_public_key(idp: Idp) -> dict[str, str]:
    key = idp.keys["one"]
    public = key.as_dict(private=False)
    secrets = {
        "PEM": key.as_pem(private=False),
        "PEM without its last line end": key.as_pem(private=False).rstrip(),
        "DER": key.as_der(private=False),
        "JWK": json.dumps(public).encode(),
        "JWK without spaces": json.dumps(public, separators=(",", ":")).encode(),
        "key set": idp.key_set(),
        "modulus": str(public["n"]).encode(),
        "kid": b"one",
        "nothing": b"",
    }
    hashes = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
    found: dict[str, str] = {}
    for alg, of in hashes.items():
        for form, secret in secrets.items():
            signed = _raw({"alg": alg, "kid": "one", "typ": "JWT"}, _claims_of(idp), "").rstrip(".")
            found[f"{alg} with the {form}"] = (
                f"{signed}.{b64(hmac.new(secret, signed.encode(), of).digest())}"
            )
    return found


def _signed_by_another(idp: Idp) -> dict[str, str]:
    jwk = ATTACKER.as_dict(private=False)
    chain = [b64(ATTACKER.as_der(private=False))]
    pointers: dict[str, dict[str, Any]] = {
        "nothing": {},
        "jwk": {"jwk": jwk},
        "a private jwk": {"jwk": ATTACKER.as_dict(private=True)},
        "jku": {"jku": f"{ATTACKERS_URL}/keys"},
        "jku with the issuer in it": {"jku": f"{ATTACKERS_URL}/keys?{idp.url}"},
        "x5u": {"x5u": f"{ATTACKERS_URL}/cert.pem"},
        "x5c": {"x5c": chain},
        "x5t": {"x5t": b64(hashlib.sha1(chain[0].encode()).digest())},
        "all of them": {"jwk": jwk, "jku": f"{ATTACKERS_URL}/k", "x5u": f"{ATTACKERS_URL}/c", "x5c": chain},
    }
    found = {
        f"the attacker's key and {name}": sign(
            {"alg": "RS256", "kid": "one", **more}, _claims_of(idp), ATTACKER
        )
        for name, more in pointers.items()
    }
    found |= {
        f"the attacker's kid and {name}": sign(
            {"alg": "RS256", "kid": CANARY, **more}, _claims_of(idp), ATTACKER
        )
        for name, more in pointers.items()
    }
    elliptic, edwards = ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
    found["ES256 with the kid of an RSA key"] = sign(
        {"alg": "ES256", "kid": "one"}, _claims_of(idp), elliptic
    )
    found["EdDSA with the kid of an RSA key"] = sign({"alg": "EdDSA", "kid": "one"}, _claims_of(idp), edwards)
    good = _good(idp)
    found["PS256 in the header of RS256"] = _raw(
        {"alg": "PS256", "kid": "one"}, _claims_of(idp), good.rpartition(".")[2]
    )
    found["RS384, which is not configured"] = idp.token(alg="RS384", jti=CANARY)
    return found


def _claims(idp: Idp) -> dict[str, str]:
    wrong: dict[str, dict[str, Any]] = {
        "aud of another": {"aud": "other"},
        "aud in another case": {"aud": AUDIENCE.upper()},
        "aud as a part": {"aud": AUDIENCE[:-1]},
        "aud with more": {"aud": f"{AUDIENCE} other"},
        "aud list of others": {"aud": ["other", "another"]},
        "aud empty list": {"aud": []},
        "aud empty": {"aud": ""},
        "aud list of lists": {"aud": [[AUDIENCE]]},
        "aud object": {"aud": {AUDIENCE: True}},
        "aud number": {"aud": 1},
        "no aud": {"aud": None},
        "iss of another": {"iss": ATTACKERS_URL},
        "iss with a slash": {"iss": f"{idp.url}/"},
        "iss in capitals": {"iss": idp.url.upper()},
        "iss as a prefix": {"iss": f"{idp.url}.attacker.example"},
        "iss list": {"iss": [idp.url]},
        "iss object": {"iss": {"url": idp.url}},
        "iss empty": {"iss": ""},
        "no iss": {"iss": None},
        "no sub": {"sub": None},
        "sub empty": {"sub": ""},
        "sub number": {"sub": 7},
        "sub list": {"sub": ["ann"]},
        "sub huge": {"sub": "a" * 300},
        "sub with a line end": {"sub": "ann\nadmin"},
        "sub with half a character": {"sub": "ann\ud800"},
    }
    return {name: _good(idp, **claims) for name, claims in wrong.items()}


def _times(idp: Idp) -> dict[str, str]:
    wrong: dict[str, dict[str, Any]] = {
        "expired": {"exp": NOW - 3600},
        "expired just now": {"exp": NOW - 31},
        "no exp": {"exp": None},
        "exp text": {"exp": str(NOW + 600)},
        "exp date": {"exp": "2099-01-01T00:00:00Z"},
        "exp empty": {"exp": ""},
        "exp true": {"exp": True},
        "exp list": {"exp": [NOW + 600]},
        "exp negative": {"exp": -(NOW + 600)},
        "exp zero": {"exp": 0},
        "exp in milliseconds": {"exp": (NOW + 600) * 1000},
        "exp beyond calendars": {"exp": 10**15},
        "exp huge": {"exp": 10**400},
        "exp huge without iat": {"exp": 10**400, "iat": None},
        "exp huge fraction": {"exp": 1e300},
        "exp in a hundred years": {"exp": NOW + 100 * 365 * 86400},
        "exp in a year without iat": {"exp": NOW + 365 * 86400, "iat": None},
        "exp after an age from an early iat": {"exp": NOW + 600, "iat": NOW - 30 * 86400},
        "nbf in the future": {"nbf": NOW + 3600},
        "nbf text": {"nbf": "now"},
        "nbf huge": {"nbf": 10**400},
        "nbf true": {"nbf": True},
        "iat far in the future": {"iat": NOW + 86400, "exp": NOW + 2 * 86400},
        "iat text": {"iat": str(NOW)},
        "iat huge": {"iat": 10**400},
        "iat hugely negative": {"iat": -(10**400)},
    }
    found = {name: _good(idp, **claims) for name, claims in wrong.items()}
    for constant in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000):
        for claim in ("exp", "nbf", "iat"):
            text = json.dumps(_claims_of(idp) | {claim: "X"}).replace('"X"', constant)
            found[f"{claim} {constant[:9]}"] = sign(
                {"alg": "RS256", "kid": "one"}, text.encode(), idp.keys["one"]
            )
    return found


def _headers(idp: Idp) -> dict[str, str]:
    kids: list[Any] = [
        *("../../../../dev/null", "/dev/null", "file:/etc/passwd", f"{ATTACKERS_URL}/keys", "' OR '1'='1"),
        *("one' UNION SELECT 'k", "one\u0000", "ONE", "one ", "*", "", "k" * 4000, "\ud800", "one\r\nx: y"),
        *(0, None, True, ["one"], {"kid": "one"}, 1e308),
    ]
    key = idp.keys["one"]
    found = {
        f"kid {str(kid)[:20]!r}": sign({"alg": "RS256", "kid": kid}, _claims_of(idp), ATTACKER)
        for kid in kids
    }
    odd: dict[str, dict[str, Any]] = {
        "crit of what is not understood": {"crit": ["exp"], "exp": 1},
        "crit of b64": {"crit": ["b64"], "b64": False},
        "crit of b64 true": {"crit": ["b64"], "b64": True},
        "crit empty": {"crit": []},
        "crit text": {"crit": "b64"},
        "crit null": {"crit": None},
        "b64 false": {"b64": False},
        "cty of a nested token": {"cty": "JWT"},
        "enc": {"enc": "A256GCM"},
        "typ of a logout token": {"typ": "logout+jwt"},
        "typ of a proof": {"typ": "dpop+jwt"},
        "typ of an encrypted one": {"typ": "JWE"},
        "typ number": {"typ": 1},
        "kid as a list": {"kid": ["one"]},
        "kid as a number": {"kid": 1},
        "a huge header": {"x": "y" * 9000},
    }
    return found | {
        name: sign({"alg": "RS256", "kid": "one", **more}, _claims_of(idp), key) for name, more in odd.items()
    }


def _forms(idp: Idp) -> dict[str, str]:
    key, header, claims = idp.keys["one"], {"alg": "RS256", "kid": "one"}, _claims_of(idp)
    good = _good(idp)
    head, body, signature = good.split(".")
    text = json.dumps(claims)
    twice = text[:-1] + ', "sub": "root"}'
    head_twice = b64('{"alg": "none", "alg": "RS256", "kid": "one"}')
    found = {
        "a claim twice": sign(header, twice.encode(), key),
        "a nested claim twice": sign(header, (text[:-1] + ', "a": {"b": 1, "b": 2}}').encode(), key),
        "exp twice": sign(header, (text[:-1] + f', "exp": {NOW + 900}}}').encode(), key),
        "alg twice": f"{head_twice}.{body}.{b64(_signature(key, f'{head_twice}.{body}'))}",
        "a constant that is no JSON": sign(header, (text[:-1] + ', "x": NaN}').encode(), key),
        "nested": sign(header, good.encode(), key),
        "nested in quotes": sign(header, json.dumps(good).encode(), key),
        "a list": sign(header, json.dumps([claims]).encode(), key),
        "a number": sign(header, b"1", key),
        "null": sign(header, b"null", key),
        "nothing": sign(header, b"", key),
        "no JSON": sign(header, b"\xff\xfe", key),
        "claims and more": sign(header, text.encode() + b"x", key),
        "deep": sign(header, b"[" * 9000, key),
        "deep within": sign(header, (text[:-1] + ', "a": ' + "[" * 4000 + "]" * 4000 + "}").encode(), key),
        "a deep header": _raw("[" * 4000, claims, signature),
        "a header that is a text": _raw('"alg"', claims, signature),
        "a header that is a list": _raw('["alg"]', claims, signature),
        "a header that is no JSON": _raw("{alg}", claims, signature),
        "huge": sign(header, {**claims, "x": "y" * 14_000}, key),
        "larger than a head": sign(header, {**claims, "x": "y" * 90_000}, key),
        "five parts": f"{head}.{body}.{signature}.{body}.{signature}",
        "an encrypted token": ".".join(
            [b64('{"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "one"}'), *[b64("x")] * 4]
        ),
        "two parts": f"{head}.{body}",
        "padding": f"{head}.{body}.{signature}==",
        "another alphabet": f"{head}.{body}.{'+' + signature[1:]}",
        "other claims under the signature": f"{head}.{b64(text.replace('ann', 'bob'))}.{signature}",
        "another header over the signature": f"{b64(json.dumps({**header, 'x': 1}))}.{body}.{signature}",
        "the signature of another token": f"{head}.{body}.{_good(idp, sub='bob').rpartition('.')[2]}",
        "a signature twice": f"{head}.{body}.{signature}{signature}",
        "only dots": "..",
        "empty claims": f"{head}..{signature}",
        "empty header": f".{body}.{signature}",
    }
    return found | dict(_altered(good))


def _altered(good: str) -> Iterator[tuple[str, str]]:
    signed, _, signature = good.rpartition(".")
    for cut in (1, 2, 3, 4, len(signature) // 2, len(signature) - 1):
        yield f"a signature without its last {cut}", f"{signed}.{signature[:-cut]}"
        yield f"a signature without its first {cut}", f"{signed}.{signature[cut:]}"
    for place in (0, 1, len(signature) // 2, len(signature) - 2):
        other = "A" if signature[place] != "A" else "B"
        yield (
            f"a signature changed at {place}",
            f"{signed}.{signature[:place]}{other}{signature[place + 1 :]}",
        )
    for size in (1, 128, 255, 256, 257, 512):
        yield f"a signature of {size} zeros", f"{signed}.{b64(bytes(size))}"
        yield f"a signature of {size} ones", f"{signed}.{b64(bytes([255]) * size)}"


def _signature(key: Any, signed: str) -> bytes:
    return JWSRegistry.algorithms["RS256"].sign(signed.encode(), key)
