"""A reply that says no, read: the gateway's own word for it, and the exception it becomes.

The peer's prose stays in `body`, out of messages: it may quote a prompt or a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec

from .._decoders import decoder_of
from .._route import FailedReply
from .errors import (
    GatewayAPIError,
    GatewayAuthError,
    GatewayBadGatewayError,
    GatewayBadRequestError,
    GatewayConflictError,
    GatewayForbiddenError,
    GatewayGoneError,
    GatewayLockedError,
    GatewayMethodNotAllowedError,
    GatewayModelError,
    GatewayNotFoundError,
    GatewayOverloadedError,
    GatewayPayloadTooLargeError,
    GatewayScopeError,
    GatewayServerError,
    GatewaySpiffeError,
    GatewayTraTError,
    GatewayTraTExpiredError,
    GatewayUnprocessableError,
    GatewayUpstreamTimeoutError,
    RateLimitError,
)

__all__ = ["error_object", "refusal"]

_BY_STATUS: Final[Mapping[int, type[GatewayAPIError]]] = MappingProxyType(
    {
        cls.__dict__["status"]: cls
        for cls in (
            GatewayBadRequestError,
            GatewayAuthError,
            GatewayForbiddenError,
            GatewayNotFoundError,
            GatewayMethodNotAllowedError,
            GatewayConflictError,
            GatewayGoneError,
            GatewayPayloadTooLargeError,
            GatewayUnprocessableError,
            GatewayLockedError,
            RateLimitError,
            GatewayBadGatewayError,
            GatewayOverloadedError,
            GatewayUpstreamTimeoutError,
        )
    }
)

# The gateway's words that say more than their status (docs/identity.md, Errors).
_BY_CODE: Final[Mapping[tuple[int, str], type[GatewayAPIError]]] = MappingProxyType(
    {
        (401, "svid_missing"): GatewaySpiffeError,
        (401, "svid_malformed"): GatewaySpiffeError,
        (401, "svid_invalid"): GatewaySpiffeError,
        (401, "svid_expired"): GatewaySpiffeError,
        (401, "txn_token_missing"): GatewayTraTError,
        (401, "txn_token_multiple"): GatewayTraTError,
        (401, "txn_token_invalid"): GatewayTraTError,
        (401, "txn_token_expired"): GatewayTraTExpiredError,
        (403, "provider_not_allowed"): GatewayModelError,
        (403, "model_not_allowed"): GatewayModelError,
        (403, "scope_not_authorized"): GatewayScopeError,
        (403, "tool_not_allowed"): GatewayScopeError,
    }
)

# What to do next, which a peer's own prose seldom says.
_ADVICE: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "correct the request",
        401: "the tokens, or the API key, are missing, expired or not accepted; renew them",
        403: "this run may not do that; ask for it where the run is created",
        404: "check the model's name and the endpoint",
        405: "the peer has no such operation; check the endpoint",
        409: "what it concerns exists already or has changed; read it again",
        410: "what it concerned has ended",
        413: "send less at once",
        422: "correct the request's content",
        423: "what it concerns is locked",
        429: "send fewer requests, or wait",
        502: "the provider answered badly; try again later",
        503: "it cannot serve now; try again later",
        504: "the provider did not answer in time; try again later",
    }
)

_LONGEST_WORD: Final = 64


class _Said(msgspec.Struct):
    error: Any = None
    code: Any = None
    type: Any = None
    param: Any = None


_said: Final = decoder_of(_Said).decode


def refusal(reply: FailedReply) -> GatewayAPIError:
    """Return the exception for a reply that says no (docs/identity.md, Errors).

    Its message has the status, the peer's word for it and what to do. The peer's prose stays
    in `body`, which no message repeats: it may quote a prompt or a token.
    """
    try:
        found = _said(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Said()
    inner: object = found.error
    members = cast("dict[str, object]", inner) if isinstance(inner, dict) else {}
    code = _word(members.get("code")) or _word(found.code) or _word(found.error)
    return error_object(
        reply.status,
        code=code or _word(members.get("type")) or _word(found.type),
        param=_word(members.get("param")) or _word(found.param),
        endpoint=reply.endpoint,
        request_id=reply.request_id,
        retry_after=reply.retry_after,
        body=reply.body,
    )


def error_object(
    status: int,
    *,
    code: str | None,
    endpoint: str,
    param: str | None = None,
    request_id: str | None = None,
    retry_after: float | None = None,
    body: bytes = b"",
) -> GatewayAPIError:
    """Return the exception for a status and the peer's word; `endpoint` is for the message.

    Also for an error that arrives in the middle of a stream, whose status its code tells.
    """
    cls = _BY_CODE.get((status, code or "")) or _BY_STATUS.get(status)
    if cls is None:
        cls = GatewayServerError if 500 <= status < 600 else GatewayAPIError
    advice = _ADVICE.get(status) or (
        "the gateway failed; try again later" if status >= 500 else "see the error's body"
    )
    word = f" ({code})" if code else ""
    about = f", about {param}" if param else ""
    wait = "" if retry_after is None else f"; it asks to wait {retry_after:g} seconds"
    return cls(
        f"{endpoint} was refused with status {status}{word}{about}: {advice}{wait}",
        status=status,
        code=code,
        param=param,
        request_id=request_id,
        retry_after=retry_after,
        body=body,
    )


def _word(value: object) -> str | None:
    """Return what a peer says where a word is expected, if it is one: it goes into messages."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 1 << 31 else None
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_WORD:
        return None
    if value.startswith(("eyJ", "sk-")):  # how a JWT and most keys begin
        return None
    return value if value.isascii() and all(x.isalnum() or x in "_.-:[]" for x in value) else None
