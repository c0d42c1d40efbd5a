from typing import Generic, TypeVar, final

C = TypeVar("C")

class Ticket:
    """Whoever waits for a connection."""

@final
class Roster(Generic[C]):
    """Which connection is used next, whether one may be opened, who is served first.

    It counts a connection from `admit` to `vacate`, and holds it only while it is idle.
    Times are seconds of one monotonic clock.
    """

    def __init__(self, limit: int, max_idle: int, expiry: float) -> None: ...
    @property
    def limit(self) -> int: ...
    @property
    def max_idle(self) -> int: ...
    @property
    def expiry(self) -> float: ...
    @property
    def held(self) -> int:
        """Connections that are open or being opened."""

    @property
    def idle(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    def tickets(self) -> list[Ticket]:
        """Return who waits, in the order in which they will be served."""

    def take(self) -> C | None:
        """Return the idle connection that was used last."""

    def keep(self, connection: C, now: float) -> C | None:
        """Hold a connection that came back; return the one to close because of it, if any."""

    def overdue(self, now: float) -> C | None:
        """Return one that has been idle for too long, to be closed; call until there is none."""

    def next_overdue(self) -> float:
        """Return when the next idle connection grows too old; infinity when none is idle."""

    def admit(self) -> bool:
        """Whether one more may be opened; if so, it is counted from now on."""

    def vacate(self) -> int:
        """Stop counting a connection, or one that could not be opened."""

    def enqueue(self, ticket: Ticket) -> int: ...
    def withdraw(self, ticket: Ticket) -> bool:
        """Take a ticket out of the queue; False when it is not there, having been served."""

    def serve(self) -> Ticket | None:
        """Return who has waited longest, no longer in the queue."""
