"""What the vault says when it refuses: one exception, and a constructor for each code.

A `Refusal` travels to the peer as an error object, so nothing in it may hold a secret, a
signature, a session id or a lease id. Neighbour: `dialects` writes it on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import OstiaryError

__all__ = ["DevserverError", "Refusal"]


class DevserverError(OstiaryError):
    """The embedded vault cannot start, or cannot do what was asked of it in process."""


class Refusal(Exception):
    """One error answer; every one says what to do next in `suggestion`."""

    def __init__(
        self,
        code: str,
        message: str,
        suggestion: str,
        *,
        detail: str | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion
        self.detail = detail
        self.context = context

    def body(self) -> dict[str, object]:
        """Return the error object of the wire."""
        found: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "suggestion": self.suggestion,
        }
        if self.detail is not None:
            found["detail"] = self.detail
        if self.context is not None:
            found["context"] = self.context
        return found


def auth_failed() -> Refusal:
    # One text for an unknown agent, a bad signature, and a used or late challenge: the
    # answer must not tell which agents exist.
    return Refusal(
        "AUTH_FAILED",
        "authentication failed",
        "check the agent name, and that its public key is registered with this vault; "
        "then authenticate again for a fresh challenge",
    )


def not_authenticated() -> Refusal:
    return Refusal(
        "AUTH_FAILED",
        "this connection has not authenticated",
        "call authenticate, sign the challenge, and repeat the call",
    )


def session_expired() -> Refusal:
    return Refusal(
        "SESSION_EXPIRED",
        "the session has ended or is not this connection's",
        "authenticate again on this connection",
    )


def locked() -> Refusal:
    return Refusal(
        "VAULT_LOCKED",
        "the vault is locked",
        "ask its owner to unlock it, then repeat the call",
    )


def denied(action: str, resource: str, detail: str | None = None) -> Refusal:
    return Refusal(
        "ACCESS_DENIED",
        f"no policy allows {action} on {resource}",
        "ask the vault's owner for a policy that allows it",
        detail=detail,
        context={"path": resource, "action": action},
    )


def not_found(path: str) -> Refusal:
    return Refusal(
        "CREDENTIAL_NOT_FOUND",
        f"there is no credential at {path}",
        "list the credentials to see which paths exist",
        context={"path": path},
    )


def rate_limited(what: str, retry_after: float) -> Refusal:
    # Up, so that waiting that long is enough; the small change undoes float noise.
    seconds = max(math.ceil(retry_after * 1000 - 1e-6), 1) / 1000
    return Refusal(
        "RATE_LIMITED",
        f"too many {what}",
        f"wait {seconds} seconds and repeat the call",
        context={"retry_after": seconds},
    )


def lease_expired() -> Refusal:
    # Also for an id that never existed or is another agent's: all three look alike.
    return Refusal(
        "LEASE_EXPIRED",
        "the lease has ended",
        "retrieve the credential again for a new lease",
    )


def lease_exhausted() -> Refusal:
    return Refusal(
        "LEASE_EXHAUSTED",
        "the lease has been used as often as it allows",
        "retrieve the credential again for a new lease",
    )


def invalid(message: str, suggestion: str = "correct the request and send it again") -> Refusal:
    return Refusal("INVALID_REQUEST", message, suggestion)


def method_unknown(known: str) -> Refusal:
    # The name is the peer's own text of any length: it is not repeated.
    return Refusal(
        "METHOD_NOT_FOUND",
        "the vault has no such method",
        f"use one of: {known}",
    )


def operation_unknown(known: str) -> Refusal:
    return Refusal(
        "UNSUPPORTED_OPERATION",
        "the vault has no such operation",
        f"use one of: {known}",
    )


def crypto(message: str, suggestion: str) -> Refusal:
    return Refusal("CRYPTO_ERROR", message, suggestion)


def ssrf(host: str) -> Refusal:
    return Refusal(
        "SSRF_BLOCKED",
        f"{host} is not a public address",
        "send the request to a public host, or have the vault's owner allow this one",
    )


def upstream(message: str, *, sent: bool) -> Refusal:
    return Refusal(
        "UPSTREAM_FAILED",
        message,
        "the request may have been carried out: check before repeating it"
        if sent
        else "nothing was sent: repeat the call when the host answers",
        context={"sent": sent},
    )


def internal() -> Refusal:
    return Refusal(
        "INTERNAL_ERROR",
        "the vault failed to answer this call",
        "repeat the call; if it fails again, restart the vault and report what it logged",
    )


def unlock_refused(reason: str) -> Refusal:
    return Refusal("AUTH_FAILED", f"the vault stays locked: {reason}", "give the right passphrase")


def not_owner() -> Refusal:
    return Refusal(
        "ACCESS_DENIED",
        "administration is for the vault's owner",
        "run the command as the user who started the vault, over its Unix socket",
    )


def too_large(size: int, limit: int) -> Refusal:
    return Refusal(
        "INVALID_REQUEST",
        f"the answer has {size} bytes and a frame carries {limit}",
        "ask for less at a time",
    )
