"""Compact JSON web signatures: written by ES256, read by that or EdDSA, without trust.

One algorithm, chosen by the key and never by the token. What the claims must be is said by
who asks: the gateway's `trust`, the runtime's HTTP inputs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any, Final, final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from .._decoders import decoder_of

__all__ = [
    "BadToken",
    "EdwardsKey",
    "SigningKey",
    "Token",
    "VerifyingKey",
    "public_key",
    "read",
]

# Base64url without padding and nothing else: two spellings of one token would be two tokens.
_SEGMENTS: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST: Final = 16 * 1024
_SHA256: Final = ec.ECDSA(hashes.SHA256())
_COORDINATE: Final = 32
_JSON_OBJECT: Final = decoder_of(dict[str, Any])

_encode = msgspec.json.Encoder(order="deterministic").encode


class BadToken(Exception):
    """A token that is none; the text says why, and quotes nothing of it."""


class Token(msgspec.Struct, frozen=True):
    """A token that was read and not yet believed."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "Token()"


@final
class VerifyingKey:
    """The public half; `kid` names it in headers, and is its thumbprint (RFC 7638)."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        numbers = key.public_numbers()
        self._members = {
            "crv": "P-256",
            "kty": "EC",
            "x": _b64(numbers.x.to_bytes(_COORDINATE, "big")),
            "y": _b64(numbers.y.to_bytes(_COORDINATE, "big")),
        }
        self.kid = _b64(hashlib.sha256(_encode(self._members)).digest())

    def jwk(self, use: str) -> dict[str, str]:
        """Return the key as a JWK with its `use`."""
        return {**self._members, "kid": self.kid, "use": use, "alg": "ES256"}

    def check(self, token: Token) -> None:
        """Raise unless this key made the signature."""
        if token.header.get("alg") != "ES256":
            raise BadToken("its algorithm is not the one of the key it names")
        raw = token.signature
        if len(raw) != 2 * _COORDINATE:
            raise BadToken("its signature has the wrong length")
        r = int.from_bytes(raw[:_COORDINATE], "big")
        s = int.from_bytes(raw[_COORDINATE:], "big")
        good = True
        try:
            self._key.verify(utils.encode_dss_signature(r, s), token.signed, _SHA256)
        except InvalidSignature:
            good = False
        if not good:
            raise BadToken("its signature is not by the key it names")


@final
class EdwardsKey:
    """The public half of an Ed25519 key."""

    def __init__(self, key: ed25519.Ed25519PublicKey) -> None:
        self._key = key

    def check(self, token: Token) -> None:
        """Raise unless this key made the signature."""
        if token.header.get("alg") not in {"EdDSA", "Ed25519"}:
            raise BadToken("its algorithm is not the one of the key")
        good = True
        try:
            self._key.verify(token.signature, token.signed)
        except InvalidSignature:
            good = False
        if not good:
            raise BadToken("its signature is not by the key")


def public_key(pem: bytes) -> VerifyingKey | EdwardsKey:
    """Load a public key from PEM; `ValueError` unless it is of P-256 or Ed25519."""
    key: object = None
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        pass
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return VerifyingKey(key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return EdwardsKey(key)
    raise ValueError("not a public key of P-256 or Ed25519 in PEM")


@final
class SigningKey:
    """A P-256 key pair; its PEM is a secret."""

    def __init__(self, pem: bytes | None = None) -> None:
        """Load a key from PEM, or make a new one; `ValueError` when `pem` holds none."""
        key: object
        if pem is None:
            key = ec.generate_private_key(ec.SECP256R1())
        else:
            key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
            key.curve, ec.SECP256R1
        ):
            raise ValueError("not a P-256 private key")
        self._key = key
        self.public = VerifyingKey(key.public_key())

    def pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, claims: dict[str, Any], *, typ: str) -> str:
        """Return the compact form."""
        header = {"alg": "ES256", "kid": self.public.kid, "typ": typ}
        signed = f"{_b64(_encode(header))}.{_b64(msgspec.json.encode(claims))}"
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode("ascii"), _SHA256))
        raw = r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
        return f"{signed}.{_b64(raw)}"


def read(text: str) -> Token:
    """Take a compact token apart; nothing in it is verified."""
    if len(text) > _LONGEST or not _SEGMENTS.fullmatch(text):
        raise BadToken("it does not have three segments of base64url")
    header, claims, signature = text.split(".")
    found = Token(
        _object(header), _object(claims), f"{header}.{claims}".encode("ascii"), _bytes(signature)
    )
    # Whoever does not know an extension that is critical must refuse (RFC 7515, 4.1.11).
    if "crit" in found.header or found.header.get("b64") is False:
        raise BadToken("its header asks for extensions that are not known here")
    return found


def _object(segment: str) -> dict[str, Any]:
    raw = _bytes(segment)
    try:
        return _JSON_OBJECT.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    raise BadToken("a segment of it is not a JSON object")


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(segment: str) -> bytes:
    raw: bytes | None = None
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (binascii.Error, ValueError):
        pass
    if raw is None or _b64(raw) != segment:
        raise BadToken("a segment of it is not base64url")
    return raw
