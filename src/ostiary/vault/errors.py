"""The vault's exceptions: the guide's names, hung into the shared tree.

VaultError                         root; `code`, `detail`, `suggestion`, `docs_url`, `context`
├── VaultAPIError                  the vault said no; itself for any other code; also APIError
│   ├── AuthError                  AUTH_FAILED; also AuthenticationError
│   │   └── KeyFileError           the agent's key cannot be read; found before connecting
│   ├── AccessDenied               ACCESS_DENIED; also PermissionDeniedError
│   ├── CredentialNotFound         CREDENTIAL_NOT_FOUND; also NotFoundError
│   ├── VaultLocked                VAULT_LOCKED; also LockedError
│   ├── LeaseExpired               LEASE_EXPIRED; also GoneError
│   ├── RateLimited                RATE_LIMITED; also RateLimitError
│   └── SessionExpired             SESSION_EXPIRED; also AuthenticationError
├── VaultTransportError            no whole reply; also TransportError
│   ├── VaultConnectError          also ConnectError
│   ├── VaultConnectionLostError   also ConnectionLostError
│   ├── VaultDeadlineError         also DeadlineError
│   └── VaultProtocolError         also ProtocolError
│       └── VaultSizeLimitError    also SizeLimitError
├── VaultArgumentError             INVALID_REQUEST, found here; also InvalidArgumentError
└── VaultStateError                not connected, closed; also ClientStateError

`fault` reads what a vault sends as "error". It opens no connection and decides no retry.
"""

# pyright: reportIncompatibleVariableOverride=false
# `code` is `str | None` on the shared APIError, since other protocols have replies without
# one, and always a str here, which every handler of a VaultError may rely on.

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, cast

from ostiary.errors import (
    APIError,
    AuthenticationError,
    ClientStateError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    GoneError,
    InvalidArgumentError,
    LockedError,
    NotFoundError,
    OstiaryError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    SizeLimitError,
    TransportError,
)

__all__ = [
    "CODE_TO_EXCEPTION",
    "FAMILY",
    "AccessDenied",
    "AuthError",
    "CredentialNotFound",
    "KeyFileError",
    "LeaseExpired",
    "RateLimited",
    "SessionExpired",
    "VaultAPIError",
    "VaultArgumentError",
    "VaultConnectError",
    "VaultConnectionLostError",
    "VaultDeadlineError",
    "VaultError",
    "VaultLocked",
    "VaultProtocolError",
    "VaultSizeLimitError",
    "VaultStateError",
    "VaultTransportError",
    "fault",
]


class VaultError(OstiaryError):
    """Root of everything `ostiary.vault` raises.

    `code` is the vault's own word, kept verbatim; an error made on this side carries the
    class's `default_code`. `suggestion` is the vault's advice when it gave one, `context`
    whatever else it sent, and an empty dict rather than None.
    """

    default_code: ClassVar[str] = "UNKNOWN"

    code: str
    detail: str | None
    suggestion: str | None
    docs_url: str | None
    context: dict[str, object]

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        detail: str | None = None,
        suggestion: str | None = None,
        docs_url: str | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = self.default_code if code is None else code
        self.detail = detail
        self.suggestion = suggestion
        self.docs_url = docs_url
        self.context = {} if context is None else dict(context)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, message={self.message!r})"


class VaultAPIError(VaultError, APIError):
    """The vault refused; raised itself for a code that has no class of its own.

    `retry_after` is in seconds and None when the vault named no time.
    """

    code: str


class AuthError(VaultAPIError, AuthenticationError):
    """The vault does not accept this agent: unknown name, wrong key, or a refused signature."""

    default_code = "AUTH_FAILED"


class KeyFileError(AuthError):
    """The agent's private key is missing, unreadable, unsafe, or locked by a passphrase."""


class AccessDenied(VaultAPIError, PermissionDeniedError):
    """The agent is known and no policy allows this; ask whoever administers the vault."""

    default_code = "ACCESS_DENIED"


class CredentialNotFound(VaultAPIError, NotFoundError):
    """No credential has that path; paths are case-sensitive."""

    default_code = "CREDENTIAL_NOT_FOUND"


class VaultLocked(VaultAPIError, LockedError):
    """The vault is sealed; someone must unlock it before anything can be read."""

    default_code = "VAULT_LOCKED"


class LeaseExpired(VaultAPIError, GoneError):
    """The lease has ended or its uses are spent; retrieve the credential again."""

    default_code = "LEASE_EXPIRED"


class RateLimited(VaultAPIError, RateLimitError):
    """Too many requests; `retry_after` is in seconds when the vault named a time."""

    default_code = "RATE_LIMITED"


class SessionExpired(VaultAPIError, AuthenticationError):
    """The session has ended; authenticating again mends it."""

    default_code = "SESSION_EXPIRED"


class VaultTransportError(VaultError, TransportError):
    """No whole reply arrived; `sent` is False when the request cannot have run."""

    default_code = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str = "",
        *,
        sent: bool = False,
        code: str | None = None,
        detail: str | None = None,
        suggestion: str | None = None,
        docs_url: str | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            message,
            code=code,
            detail=detail,
            suggestion=suggestion,
            docs_url=docs_url,
            context=context,
        )
        self.sent = sent


class VaultConnectError(VaultTransportError, ConnectError):
    """The vault could not be reached; nothing was sent."""


class VaultConnectionLostError(VaultTransportError, ConnectionLostError):
    """The vault went away before its whole reply arrived."""


class VaultDeadlineError(VaultTransportError, DeadlineError):
    """The time allowed for the call ran out."""


class VaultProtocolError(VaultTransportError, ProtocolError):
    """The vault sent what the protocol does not allow; the connection is closed."""


class VaultSizeLimitError(VaultProtocolError, SizeLimitError):
    """The vault announced a frame larger than `limits` allows."""


class VaultArgumentError(VaultError, InvalidArgumentError):
    """An argument or setting is wrong; nothing was sent."""

    default_code = "INVALID_REQUEST"


class VaultStateError(VaultError, ClientStateError):
    """The client cannot be used now: not connected, closed, or bound to another loop."""

    default_code = "INTERNAL_ERROR"


FAMILY: Final[Mapping[type[OstiaryError], type[VaultError]]] = MappingProxyType(
    {
        TransportError: VaultTransportError,
        ConnectError: VaultConnectError,
        ConnectionLostError: VaultConnectionLostError,
        DeadlineError: VaultDeadlineError,
        ProtocolError: VaultProtocolError,
        SizeLimitError: VaultSizeLimitError,
        InvalidArgumentError: VaultArgumentError,
        ClientStateError: VaultStateError,
    }
)
"""The vault's class for each shared condition that can arise below it; for `errors.adopt`."""


CODE_TO_EXCEPTION: Final[Mapping[str, type[VaultAPIError]]] = MappingProxyType(
    {
        "AUTH_FAILED": AuthError,
        "ACCESS_DENIED": AccessDenied,
        "CREDENTIAL_NOT_FOUND": CredentialNotFound,
        "VAULT_LOCKED": VaultLocked,
        "LEASE_EXPIRED": LeaseExpired,
        "RATE_LIMITED": RateLimited,
        "SESSION_EXPIRED": SessionExpired,
        # Other words for the same conditions, seen from other vaults.
        "NOT_FOUND": CredentialNotFound,
        "POLICY_DENIED": AccessDenied,
        "SSRF_BLOCKED": AccessDenied,
        "LEASE_EXHAUSTED": LeaseExpired,
        # Numeric codes, as text: version mismatch, denied, lease gone, lease expired,
        # rate limited, approval needed, quarantined.
        "-33001": VaultAPIError,
        "-33003": AccessDenied,
        "-33004": LeaseExpired,
        "-33005": LeaseExpired,
        "-33008": RateLimited,
        "-33020": AccessDenied,
        "-33021": AccessDenied,
    }
)
"""The class for each code a vault sends; `VaultAPIError` for every other."""

# Past this a number is no code, and str() of a longer one is refused by CPython.
_LARGEST_CODE: Final = 2**63

_SECONDS_KEYS: Final = ("retry_after", "retryAfter")
_MILLISECONDS_KEYS: Final = ("retry_after_ms", "retryAfterMs")


def fault(body: object) -> VaultAPIError:
    """Return the exception for the decoded "error" member of a reply, whatever its shape.

    A string becomes the message, with code `UNKNOWN`. An object's code is kept verbatim, a
    numeric one as its decimal text; members that are missing, null or of a wrong type count
    as not sent. The exception is returned and not raised: the caller knows the call.
    """
    if isinstance(body, str):
        return VaultAPIError(body or "the vault refused and gave no reason", code="UNKNOWN")
    if not isinstance(body, dict):
        return VaultAPIError("the vault refused and gave no reason", code="INTERNAL_ERROR")
    fields = cast("dict[object, object]", body)
    code = _code(fields.get("code"))
    # Vaults of the JSON-RPC kind say `data` where the others say `context`.
    data = _members(fields.get("data"))
    context = _members(fields.get("context")) or data
    error = CODE_TO_EXCEPTION.get(code, VaultAPIError)(
        _text(fields.get("message")) or "Unknown error",
        code=code,
        detail=_text(fields.get("detail")),
        suggestion=_text(fields.get("suggestion")),
        docs_url=_text(fields.get("docs_url")),
        context=context,
    )
    for source in (context, data, _members(fields)):
        error.retry_after = _retry_after(source)
        if error.retry_after is not None:
            break
    return error


def _code(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_CODE:
        return str(value)
    return "INTERNAL_ERROR"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _members(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        return {}
    return {
        key: member
        for key, member in cast("dict[object, object]", value).items()
        if isinstance(key, str)
    }


def _retry_after(source: Mapping[str, object]) -> float | None:
    for keys, scale in ((_SECONDS_KEYS, 1.0), (_MILLISECONDS_KEYS, 1000.0)):
        for key in keys:
            seconds = _number(source.get(key))
            if seconds is not None:
                return seconds / scale
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
