"""ECDSA over P-256 with SHA-256, verified by cryptography; needs the extra `signing`."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

__all__ = ["holds_p256", "is_p256"]


def is_p256(key: bytes) -> bool:
    """Whether `key` is a P-256 public key in DER, a point of the curve included."""
    return _loaded(key) is not None


def holds_p256(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature`, in DER, is the key's over `message`."""
    public = _loaded(key)
    if public is None:
        return False
    try:
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _loaded(key: bytes) -> ec.EllipticCurvePublicKey | None:
    try:
        public = load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return public
    return None
