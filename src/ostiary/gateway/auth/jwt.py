"""Read a compact JWT without verifying it: that is for whoever holds the keys.

What it refuses is what nobody could accept. Errors repeat nothing of a token.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Final, TypeVar

import msgspec

from ...secret import Secret

__all__ = ["LONGEST", "ReadFailure", "decoded", "parts"]

T = TypeVar("T")

LONGEST: Final = 64 * 1024
"""The most bytes a token may have."""

_COMPACT: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")


class ReadFailure(Exception):
    """Why a token cannot be read, in words that hold nothing of it."""


class _Header(msgspec.Struct):
    alg: str
    typ: str | None = None


_header: Final = msgspec.json.Decoder(_Header)


def parts(token: Secret) -> tuple[str, str | None, bytes]:
    """Return algorithm, type and payload of a compact JWT.

    Raises `ReadFailure` unless it has three parts of base64url, a header that names an
    algorithm, and a signature: `none` is no algorithm here.
    """
    found = (
        _COMPACT.fullmatch(token.reveal_bytes()) if len(token.reveal_bytes()) <= LONGEST else None
    )
    if found is None:
        raise ReadFailure("is not a JWT of three parts joined by dots")
    header = decoded(_raw(found[1]), _header, "header")
    if header.alg.lower() == "none" or not found[3]:
        raise ReadFailure("is not signed")
    return header.alg, header.typ, _raw(found[2])


def decoded(content: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """Decode a JWT's `what`; raise `ReadFailure` that says where it is of another shape."""
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        # The place and the types, without what stands after them.
        problem = str(error).partition(" - at ")[2] or "`$`"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = ""
    del content
    if problem:
        raise ReadFailure(f"has a {what} of an unexpected shape, at {problem[:80]}")
    raise ReadFailure(f"has a {what} that is not JSON")


def _raw(part: bytes) -> bytes:
    try:
        return binascii.a2b_base64(part.translate(_STANDARD) + b"=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        pass
    del part
    raise ReadFailure("has a part that is not base64url")


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def number(value: Any) -> float | None:
    """Return a NumericDate as a float, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < 1e15 else None
