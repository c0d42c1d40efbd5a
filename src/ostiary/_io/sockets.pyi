import socket
from typing import Protocol

from ..config import Address
from ..errors import ConnectError, ConnectionLostError

class _Abandons(Protocol):
    def abandon(self) -> None: ...

def forget_after_fork(thing: _Abandons) -> None:
    """Have `thing.abandon()` called in every child forked while `thing` lives."""

def deadline_after(timeout: float | None) -> float:
    """Return the monotonic time `timeout` seconds from now; infinity for None."""

def seconds_left(deadline: float) -> float:
    """Return the seconds until `deadline`; raise `DeadlineError` when there are none."""

def unreachable(address: Address, error: OSError) -> ConnectError:
    """Make the `ConnectError` that says what was tried and what to look at."""

def connection_lost(doing: str, error: int) -> ConnectionLostError:
    """Make the error for a connection that ended before anything was asked over it."""

def new_socket(family: int) -> socket.socket:
    """Return a non-blocking stream socket that no child program inherits."""

def tune(sock: socket.socket, address: Address) -> None:
    """Set what a connected socket needs: no Nagle delay, no SIGPIPE."""

def peer_uid(sock: socket.socket) -> int:
    """Return the user id of the process at the other end of a Unix socket."""

def check_peer(sock: socket.socket, address: Address, expected_uid: int | None) -> None:
    """Refuse, by `ConnectError`, a Unix-socket server that runs as somebody else."""
