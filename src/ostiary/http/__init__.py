"""HTTP/1.1 over TCP, TLS and Unix sockets: one pool per service, sync and async.

The domains are built on it; use it for whatever service has no domain here.
"""

from __future__ import annotations

from .._io.aio_http import AsyncEventStream
from .._io.blocking_http import EventStream
from .._wire.headers import Headers
from .._wire.http1 import Response
from .._wire.sse import Event
from ._async import AsyncPool, AsyncResponseStream
from ._sync import Pool, ResponseStream
from .connections import AsyncConnections, Connections
from .hooks import RequestInfo, ResponseInfo, RetryInfo
from .settings import PoolSettings

__all__ = [
    "AsyncConnections",
    "AsyncEventStream",
    "AsyncPool",
    "AsyncResponseStream",
    "Connections",
    "Event",
    "EventStream",
    "Headers",
    "Pool",
    "PoolSettings",
    "RequestInfo",
    "Response",
    "ResponseInfo",
    "ResponseStream",
    "RetryInfo",
]
