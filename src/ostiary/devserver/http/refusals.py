"""What an HTTP domain says when it refuses, and the JSON it says it in.

Nothing in a refusal may hold a secret or a request's content. Neighbour: `front` sends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

__all__ = ["HttpRefusal", "error_body"]

_WORDS: Final[Mapping[int, str]] = {
    400: "bad request",
    401: "unauthorized",
    403: "blocked",
    404: "not found",
    405: "method not allowed",
    408: "timeout",
    409: "conflict",
    413: "too large",
    415: "unsupported media type",
    421: "misdirected",
    422: "invalid",
    429: "too many requests",
    431: "too large",
    500: "internal",
    503: "unavailable",
    504: "timeout",
}


class HttpRefusal(Exception):
    """One error answer; raised by whoever refuses, sent by the front."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        trace_id: str | None = None,
        details: Mapping[str, object] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.trace_id = trace_id
        self.details = details
        self.headers = headers
        # The front's to set: the request that was refused.
        self.request_id: str | None = None


def error_body(refusal: HttpRefusal) -> bytes:
    """Return the body: the fields of governance's ErrorResponse, which all domains share."""
    return msgspec.json.encode(
        {
            "error": _WORDS.get(refusal.status, "error"),
            "code": refusal.code,
            "message": refusal.message,
            "trace_id": refusal.trace_id,
            "details": refusal.details,
        }
    )
