"""AWS Signature Version 4: the headers that prove who sends a request. Pure.

As described in "Create a signed AWS API request" (docs.aws.amazon.com/IAM/latest/UserGuide). Only what services other than
S3 need of it: the path is encoded twice, and there is no query.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """An access key with its secret, and the token of a session if the key is temporary."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""


class Signable(NamedTuple):
    """A request that is to be signed. `path` is as it is sent, and `headers` have lower-case names, with `host`."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def signed(
    request: Signable, credentials: Credentials, *, region: str, service: str, at: float
) -> dict[str, str]:
    """Return the headers that have to be added to a request. `at` is the time, in seconds since the epoch."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    added = {"x-amz-date": moment}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    headers = {**request.headers, **added}
    names = ";".join(sorted(headers))
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    canonical = "\n".join(
        [
            request.method,
            quote(request.path, safe="/~"),
            "",
            *(f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = _hmac(_key(credentials.secret_access_key, scope), to_sign).hex()
    told = f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**added, "authorization": told}


def _key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
