"""What a response that says no becomes: an exception, with what the peer told of it.

The peer's own prose stays in `body`, out of messages: it may repeat what it was sent, and
what it was sent may be secret.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final, cast

import msgspec

from .._decoders import decoder_of
from .._retry import retry_after_seconds
from .._route import Fail, FailedReply
from .._wire.headers import Headers
from ..config import BaseUrl
from ..errors import APIError, OstiaryError, error_for_status

__all__ = [
    "MAX_BODY",
    "RETRYABLE",
    "is_events",
    "is_redirect",
    "origin_named",
    "refusal",
    "retry_after",
]

MAX_BODY: Final = 64 * 1024
"""How much of a failed reply's body is kept, in bytes."""

RETRYABLE: Final = frozenset(
    status for status in range(400, 600) if error_for_status(status).retryable
)
"""The statuses that a later attempt may not meet again."""

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_LOCATION: Final = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*):)?//(?:[^/?#]*@)?"
    r"(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?(?:[/?#].*)?",
    re.I | re.S,
)
_HAS_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

_ADVICE: Final = {
    304: "nothing has changed, which only a conditional request is told",
    400: "correct the request",
    401: "the credentials are missing, wrong or expired",
    403: "these credentials may not do that",
    404: "nothing has that name; look at the path and the base URL",
    405: "the peer has no such method on this path",
    408: "the peer waited too long for the request; try again",
    409: "what it concerns exists already or has changed; read it again",
    410: "what it concerned has ended",
    413: "send less at once",
    415: "give the content type the peer expects",
    422: "correct the request's content",
    423: "the peer, or what it concerns, is locked",
    429: "send fewer requests",
    501: "the peer cannot do that",
}


_anything: Final = decoder_of(dict[str, Any]).decode


def retry_after(headers: Headers) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, or None."""
    asked = headers.get("retry-after")
    if asked is None:
        return None
    # A date is measured by the peer's own clock, where it shows it.
    return retry_after_seconds(asked, headers.get("date"), time.time())


def is_events(headers: Headers) -> bool:
    """Whether a response says that it is an event stream, or says nothing."""
    kind = headers.get("content-type")
    return kind is None or kind.partition(";")[0].strip().lower() == "text/event-stream"


def is_redirect(status: int) -> bool:
    """Whether following it would lead elsewhere; 304 says that nothing has changed."""
    return 300 <= status < 400 and status != 304


def refusal(
    status: int, headers: Headers, body: bytes, endpoint: str, base: BaseUrl, fail: Fail | None
) -> OstiaryError:
    """Make the exception for a response that is no success."""
    wait = retry_after(headers)
    request_id = headers.get("x-request-id")
    if is_redirect(status):
        return APIError(
            f"{endpoint} was answered with a redirect ({status}) to "
            f"{origin_named(headers.get_all('location'), base)}; redirects are not followed: "
            "correct the base URL or the path",
            status=status,
            request_id=request_id,
            body=body,
        )
    if fail is not None:
        return fail(FailedReply(status, headers, body, wait, request_id, endpoint))
    code = _code(body)
    shown = f" ({code})" if code is not None and _WORD.fullmatch(code) else ""
    advice = _ADVICE.get(status)
    if advice is None:
        advice = "the peer failed; try again later" if status >= 500 else "see the error's body"
    if wait is not None:
        advice += f"; it asks to wait {wait:g} seconds"
    return error_for_status(status)(
        f"{endpoint} was refused with status {status}{shown}: {advice}",
        status=status,
        code=code,
        request_id=request_id,
        retry_after=wait,
        body=body,
    )


def _code(body: bytes) -> str | None:
    """Return the peer's own word for what went wrong: `code`, `error.code` or `error`."""
    try:
        found = _anything(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    code, error = found.get("code"), found.get("error")
    if code is None and isinstance(error, dict):
        inner = cast("dict[str, Any]", error)
        code = inner.get("code") or inner.get("type")
    elif code is None and isinstance(error, str) and _WORD.fullmatch(error):
        code = error
    if isinstance(code, int) and not isinstance(code, bool):
        return str(code) if abs(code) < 1 << 63 else None
    return code if isinstance(code, str) and 0 < len(code) <= 200 else None


def origin_named(locations: list[str], base: BaseUrl) -> str:
    """Say where a redirect leads, by its origin alone: path and query may hold a token."""
    if len(locations) != 1 or not (location := locations[0].strip()):
        return "no single place that it names"
    found = _LOCATION.fullmatch(location)
    if found is not None:
        scheme = found["scheme"] or base.origin.partition("://")[0]
        port = f":{int(found['port'])}" if found["port"] else ""
        return f"{scheme.lower()}://{found['host'].lower()}{port}"
    if _HAS_SCHEME.match(location) or location.startswith(("//", "\\", "/\\")):
        return "a place that cannot be read"
    return f"another path of {base.origin}"
