"""Keys at rest: a root key sealed by a passphrase or a key file, and what is derived from it.

The root key is random; a passphrase or key file only wraps it, so that a wrong one is
noticed at once. Every credential has a key of its own, bound to its path: ciphertexts
moved between rows do not open. Neighbour: `store` keeps what this seals.
"""

from __future__ import annotations

import hashlib
import os
from typing import final

import msgspec
from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random

from ..secret import Secret
from .faults import DevserverError
from .home import Home, create_private, refuse_loose

__all__ = ["Keyring", "Wrapping"]

_KEY_BYTES = 32
# About a third of a second and 64 MiB here: once per start and per unlock.
_OPS = 3
_MEMORY_BYTES = 64 * 1024 * 1024


class Wrapping(msgspec.Struct, frozen=True, kw_only=True):
    """How the root key is wrapped; stored in the clear beside the data."""

    kdf: str  # "argon2id" or "key-file"
    wrapped: bytes
    salt: bytes = b""
    ops: int = 0
    memory_bytes: int = 0


@final
class Keyring:
    """The derived keys of an open vault.

    `lock` drops the credential key; the audit key stays, so that what happens while locked
    is still recorded.
    """

    def __init__(self, root: bytes) -> None:
        self._credentials: bytes | None = _derive(root, b"credentials")
        self.audit_key = _derive(root, b"audit")

    @property
    def locked(self) -> bool:
        return self._credentials is None

    def lock(self) -> None:
        self._credentials = None

    def reopen(self, other: Keyring) -> None:
        """Take over the key of a freshly unwrapped ring."""
        self._credentials = other._credentials

    def seal(self, path: str, value: bytes) -> bytes:
        return bytes(self._box(path).encrypt(value))

    def open(self, path: str, sealed: bytes) -> bytes:
        """Return the secret; raises `CryptoError` when the stored bytes were altered."""
        return self._box(path).decrypt(sealed)

    def _box(self, path: str) -> SecretBox:
        if self._credentials is None:
            raise DevserverError("the vault is locked")
        return SecretBox(
            hashlib.blake2b(
                path.encode("utf-8", "surrogatepass"),
                key=self._credentials,
                digest_size=_KEY_BYTES,
                person=b"ostiary path",
            ).digest()
        )


def _derive(root: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(purpose, key=root, digest_size=_KEY_BYTES, person=b"ostiary").digest()


def _stretch(passphrase: Secret, salt: bytes, ops: int, memory_bytes: int) -> bytes:
    return pwhash.argon2id.kdf(
        _KEY_BYTES, passphrase.reveal_bytes(), salt, opslimit=ops, memlimit=memory_bytes
    )


def create(home: Home, passphrase: Secret | None) -> tuple[Keyring, Wrapping]:
    """Make a new root key and wrap it; writes `master.key` when there is no passphrase."""
    root = random(_KEY_BYTES)
    if passphrase is None:
        create_private(home.master_key, random(_KEY_BYTES).hex().encode() + b"\n")
        wrapped = SecretBox(_read_master(home)).encrypt(root)
        return Keyring(root), Wrapping(kdf="key-file", wrapped=bytes(wrapped))
    salt = random(pwhash.argon2id.SALTBYTES)
    wrapped = SecretBox(_stretch(passphrase, salt, _OPS, _MEMORY_BYTES)).encrypt(root)
    return Keyring(root), Wrapping(
        kdf="argon2id",
        wrapped=bytes(wrapped),
        salt=salt,
        ops=_OPS,
        memory_bytes=_MEMORY_BYTES,
    )


def unwrap(home: Home, wrapping: Wrapping, passphrase: Secret | None) -> Keyring:
    """Open the root key; slow with a passphrase. Raises `DevserverError` when it will not."""
    if wrapping.kdf == "key-file":
        if passphrase is not None:
            raise DevserverError(
                f"this vault is sealed by {home.master_key} and not by a passphrase; leave it out"
            )
        key = _read_master(home)
        wrong = f"{home.master_key} is not the key this vault was made with; restore the right one"
    elif wrapping.kdf == "argon2id":
        if passphrase is None:
            raise DevserverError(
                "this vault is sealed with a passphrase; give it, or start locked and unlock it"
            )
        key = _stretch(passphrase, wrapping.salt, wrapping.ops, wrapping.memory_bytes)
        wrong = "the passphrase is not this vault's; try again"
    else:
        raise DevserverError("the vault was made by a newer version; upgrade to open it")
    try:
        return Keyring(SecretBox(key).decrypt(wrapping.wrapped))
    except CryptoError:
        pass
    raise DevserverError(wrong)


def _read_master(home: Home) -> bytes:
    path = home.master_key
    try:
        refuse_loose(path)
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            text = file.read(256)
    except OSError as error:
        raise DevserverError(f"cannot read {path}: {error.strerror}; restore it") from None
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise DevserverError(f"{path} does not hold {_KEY_BYTES} bytes in hex; restore it")
    return key
