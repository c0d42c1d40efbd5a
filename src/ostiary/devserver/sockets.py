"""Listening sockets: bound privately, never in place of a live one, closed without a trace.

Neighbours: `server` and `http` listen on what is bound here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from ..config import parse_address
from .faults import DevserverError

__all__ = ["BACKLOG", "LocalSocket", "bind_tcp", "stop_accepting"]

BACKLOG: Final = 1024


@final
class LocalSocket:
    """A Unix socket of ours, 0600, in place of one nobody listens on.

    Raises `DevserverError` when somebody does, or when the path is something else.
    """

    def __init__(self, path: Path) -> None:
        # Raises when the path is longer than the system lets a socket be.
        parse_address(path)
        self.path = path
        _clear(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            try:
                # Linux gives the file the socket's own mode, so it never exists as anything
                # else. Elsewhere the directory's 0700 covers the moment before chmod. The
                # umask is left alone: it belongs to the whole process, other threads included.
                os.fchmod(self.socket.fileno(), 0o600)
            except OSError:
                pass
            self.socket.bind(str(path))
            os.chmod(path, 0o600)
            self.socket.setblocking(False)
            found = os.stat(path)
        except BaseException:
            self.socket.close()
            raise
        self._id = (found.st_dev, found.st_ino)

    def close(self) -> None:
        """Close a socket that was given to nobody, and delete its file."""
        self.socket.close()
        self.remove()

    def remove(self) -> None:
        """Delete the file, if it is still ours; safe to repeat."""
        try:
            found = os.lstat(self.path)
            if self._id == (found.st_dev, found.st_ino):
                os.unlink(self.path)
        except FileNotFoundError:
            pass


def _clear(path: Path) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise DevserverError(f"{path} exists and is not a socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        except OSError as error:
            raise DevserverError(
                f"cannot tell whether {path} is in use ({error.strerror}); stop what "
                "listens there or give another directory with --home"
            ) from None
        else:
            raise DevserverError(
                f"another server already listens on {path}; stop it, or give another "
                "directory with --home"
            )
    os.unlink(path)


def bind_tcp(host: str, port: int, *, option: str) -> socket.socket:
    """Bind a TCP socket and listen; `option` is what chooses another port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its number: asyncio turns Nagle's algorithm off for sockets that say they are TCP,
    # and with it a head and a body written apart would take 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        # Here, where a failure is a sentence: two may bind one port, and only one may listen.
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise DevserverError(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what uses the port, or "
            f"choose another with {option}"
        ) from None
    return sock


async def stop_accepting(servers: Sequence[asyncio.Server]) -> None:
    """Close listening servers without losing a connection in the making."""
    # Accepting takes asyncio three turns, and closing the server in the middle of one leaves a
    # socket that nobody closes: first no new ones, then those are finished.
    loop = asyncio.get_running_loop()
    for server in servers:
        for listening in server.sockets:
            if listening.fileno() >= 0:  # a start that failed has closed them
                loop.remove_reader(listening)
    for _ in range(3):
        await asyncio.sleep(0)
    for server in servers:
        server.close()
