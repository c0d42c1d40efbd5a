"""What a pool tells its hooks: which request, how it went, when it is tried again.

Never a header's value, a body or a query: a hook may log everything it is given.
"""

from __future__ import annotations

import msgspec

__all__ = ["RequestInfo", "ResponseInfo", "RetryInfo"]


class RequestInfo(msgspec.Struct, frozen=True):
    """A request that is about to be sent.

    `path` is the route's template, or the path as given without its query. `attempt` is 1
    for the first.
    """

    method: str
    path: str
    attempt: int


class ResponseInfo(msgspec.Struct, frozen=True):
    """A response that came, whatever its status.

    `seconds` is from before the request was sent, waiting for a connection included, until
    the response was whole. Of a stream it is until its head, and `bytes` is None.
    """

    method: str
    path: str
    attempt: int
    status: int
    seconds: float
    bytes: int | None


class RetryInfo(msgspec.Struct, frozen=True):
    """An attempt that failed and is followed by another.

    `attempt` is the one that failed, `error` the name of its exception's class, `status` that
    of the response if there was one, `delay` the seconds until the next.
    """

    method: str
    path: str
    attempt: int
    error: str
    status: int | None
    delay: float
