"""What the domains read alike in a reply that says no. Neighbour: `_route.FailedReply`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._route import FailedReply

__all__ = ["ADVICE", "kept_headers", "reason_of"]

ADVICE: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "the server could not read the request",
        403: "this key may not do that",
        404: "nothing has that name; check it, and the base URL",
        405: "the server has no such operation; check the base URL",
        409: "what it concerns exists already or is in another state; read it again",
        410: "what it concerned has ended",
        413: "the request is larger than the server accepts; send less",
        422: "the server does not accept the request's content; see details",
        423: "what it concerns is locked",
        429: "send fewer requests, or wait",
        501: "the server cannot do that",
        502: "something behind the server answered badly; try again later",
        503: "the server cannot serve now; try again later",
        504: "something behind the server was late; try again later",
    }
)
"""What to do next, where the server gave no reason. A domain adds what it knows better."""

# A reply's message is for one line of a log.
_LONGEST: Final = 2000
# What may hold a credential.
_NOT_KEPT: Final = frozenset({"set-cookie", "www-authenticate", "authorization", "location"})


def reason_of(value: object) -> str | None:
    """Return text for a message, cut where it is too long for one; None for anything else."""
    if not isinstance(value, str) or not value:
        return None
    return value if len(value) <= _LONGEST else value[:_LONGEST] + " (cut)"


def kept_headers(reply: FailedReply) -> dict[str, str]:
    """Return the headers that an error may keep."""
    return {name: value for name, value in reply.headers.items() if name not in _NOT_KEPT}
