"""Is this the tool that was reviewed and signed? Asked here, with a key you already trust.

What is signed is the tool as canonical JSON (RFC 8785): members sorted by the UTF-16 units of
their names, no blanks, UTF-8, numbers as ECMAScript writes them, except that whole numbers
keep all their digits. Members without a value are left out, and the schema always has `type`,
`properties` and `required`. Nothing here asks a server; a signature says nothing about who
decided, or when.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, cast

from .errors import InvalidArgumentError, SignatureVerificationError
from .models import SignedTool, SigningKey, Tool, accept, wire

__all__ = ["canonical_json", "canonical_tool", "verify_tool"]

ED25519: Final = "Ed25519"
ECDSA_P256: Final = "ECDSA_P256"

# As servers write them, without case and separators.
_ALGORITHMS: Final[Mapping[str, str]] = {
    "ed25519": ED25519,
    "eddsa": ED25519,
    "ecdsap256": ECDSA_P256,
    "ecdsap256sha256": ECDSA_P256,
    "es256": ECDSA_P256,
}

# SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410, 4).
_ED25519_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
_PEM: Final = re.compile(
    rb"-----BEGIN PUBLIC KEY-----(\s[A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----"
)


def canonical_tool(tool: Tool | Mapping[str, Any]) -> bytes:
    """Return the bytes that a tool's signature is made over.

    A `Tool`, and a mapping with its members, give the same. Raises `InvalidArgumentError` for
    what is no tool, or cannot be written as JSON.
    """
    return canonical_json(wire(accept(Tool, tool, name="tool")))


def verify_tool(
    signed_tool: SignedTool | Mapping[str, Any], public_key: str | bytes | SigningKey
) -> None:
    """Return if `signed_tool` bears a signature over its tool by `public_key`.

    The key is PEM or DER (SubjectPublicKeyInfo); an Ed25519 key may also be its 32 bytes,
    plain or in base64. Take it from where you trust it: not from the reply that it is to judge.
    Raises `SignatureVerificationError` when the signature does not hold, and
    `InvalidArgumentError` when the key is none. ECDSA needs `pip install 'ostiary[signing]'`.
    """
    signed = accept(SignedTool, signed_tool, name="signed_tool")
    algorithm, key = _public_key(public_key)
    named = _ALGORITHMS.get(re.sub(r"[^a-z0-9]", "", signed.signature_algorithm.lower()))
    if named != algorithm:
        # The reply does not choose how it is judged.
        raise SignatureVerificationError(
            f"the tool says that it is signed by {signed.signature_algorithm[:40]!r}, and the "
            f"key is for {algorithm}; use the key it was signed with"
        )
    signature = _base64(signed.signature)
    if signature is None:
        raise SignatureVerificationError("the signature is not base64")
    message = canonical_tool(signed.tool)
    check = _holds_ed25519 if algorithm == ED25519 else _ecdsa().holds_p256
    if not check(key, signature, message):
        raise SignatureVerificationError(
            f"the {algorithm} signature of tool {signed.tool.name[:80]!r} does not hold: the tool "
            "was changed after it was signed, or was signed with another key; do not use it"
        )


def _holds_ed25519(key: bytes, signature: bytes, message: bytes) -> bool:
    if len(signature) != 64:
        return False
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def _public_key(given: str | bytes | SigningKey) -> tuple[str, bytes]:
    """Return the algorithm of a key, and the key: 32 bytes for Ed25519, else DER."""
    if isinstance(given, SigningKey):
        given = given.public_key
    if not isinstance(given, (str, bytes)):
        raise InvalidArgumentError(
            f"public_key is text, bytes or a SigningKey, not {type(given).__name__}"
        )
    data = given.encode("utf-8", "replace") if isinstance(given, str) else given
    if b"PRIVATE KEY" in data:
        raise InvalidArgumentError("public_key holds a private key; give its public half")
    if data.lstrip().startswith(b"-----"):
        armoured = _PEM.fullmatch(data.strip())
        data = _base64(armoured[1].decode("ascii")) or b"" if armoured else b""
    elif isinstance(given, str):
        data = _base64(given) or b""
    if len(data) == 32:
        return ED25519, data
    if data.startswith(_ED25519_SPKI) and len(data) == len(_ED25519_SPKI) + 32:
        return ED25519, data[len(_ED25519_SPKI) :]
    # By its object identifiers, so that who has an Ed25519 key never needs the extra.
    if _P256_OIDS in data and _ecdsa().is_p256(data):
        return ECDSA_P256, data
    raise InvalidArgumentError(
        "public_key is no Ed25519 or P-256 key in PEM, DER or base64 that can be read"
    )


# id-ecPublicKey, prime256v1 (RFC 5480, 2.1.1).
_P256_OIDS: Final = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")


def _ecdsa() -> ModuleType:
    try:
        from . import ecdsa
    except ImportError:
        pass
    else:
        return ecdsa
    raise InvalidArgumentError(
        "an ECDSA key needs the package cryptography; run pip install 'ostiary[signing]'"
    )


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def canonical_json(value: object) -> bytes:
    """Return JSON as described above; `InvalidArgumentError` for what has no such form."""
    try:
        return _written(value).encode("utf-8")
    except RecursionError:
        problem = "it is nested too deeply"
    except UnicodeEncodeError:
        problem = "it holds lone surrogates"
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise InvalidArgumentError(f"this cannot be written as canonical JSON: {problem}")


def _written(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(str(value), ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value)
        if not all(isinstance(name, str) for name in members):
            raise TypeError("a member's name is not text")
        names = sorted(
            cast("Mapping[str, object]", members),
            key=lambda name: name.encode("utf-16-be", "surrogatepass"),
        )
        return f"{{{','.join(f'{_written(name)}:{_written(members[name])}' for name in names)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_written(one) for one in cast('list[Any]', value))}]"
    raise TypeError(f"it holds a {type(value).__name__}")


def _number(value: float) -> str:
    """Write a number as ECMAScript does (ECMA-262, Number::toString)."""
    if not math.isfinite(value):
        raise TypeError("it holds a number that is not finite")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, part = mantissa.partition(".")
    if part == "0":
        part = ""
    digits = (whole + part).lstrip("0")
    # The value is 0.digits times ten to the point.
    point = len(digits) - len(part) + int(exponent or 0)
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        text = digits.ljust(point, "0")
        return sign + text[:point] + ("." + text[point:] if len(text) > point else "")
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    shown = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{shown}e{'+' if point > 0 else '-'}{abs(point - 1)}"
