"""What a vault's answers look like to the caller.

Reading is lenient: unknown members are dropped, members a vault may leave out or send as
null are None. What an operation cannot do without is checked, and its absence is a
`VaultProtocolError`. Neighbours: `errors.py` for refusals, `_routes.py` for who sends what.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast, overload

import msgspec

from ostiary.secret import Secret

from .errors import VaultProtocolError

__all__ = [
    "Ciphertext",
    "Credential",
    "HttpHeader",
    "HttpResponse",
    "LeaseInfo",
    "Plaintext",
    "Signature",
    "Time",
    "read_time",
]

D = TypeVar("D")

Time = str | int | float
"""A moment as a vault spells it: ISO-8601 text, or seconds since 1970; see `read_time`."""

# RFC 9110: a field name is a token; a field value holds no control character but tab.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Nor can it hold a lone surrogate, which JSON can spell and no encoding can.
_NOT_IN_VALUE: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", re.IGNORECASE)


class Credential(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of `list()`: what is known about a credential, never its value.

    Members are attributes, and the entry also reads as a mapping of the members that have
    a value: `entry["path"]`, `entry.get("type")`, `"tags" in entry`, `dict(entry)`. Times
    stand as the vault sent them; `read_time` makes a datetime of either spelling.
    """

    path: str
    type: str | None = None
    description: str | None = None
    tags: list[str] | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    access_count: int | None = None
    last_accessed_by: str | None = None
    last_accessed_at: Time | None = None
    rotated_at: Time | None = None
    metadata: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        if name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None:
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    @overload
    def get(self, name: str) -> Any | None: ...
    @overload
    def get(self, name: str, default: D) -> Any | D: ...
    def get(self, name: str, default: object = None) -> object:
        """Return the member called `name`, or `default` when the vault did not send it."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> list[str]:
        """Return the names of the members that have a value, in the order declared."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]

    def values(self) -> list[Any]:
        """Return the members that have a value, in the order of `keys`."""
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        """Return (name, value) of the members that have a value."""
        return [(name, self[name]) for name in self.keys()]


# Registered and not inherited: ABCMeta and the metaclass of Struct do not combine.
cast(Any, Mapping).register(Credential)


class LeaseInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of `lease_status()`: a lease the vault still counts as running."""

    lease_id: str
    path: str | None = None
    agent_name: str | None = None
    ttl: float | None = None
    created_at: Time | None = None
    expires_at: Time | None = None

    @property
    def expires(self) -> datetime | None:
        """When the lease ends, by the vault's clock."""
        return read_time(self.expires_at)


class HttpHeader(msgspec.Struct, frozen=True):
    """The header that carries a credential, built inside the vault by `use`."""

    name: str
    value: Secret

    @classmethod
    def from_result(cls, result: object) -> HttpHeader:
        """Read the result of `http_header`: a name and a value, or one `Name: value` text.

        A name or value that could end the header line and begin another is refused.
        """
        members = _object("http_header", result)
        name, value = members.get("header_name"), members.get("header_value")
        if name is None and value is None and isinstance(members.get("header"), str):
            name, mark, value = cast(str, members["header"]).partition(": ")
            name = name if mark else None
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            # What holds the secret goes first: a traceback records the locals of a frame.
            del members, name, value, result
            raise VaultProtocolError(
                "the result of http_header has no usable header_name", sent=True
            )
        if not isinstance(value, str) or _NOT_IN_VALUE.search(value):
            del members, value, result
            raise VaultProtocolError(
                "the result of http_header has no header_value that HTTP allows", sent=True
            )
        return cls(name, Secret(value))

    def reveal(self) -> tuple[str, str]:
        """Return name and value as plain text, as HTTP clients take them."""
        return self.name, self.value.reveal()


class HttpResponse(msgspec.Struct, frozen=True):
    """The answer to a request that the vault made with a credential.

    Header names stand as the vault sent them. The repr shows no header and no body.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def from_result(cls, result: object) -> HttpResponse:
        """Read the result of `http_request`; `body_encoding` may be absent or `base64`."""
        members = _object("http_request", result)
        status = members.get("status")
        if isinstance(status, bool) or not isinstance(status, int):
            raise VaultProtocolError("the result of http_request has no status", sent=True)
        return cls(status, _headers(members.get("headers")), _body(members))

    @property
    def text(self) -> str:
        """The body in the charset its Content-Type names, else UTF-8; bad bytes replaced."""
        for name, value in self.headers.items():
            if name.lower() == "content-type" and (charset := _CHARSET.search(value)):
                try:
                    return self.body.decode(charset[1], "replace")
                except (LookupError, ValueError):
                    break  # unknown here, or no text encoding: read it as UTF-8
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body decoded from JSON; `VaultProtocolError` when it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError):
            pass
        raise VaultProtocolError(
            "the response body is not JSON; look at .status and .text", sent=True
        )

    def __repr__(self) -> str:
        return (
            f"HttpResponse(status={self.status}, {len(self.headers)} headers, "
            f"{len(self.body)} bytes)"
        )


class Signature(msgspec.Struct, frozen=True):
    """A signature made inside the vault, as the base64 text it sent."""

    signature: str

    @classmethod
    def from_result(cls, result: object) -> Signature:
        """Read the result of `sign`."""
        members = _object("sign", result)
        text = members.get("signature")
        if not isinstance(text, str) or _base64(text) is None:
            raise VaultProtocolError("the result of sign has no base64 signature", sent=True)
        return cls(text)

    @property
    def raw(self) -> bytes:
        """The signature's bytes."""
        decoded = _base64(self.signature)
        if decoded is None:
            raise VaultProtocolError("the signature is not base64", sent=True)
        return decoded


class Ciphertext(msgspec.Struct, frozen=True):
    """Text sealed inside the vault; only the vault that made it can open it."""

    ciphertext: str

    @classmethod
    def from_result(cls, result: object) -> Ciphertext:
        """Read the result of `encrypt`."""
        members = _object("encrypt", result)
        text = members.get("ciphertext")
        if not isinstance(text, str):
            raise VaultProtocolError("the result of encrypt has no ciphertext", sent=True)
        return cls(text)


class Plaintext(msgspec.Struct, frozen=True):
    """Text that the vault has opened."""

    plaintext: Secret

    @classmethod
    def from_result(cls, result: object) -> Plaintext:
        """Read the result of `decrypt`."""
        members = _object("decrypt", result)
        text = members.get("plaintext")
        if not isinstance(text, str) or not _encodable(text):
            del members, text, result
            raise VaultProtocolError("the result of decrypt has no plaintext", sent=True)
        return cls(Secret(text))

    def reveal(self) -> str:
        """Return the plain text."""
        return self.plaintext.reveal()


def read_time(value: object) -> datetime | None:
    """Return the moment that ISO-8601 text or seconds since 1970 name, None when unreadable.

    Text without an offset is taken as UTC; the result always has a time zone.
    """
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass  # no moment that this platform can name
    return None


def _object(operation: str, result: object) -> dict[str, object]:
    if not isinstance(result, dict):
        raise VaultProtocolError(f"the result of {operation} is not an object", sent=True)
    return cast("dict[str, object]", result)


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise VaultProtocolError("the headers of http_request are not an object", sent=True)
    headers: dict[str, str] = {}
    for name, content in cast("dict[str, object]", value).items():
        # A header sent more than once arrives from some vaults as a list.
        parts = cast("list[object]", content) if isinstance(content, list) else [content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) != len(parts):
            raise VaultProtocolError(f"the header {name!r} of http_request is not text", sent=True)
        headers[name] = ", ".join(texts)
    return headers


def _body(members: dict[str, object]) -> bytes:
    body, encoding = members.get("body"), members.get("body_encoding")
    if body is None:
        return b""
    if isinstance(body, str):
        if encoding in (None, "utf-8", "text") and _encodable(body):
            return body.encode()
        if encoding == "base64" and (decoded := _base64(body)) is not None:
            return decoded
    raise VaultProtocolError(
        "the body of http_request is neither text nor what body_encoding says", sent=True
    )


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _encodable(text: str) -> bool:
    # JSON can spell a lone surrogate, which no UTF-8 can; isascii is the common case.
    return text.isascii() or re.search("[\ud800-\udfff]", text) is None
