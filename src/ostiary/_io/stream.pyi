import socket

from ..config import Address

class Stream:
    """A connected blocking socket that carries one exchange at a time."""

    @property
    def closed(self) -> bool: ...
    def stale(self) -> bool:
        """Whether this idle connection is closed, or holds bytes nobody asked for."""

    def close(self) -> None:
        """Close it; an exchange under way on another thread ends with `ConnectionLostError`."""

    def abandon(self) -> None:
        """Drop the descriptor in a forked child; the parent's connection lives on."""

def reach(address: Address, deadline: float) -> socket.socket:
    """Return a connected non-blocking socket; `ConnectError` says why not.

    Every address a host name has is tried, each with its share of the time that is left.
    """
