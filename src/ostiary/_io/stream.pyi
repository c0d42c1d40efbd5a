import socket

from typing_extensions import disjoint_base

from ..config import Address

@disjoint_base
class Stream:
    """A connected blocking socket: bytes out, bytes into a buffer, one deadline over both."""

    @property
    def closed(self) -> bool: ...
    def abandon(self) -> None:
        """Drop the descriptor in a forked child; the parent's connection lives on."""

def reach(address: Address, deadline: float) -> socket.socket:
    """Return a connected non-blocking socket; `ConnectError` says why not.

    Every address a host name has is tried, each with its share of the time that is left.
    """
