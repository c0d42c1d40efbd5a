"""The directory a vault lives in: its files, their modes, and the lock that makes it one server's.

Nothing here follows a path out of the directory or loosens a mode. Neighbours: `server`,
`sockets`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from ..config import parse_address
from .faults import DevserverError

__all__ = ["Home"]


class Home:
    """One vault directory, locked for this object's lifetime."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket_path = path / "vault.sock"
        self.database = path / "vault.db"
        self.master_key = path / "master.key"
        self.keys = path / "keys"
        # Raises when the path is longer than the system lets a socket be.
        parse_address(self.socket_path)
        _private_directory(path)
        _private_directory(self.keys)
        self._lock = self._take_lock()

    def _take_lock(self) -> int:
        path = self.path / "daemon.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno not in {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}:
                raise
            raise DevserverError(
                f"a vault is already running on {self.path}; use it, stop it, or give "
                "another directory with --home"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def close(self) -> None:
        """Give the lock back; safe to repeat."""
        if self._lock >= 0:
            # Explicitly, because a forked child shares the lock through its copy.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = -1


def _private_directory(path: Path) -> None:
    """Make sure `path` is a directory that only we can enter."""
    try:
        path.mkdir(mode=0o700, parents=True)
        os.chmod(path, 0o700)
        return
    except FileExistsError:
        pass
    except OSError as error:
        raise DevserverError(f"cannot create {path}: {error.strerror}") from None
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise DevserverError(f"{path} is not a directory; give another with --home")
    if found.st_uid != os.geteuid():
        raise DevserverError(f"{path} belongs to another user; give a directory of your own")
    if found.st_mode & 0o077:
        # Tighten only what is plainly ours: somebody may have said `--home /srv/shared`.
        names = set(os.listdir(path))
        if names and "vault.db" not in names:
            raise DevserverError(
                f"{path} can be entered by other users; run `chmod 700 {path}` if that is "
                "the directory you mean"
            )
        os.chmod(path, 0o700)


def create_private(path: Path, content: bytes) -> bool:
    """Write a new 0600 file whole, or leave an existing one alone; True when written."""
    try:
        handle = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def refuse_loose(path: Path) -> None:
    """Raise when a secret file is not ours or can be read by others."""
    found = os.stat(path)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise DevserverError(
            f"{path} must belong to you and be readable by you alone; run `chmod 600 {path}`"
        )
