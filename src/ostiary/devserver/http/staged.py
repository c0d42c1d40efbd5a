"""Faults that a test asks for: answers that come late, are refused, or break off.

They let the users of a client see what it does when a server misbehaves; without any, the
server behaves. Neighbour: `front` acts them out.
"""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from typing import final

import msgspec

from ...errors import InvalidArgumentError

__all__ = ["HttpFault", "HttpFaults"]


class HttpFault(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong with the requests it fits.

    `path` is a glob over the decoded path, `*` crosses slashes; `method` None is any.
    `delay` seconds pass before anything is answered. With `status` the request is not
    worked on and gets that answer: `body` with `headers`, or an error body with `code`.
    `drop` ends the connection without an answer.
    `cut_after` lets that many bytes of the answer's body out and then ends the connection;
    `cut_after_events` counts the events of a stream instead. `times` None is always.
    """

    path: str = "*"
    method: str | None = None
    times: int | None = 1
    delay: float = 0.0
    drop: bool = False
    status: int | None = None
    code: str = "STAGED_FAULT"
    headers: dict[str, str] = {}
    body: bytes | None = None
    cut_after: int | None = None
    cut_after_events: int | None = None

    def __post_init__(self) -> None:
        if self.delay < 0 or (self.times is not None and self.times < 1):
            raise InvalidArgumentError("a fault's delay is not negative and its times at least 1")
        if self.status is not None and not 200 <= self.status <= 599:
            raise InvalidArgumentError(f"status {self.status} is not between 200 and 599")
        if self.body is not None and self.status is None:
            raise InvalidArgumentError("a fault's body is sent with a status; give one")
        for count in (self.cut_after, self.cut_after_events):
            if count is not None and count < 0:
                raise InvalidArgumentError("a connection is cut after 0 or more bytes or events")


@final
class HttpFaults:
    """The faults of one domain, the first that fits wins; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[HttpFault, int | None]] = []

    def add(self, fault: HttpFault) -> None:
        """Stage a fault after those that are there."""
        with self._lock:
            self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> HttpFault | None:
        """Return the fault of one request and count it."""
        if not self._waiting:
            return None
        with self._lock:
            for place, (fault, left) in enumerate(self._waiting):
                if fault.method not in {None, method} or not fnmatchcase(path, fault.path):
                    continue
                if left is not None:
                    if left == 1:
                        del self._waiting[place]
                    else:
                        self._waiting[place] = (fault, left - 1)
                return fault
        return None
