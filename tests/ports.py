"""The ports that the guides name, lent to one test of this machine at a time.

A guide's example says where it connects, so that its test wants that very port. To look whether
it is free and to listen there are two steps: tests beside each other, in one run or in two, would
both find it free, and one of them would not start.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def lent(*ports: int) -> Generator[bool, None, None]:
    """Say whether these ports are the caller's until the end of the block.

    They are not while another test has one of them, or while anything listens there.
    """
    with ExitStack() as held:
        yield all(held.enter_context(_locked(port)) and _free(port) for port in ports)


@contextmanager
def _locked(port: int) -> Generator[bool, None, None]:
    path = Path(tempfile.gettempdir(), f"ostiary-tests-{os.getuid()}-{port}.lock")
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
