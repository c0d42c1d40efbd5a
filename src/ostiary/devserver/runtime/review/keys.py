"""The keys that approved tools are signed with: made here, sealed by the vault, never shown.

A private key leaves its sealed form for the length of one signature. Neighbours: `sessions`
asks for signatures, `ostiary.runtime.signatures` verifies them anywhere.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

import msgspec
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey as Ed25519Key

from ...audit import Event
from ...documents import Documents
from ...faults import Refusal
from ...http.reading import invalid
from ...http.refusals import HttpRefusal
from ..context import Context
from ..trail import record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from ...seal import Keyring

__all__ = ["ALGORITHMS", "KeyRecord", "SigningKeys"]

ED25519: Final = "Ed25519"
P256: Final = "ECDSA_P256"
ALGORITHMS: Final = (ED25519, P256)

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KEYS: Final = 1_000
# A SubjectPublicKeyInfo of an Ed25519 key is this and the 32 bytes of the key (RFC 8410).
_SPKI_ED25519: Final = bytes.fromhex("302a300506032b6570032100")


class KeyRecord(msgspec.Struct, kw_only=True):
    """One key as it is kept; `sealed` opens with the vault's keyring alone."""

    key_id: str
    algorithm: str
    public_key: str
    created_at: str
    sealed: bytes

    def __repr__(self) -> str:
        return f"<KeyRecord {self.key_id}>"

    def view(self) -> dict[str, str]:
        """Return what everybody may see."""
        return {
            "key_id": self.key_id,
            "algorithm": self.algorithm,
            "public_key": self.public_key,
            "created_at": self.created_at,
        }


@final
class SigningKeys:
    """Make, list and use keys."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._records = Documents(context.store, "review.key", KeyRecord)

    @property
    def usable(self) -> bool:
        """Whether the vault is open, so that keys can be made and used."""
        return not self._context.vault.locked

    def all(self) -> list[KeyRecord]:
        """Return every key, the oldest first."""
        return self._records.all()

    def require(self, key_id: str) -> KeyRecord:
        """Return a key; 404 when there is none."""
        found = self._records.get(key_id)
        if found is None:
            raise HttpRefusal(
                404,
                "SIGNING_KEY_NOT_FOUND",
                "there is no signing key with this id; list them, or make one with "
                "POST tool-review/keys",
            )
        return found

    def create(self, key_id: str | None = None, algorithm: str = ED25519) -> KeyRecord:
        """Make a key under a new id."""
        if key_id is None:
            key_id = f"key-{secrets.token_hex(6)}"
        elif not _ID.fullmatch(key_id):
            raise invalid(
                "key_id", "a key's id has letters, digits, dots, dashes and underscores, up to 128"
            )
        if algorithm not in ALGORITHMS:
            raise invalid("algorithm", f"the algorithms are {' and '.join(ALGORITHMS)}")
        if self._records.get(key_id) is not None:
            raise HttpRefusal(
                409, "SIGNING_KEY_EXISTS", "there is a signing key with this id; choose another"
            )
        if self._records.count() >= _KEYS:
            raise HttpRefusal(409, "TOO_MANY_KEYS", f"there are {_KEYS} signing keys already")
        keyring = self._keyring()
        private, public = _ed25519() if algorithm == ED25519 else _p256()
        made = KeyRecord(
            key_id=key_id,
            algorithm=algorithm,
            public_key=public,
            created_at=self._context.now(),
            sealed=keyring.seal(_path(key_id), private),
        )
        self._records.add(key_id, made)
        self._log("tool.key", "create", key_id)
        return made

    def sign(self, key_id: str, message: bytes, *, why: str) -> tuple[str, str]:
        """Return a signature in base64, and the name of its algorithm; `why` goes on record."""
        key = self.require(key_id)
        keyring = self._keyring()
        private = None
        try:
            private = keyring.open(_path(key_id), key.sealed)
        except CryptoError:
            pass
        if private is None:
            raise HttpRefusal(
                500,
                "SIGNING_KEY_DAMAGED",
                "the stored signing key is damaged; make another and sign with that",
            )
        if key.algorithm == ED25519:
            signature = Ed25519Key(private).sign(message).signature
        else:
            signature = _sign_p256(private, message)
        self._log("tool.sign", "sign", key_id, why)
        return base64.b64encode(signature).decode("ascii"), key.algorithm

    def _keyring(self) -> Keyring:
        locked: Refusal | None = None
        try:
            return self._context.vault.require_open()
        except Refusal as error:
            locked = error
        raise HttpRefusal(503, locked.code, f"{locked.message}; {locked.suggestion}")

    def _log(self, kind: str, action: str, key_id: str, why: str = "") -> None:
        record(self._context, Event(kind, action, resource=_path(key_id), reason=why))


def _path(key_id: str) -> str:
    return f"runtime/signing-keys/{key_id}"


def _pem(der: bytes) -> str:
    text = base64.b64encode(der).decode("ascii")
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


def _ed25519() -> tuple[bytes, str]:
    key = Ed25519Key.generate()
    return bytes(key), _pem(_SPKI_ED25519 + bytes(key.verify_key))


def _p256() -> tuple[bytes, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, _pem(public)


def _sign_p256(private: bytes, message: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    load: Callable[..., object] = serialization.load_der_private_key
    key = load(private, password=None)
    if TYPE_CHECKING:
        assert isinstance(key, EllipticCurvePrivateKey)
    return key.sign(message, ec.ECDSA(hashes.SHA256()))
