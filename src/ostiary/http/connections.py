"""Connections that several pools share, where they lead to the same place in the same way.

Holds the pools of `_io` and counts who uses them. Knows no URL, no header and no key: what is
shared is the way, not who is asking.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, final
from weakref import WeakSet

from .._io.aio_http import AsyncHttpPool
from .._io.blocking_http import HttpPool
from .._io.sockets import forget_after_fork

if TYPE_CHECKING:
    import ssl

    from .settings import PoolSettings

__all__ = ["AsyncConnections", "Connections"]

L = TypeVar("L", AsyncHttpPool, HttpPool)


class _Shared(Generic[L]):
    __slots__ = ("__weakref__", "_lock", "_ways")

    leaf: ClassVar[type[Any]]

    def __init__(self) -> None:
        """Hold nothing yet; give it to pools as `connections`."""
        # Weakly: a pool that is dropped without being closed keeps nothing open for others.
        self._ways: dict[Hashable, tuple[L, WeakSet[Any]]] = {}
        self.abandon()
        forget_after_fork(self)

    def abandon(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may hold the other."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {len(self._ways)} endpoints>"

    @classmethod
    def own(cls, settings: PoolSettings, ssl_context: ssl.SSLContext | None) -> L:
        """Return connections for one pool alone; nothing is opened."""
        made: L = cls.leaf(
            settings.address,
            limits=settings.limits,
            parser=settings.parser,
            ssl_context=ssl_context,
            expected_uid=settings.expected_uid,
            max_connections=settings.max_connections,
            max_idle=settings.max_idle,
            idle_expiry=settings.idle_expiry,
            pool_timeout=settings.pool_timeout,
        )
        return made

    def take(self, pool: object, settings: PoolSettings, ssl_context: ssl.SSLContext | None) -> L:
        """Return the connections that `pool` shares with all that have these settings."""
        with self._lock:
            key = _way(settings, ssl_context)
            found = self._ways.get(key)
            if found is None:
                found = self._ways[key] = self.own(settings, ssl_context), WeakSet()
            found[1].add(pool)
            return found[0]

    def give_back(
        self, pool: object, settings: PoolSettings, ssl_context: ssl.SSLContext | None
    ) -> L:
        """Take back what `pool` took, and close it if it was the last; return a closed one."""
        with self._lock:
            key = _way(settings, ssl_context)
            leaf, pools = self._ways[key]
            pools.discard(pool)
            if pools:
                leaf = self.own(settings, ssl_context)
            else:
                del self._ways[key]
        leaf.close()
        return leaf


def _way(settings: PoolSettings, ssl_context: ssl.SSLContext | None) -> Hashable:
    """Return what two pools have in common when they may use the same connections."""
    return (
        settings.address,
        ssl_context,
        settings.limits,
        settings.parser,
        settings.expected_uid,
        settings.max_connections,
        settings.max_idle,
        settings.idle_expiry,
        settings.pool_timeout,
    )


@final
class AsyncConnections(_Shared[AsyncHttpPool]):
    """Connections that several `AsyncPool`s share, on one event loop.

    Pools whose address, TLS context, limits, parser, sizes and `expected_uid` agree use the
    same ones. The last pool that is closed closes them; until then, calls under way of one
    that was closed go on to their end.
    """

    __slots__ = ()

    leaf = AsyncHttpPool


@final
class Connections(_Shared[HttpPool]):
    """Connections that several `Pool`s share, on any number of threads.

    Pools whose address, TLS context, limits, parser, sizes and `expected_uid` agree use the
    same ones. The last pool that is closed closes them; until then, calls under way of one
    that was closed go on to their end.
    """

    __slots__ = ()

    leaf = HttpPool
