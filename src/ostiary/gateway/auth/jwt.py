"""Read a compact JWT without verifying it: that is for whoever holds the keys.

What it refuses is what nobody could accept. Errors repeat nothing of a token.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, TypeVar

import msgspec

from ..._decoders import decoder_of
from ...secret import Secret

__all__ = ["LONGEST", "ReadFailure", "decoded", "parts"]

T = TypeVar("T")

LONGEST: Final = 64 * 1024
"""The most bytes a token may have."""

# RFC 7515, 7.1, without padding; a signature may be missing so that it can be said.
_COMPACT: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


class ReadFailure(Exception):
    """Why a token cannot be read, in words that hold nothing of it."""


class _Header(msgspec.Struct):
    alg: str
    typ: str | None = None


_header: Final = decoder_of(_Header)


def parts(token: Secret) -> tuple[str, str | None, bytes]:
    """Return algorithm, type and payload of a compact JWT.

    Raises `ReadFailure` unless it has three parts of base64url, a header that names an
    algorithm, and a signature: `none` is no algorithm here.
    """
    found = _COMPACT.fullmatch(token.reveal_bytes())
    if found is None or found.end() > LONGEST:
        del found
        raise ReadFailure("is not a JWT: three parts of base64url, joined by dots")
    header = decoded(_raw(found[1], "header"), _header, "header")
    if header.alg.lower() == "none" or not found[3]:
        del found
        raise ReadFailure("is not signed")
    try:
        return header.alg, header.typ, _raw(found[2], "payload")
    finally:
        del found  # a traceback records the locals of the frames that raise


def decoded(content: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """Decode a JWT's `what`; raise `ReadFailure` that names the place of what does not fit."""
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        problem = f"has a {what} of another shape than promised{place_of(error)}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = f"has a {what} that is not JSON"
    del content
    raise ReadFailure(problem)


def place_of(error: msgspec.ValidationError) -> str:
    """Return where a document did not fit, in our own words; keys of a map are not named."""
    text = str(error)
    if text.startswith("Object missing required field"):
        return ": " + text[:80]
    _, mark, place = text.rpartition(" - at ")
    return f", at {place[:80]}" if mark else ""


def _raw(part: bytes, what: str) -> bytes:
    try:
        return binascii.a2b_base64(part.translate(_STANDARD) + b"=" * (-len(part) % 4))
    except binascii.Error:
        pass
    del part
    raise ReadFailure(f"has a {what} that is not base64url")
