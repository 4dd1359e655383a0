"""Signatures, against the examples in the S3 API reference ("Authenticating Requests")."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from posetask.storage.sigv4 import EMPTY, Credentials, encode_key, presign, sign

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")  # of the reference
NOW = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "https://examplebucket.s3.amazonaws.com"
WELCOME = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()


@pytest.mark.parametrize(
    ("method", "url", "headers", "payload", "signature"),
    [
        (
            "GET",
            f"{HOST}/test.txt",
            {"Range": "bytes=0-9"},
            EMPTY,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            f"{HOST}/test%24file.text",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            WELCOME,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            f"{HOST}/?lifecycle",
            {},
            EMPTY,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            f"{HOST}/?max-keys=2&prefix=J",
            {},
            EMPTY,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_requests_are_signed_as_the_reference_says(
    method: str, url: str, headers: dict[str, str], payload: str, signature: str
) -> None:
    signed = sign(method, url, headers, payload, KEYS, "us-east-1", NOW)
    assert signed["authorization"].endswith(f"Signature={signature}")


def test_links_are_signed_as_the_reference_says() -> None:
    url = presign("GET", f"{HOST}/test.txt", KEYS, "us-east-1", NOW, 86400)
    assert url.endswith("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def test_a_token_is_signed_and_no_secret_is_ever_shown() -> None:
    keys = Credentials("A", "hidden-key", "hidden-token")
    signed = sign("GET", f"{HOST}/x", {}, EMPTY, keys, "us-east-1", NOW)
    assert "x-amz-security-token" in signed["authorization"]
    assert signed["x-amz-security-token"] == "hidden-token"
    assert "hidden" not in repr(keys)
    assert "X-Amz-Security-Token=hidden-token" in presign("GET", f"{HOST}/x", keys, "us-east-1", NOW, 60)


def test_keys_are_encoded_but_for_their_slashes() -> None:
    assert encode_key("a b/ü+=~.txt") == "a%20b/%C3%BC%2B%3D~.txt"
