"""Arguments checked before they are sent, and secrets decoded after they arrived. No I/O."""

from __future__ import annotations

from typing import Any, cast

from ._routes import Granted
from .errors import VaultArgumentError, VaultProtocolError

__all__ = ["lease_id_of", "checked_path", "checked_ttl", "fill", "from_hex", "as_bytes", "as_text"]


def checked_path(path: str) -> str:
    """Return a credential path that may be sent."""
    if not isinstance(path, str) or not path:
        raise VaultArgumentError("path must be a credential's name, such as 'openai/api_key'")
    return path


def checked_ttl(ttl: int | None) -> int | None:
    """Return a lease time that may be sent."""
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or ttl < 0):
        raise VaultArgumentError("ttl must be a whole number of seconds, at least 0")
    return ttl


def fill(params: dict[str, Any], **given: str | None) -> None:
    """Add the members that were given."""
    params.update((name, value) for name, value in given.items() if value is not None)


def from_hex(text: str) -> bytes | None:
    """Return the bytes that hex digits spell, None when it is not hex."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def lease_id_of(result: object) -> str | None:
    """Return the id of the lease that an answer to retrieve, read either way, granted."""
    if isinstance(result, Granted):
        return result.lease_id
    found = cast("dict[str, object]", result).get("lease_id") if isinstance(result, dict) else None
    return found if isinstance(found, str) else None


def as_bytes(granted: Granted, encoding: str) -> bytes:
    """Return the secret's bytes. The reply may name an encoding of its own."""
    value = granted.value
    encoding = granted.encoding or encoding
    data: bytes | None = None
    if isinstance(value, str):
        if encoding == "hex":
            data = from_hex(value)
        elif encoding in {"utf-8", "text"}:
            data = value.encode("utf-8", "surrogatepass")
    if data is None:
        del value  # a traceback records the locals of the frame that raises
        raise VaultProtocolError(
            f"the vault's value is not {encoding} text; the lease is kept and given back by close",
            sent=True,
        )
    return data


def as_text(granted: Granted, encoding: str) -> str | None:
    """Return the secret as text, None when it is not UTF-8."""
    try:
        return as_bytes(granted, encoding).decode("utf-8")
    except UnicodeDecodeError:
        return None
