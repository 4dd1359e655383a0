"""Signature version 4 of the AWS APIs, as S3 and its compatibles take it.

Reference: "Signature Version 4 signing process" and "Authenticating Requests" of the S3 API reference; the
tests hold against the examples given there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs. The secret parts are never shown."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    payload_sha256: str,
    credentials: Credentials,
    region: str,
    now: datetime,
    *,
    service: str = "s3",
) -> dict[str, str]:
    """Headers to send with a request, those given included.

    Args:
        method: In upper case.
        url: The path as it is sent: already percent-encoded.
        headers: To be sent and signed; ``host`` is added.
        payload_sha256: Of the body, in hex.
        credentials: Of the signer.
        region: For example ``us-east-1``.
        now: UTC.
        service: S3, always.
    """
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed |= {"host": parts.netloc, "x-amz-date": stamp, "x-amz-content-sha256": payload_sha256}
    if credentials.token is not None:
        signed["x-amz-security-token"] = credentials.token
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    names = ";".join(sorted(signed))
    canonical = _canonical(method, parts.path, parts.query, signed, payload_sha256)
    signature = _signature(credentials.secret_key, stamp, scope, canonical)
    signed["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return signed


def presign(method: str, url: str, credentials: Credentials, region: str, now: datetime, seconds: int) -> str:
    """A URL that anyone may use for so many seconds, without credentials of their own."""
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) | {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token is not None:
        query["X-Amz-Security-Token"] = credentials.token
    text = _query(query.items())
    canonical = _canonical(method, parts.path, text, {"host": parts.netloc}, UNSIGNED)
    signature = _signature(credentials.secret_key, stamp, scope, canonical)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, f"{text}&X-Amz-Signature={signature}", ""))


def encode_key(key: str) -> str:
    """A key as it stands in a path: everything but letters, digits, ``-._~`` and slashes is encoded."""
    return quote(key, safe="/-._~")


def _canonical(method: str, path: str, query: str, headers: Mapping[str, str], payload: str) -> str:
    names = sorted(headers)
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    pairs = parse_qsl(query, keep_blank_values=True)
    return "\n".join((method, path or "/", _query(pairs), lines, ";".join(names), payload))


def _query(pairs: Iterable[tuple[str, str]]) -> str:
    encoded = sorted((quote(k, safe="-._~"), quote(v, safe="-._~")) for k, v in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _signature(secret: str, stamp: str, scope: str, canonical: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return _hmac(key, text).hex()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
