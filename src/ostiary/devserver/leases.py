"""Leases: who holds which credential, until when.

Kept in memory; the audit log is their record, and a restart ends them all. The clock is an
argument. An id is 144 random bits, and knowing one is not enough: a lease answers to its
own agent alone. Neighbour: `vault` grants and ends them.
"""

from __future__ import annotations

import heapq
from secrets import token_urlsafe
from typing import TypeVar, final

import msgspec

__all__ = ["Lease", "Leases"]

K = TypeVar("K")


class Lease(msgspec.Struct, gc=False):
    """One grant. `connection` is the number of the connection it was made on."""

    id: str
    agent: str
    path: str
    connection: int
    granted_at: float  # wall
    expires_at: float  # wall, for showing
    deadline: float  # steady, for deciding
    ttl: int
    accesses: int = 1
    max_accesses: int | None = None


@final
class Leases:
    """Every live lease, findable by id, agent, path and connection."""

    def __init__(self) -> None:
        self._by_id: dict[str, Lease] = {}
        self._by_agent: dict[str, set[str]] = {}
        self._by_connection: dict[int, set[str]] = {}
        # Ended leases stay in the heap until their time or until they outnumber the others.
        self._deadlines: list[tuple[float, str]] = []
        self.granted = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def count(self, agent: str) -> int:
        return len(self._by_agent.get(agent, ()))

    def grant(
        self,
        agent: str,
        path: str,
        connection: int,
        ttl: int,
        steady: float,
        wall: float,
        max_accesses: int | None = None,
    ) -> Lease:
        lease = Lease(
            "L-" + token_urlsafe(18),
            agent,
            path,
            connection,
            wall,
            wall + ttl,
            steady + ttl,
            ttl,
            1,
            max_accesses,
        )
        self._by_id[lease.id] = lease
        self._by_agent.setdefault(agent, set()).add(lease.id)
        self._by_connection.setdefault(connection, set()).add(lease.id)
        heapq.heappush(self._deadlines, (lease.deadline, lease.id))
        self.granted += 1
        return lease

    def find(self, id: str) -> Lease | None:
        """Return a lease that has not ended; call `expire` first."""
        return self._by_id.get(id)

    def end(self, id: str) -> Lease | None:
        """Forget a lease; None when there is none by that id."""
        lease = self._by_id.pop(id, None)
        if lease is None:
            return None
        _discard(self._by_agent, lease.agent, id)
        _discard(self._by_connection, lease.connection, id)
        if len(self._deadlines) > 2 * len(self._by_id) + 1024:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._by_id]
            heapq.heapify(self._deadlines)
        return lease

    def expire(self, steady: float) -> list[Lease]:
        """End and return the leases whose time is up."""
        ended: list[Lease] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= steady:
            lease = self.end(heapq.heappop(deadlines)[1])
            if lease is not None:
                ended.append(lease)
            deadlines = self._deadlines
        return ended

    def of_agent(self, agent: str) -> list[Lease]:
        return self._pick(self._by_agent.get(agent))

    def of_connection(self, connection: int) -> list[Lease]:
        return self._pick(self._by_connection.get(connection))

    def of_path(self, path: str) -> list[Lease]:
        return [lease for lease in self._by_id.values() if lease.path == path]

    def all(self) -> list[Lease]:
        return list(self._by_id.values())

    def _pick(self, ids: set[str] | None) -> list[Lease]:
        found = [self._by_id[id] for id in ids or ()]
        found.sort(key=lambda lease: lease.deadline)
        return found


def _discard(index: dict[K, set[str]], key: K, id: str) -> None:
    ids = index[key]
    ids.discard(id)
    if not ids:
        del index[key]
