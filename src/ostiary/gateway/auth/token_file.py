"""A file that holds one token, which somebody else renews.

Read again when it has changed and not otherwise. It does not know what kind of token it is.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from ...secret import Secret
from .jwt import LONGEST, ReadFailure

__all__ = ["TokenFile"]

# A file that was written less than this before it was read may be written again without
# showing it: the coarsest clock of a file system in use has steps of two seconds.
_COARSEST_NS: Final = 2_000_000_000

_Signature = tuple[int, int, int, int, int]


class TokenFile:
    """One file and what it looked like when it was read last."""

    __slots__ = ("_name", "_seen", "_warned", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._name = str(self.path)  # looked at before every request
        self._seen: _Signature | None = None
        self._warned = False

    def changed(self) -> bool:
        """Whether it may hold something else than when it was read last."""
        if self._seen is None:
            return True
        try:
            return _signature(os.stat(self._name)) != self._seen
        except OSError:
            return True

    def forget(self) -> None:
        """Have the next look find it changed."""
        self._seen = None

    def read(self) -> Secret:
        """Return its content without the white space around it; `ReadFailure` for none."""
        self._seen = None
        problem: str
        try:
            # NONBLOCK: a FIFO without a writer would hold us up for ever.
            descriptor = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    problem = "is not a regular file"
                else:
                    content = Secret(file.read(LONGEST + 1).strip())
                    self._note(found, os.fstat(descriptor))
                    if content and len(content.reveal_bytes()) <= LONGEST:
                        return content
                    problem = f"is longer than {LONGEST} bytes" if content else "is empty"
        except OSError as error:
            problem = f"cannot be read: {error.strerror or type(error).__name__}"
        except ValueError:
            problem = "is no path of this system"
        raise ReadFailure(problem)

    def _note(self, before: os.stat_result, after: os.stat_result) -> None:
        old_enough = time.time_ns() - before.st_mtime_ns >= _COARSEST_NS
        if old_enough and _signature(before) == _signature(after):
            self._seen = _signature(before)
        if not self._warned and before.st_uid == os.geteuid() and before.st_mode & 0o077:
            import logging

            # Files of another owner are mounted so, and not ours to change.
            self._warned = True
            logging.getLogger("ostiary.gateway").warning(
                "%s holds a token and other users may open it; run: chmod 600 %s",
                self.path,
                self.path,
            )


def _signature(found: os.stat_result) -> _Signature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
