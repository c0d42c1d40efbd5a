"""Files below one directory, and nothing beside it.

A path is walked part by part, no link is followed anywhere, and what is opened is a regular
file. A write is whole or not at all: the file is written beside its place and moved there.
Neighbour: `shipped` reads and writes with it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .call import ToolError

__all__ = ["FILE_BYTES", "read", "write"]

FILE_BYTES: Final = 4 * 1024 * 1024

_DEEPEST: Final = 32
_LONGEST: Final = 1024
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read(sandbox: Path | None, path: object) -> bytes:
    """Return a file's content; raise `ToolError` for what is not there or may not be read."""
    parts = _parts(path)
    with _directory(sandbox, parts, create=False) as directory:
        try:
            # Not to wait for the other end of a pipe that somebody put there.
            file = os.open(
                parts[-1],
                os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK,
                dir_fd=directory,
            )
        except OSError as error:
            problem = _told(error, parts)
        else:
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise ToolError(f"{_shown(parts)} is not a regular file", retry=False)
                with os.fdopen(file, "rb", closefd=False) as opened:
                    content = opened.read(FILE_BYTES + 1)
            finally:
                os.close(file)
            if len(content) > FILE_BYTES:
                raise ToolError(f"{_shown(parts)} is larger than {FILE_BYTES} bytes", retry=False)
            return content
    raise problem


def write(sandbox: Path | None, path: object, content: bytes) -> None:
    """Write a file whole, in place of one of that name; directories on the way are made."""
    parts = _parts(path)
    if len(content) > FILE_BYTES:
        raise ToolError(f"a file has at most {FILE_BYTES} bytes", retry=False)
    with _directory(sandbox, parts, create=True) as directory:
        beside = f".{secrets.token_hex(8)}.part"
        try:
            _refuse_other(directory, parts)
            file = os.open(
                beside,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=directory,
            )
            try:
                with os.fdopen(file, "wb") as opened:
                    opened.write(content)
                    opened.flush()
                    os.fsync(file)
                os.rename(beside, parts[-1], src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(beside, dir_fd=directory)
                raise
            os.fsync(directory)
        except OSError as error:
            problem = _told(error, parts)
        else:
            return
    raise problem


def _refuse_other(directory: int, parts: list[str]) -> None:
    """Refuse to replace anything but a regular file."""
    try:
        found = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise ToolError(f"{_shown(parts)} is not a regular file", retry=False)


def _parts(path: object) -> list[str]:
    if not isinstance(path, str) or not path or len(path) > _LONGEST:
        raise ToolError(f"a path is text of 1 to {_LONGEST} characters", retry=False)
    parts = path.split("/")
    if path.startswith("/") or "\0" in path or "\\" in path or {"", ".", ".."} & set(parts):
        raise ToolError(
            f"{path!r} leads out of the sandbox, or nowhere; name a file below it", retry=False
        )
    if len(parts) > _DEEPEST:
        raise ToolError(f"a path has at most {_DEEPEST} parts", retry=False)
    return parts


@contextmanager
def _directory(sandbox: Path | None, parts: list[str], *, create: bool) -> Generator[int]:
    """Open the directory that a file is in, without following a link on the way."""
    if sandbox is None:
        raise ToolError("this server has no sandbox directory for files", retry=False)
    problem: ToolError | None = None
    directory = -1
    try:
        directory = os.open(sandbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts[:-1]:
            if create:
                try:
                    os.mkdir(part, 0o700, dir_fd=directory)
                except FileExistsError:
                    pass
            inner = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
    except OSError as error:
        problem = _told(error, parts)
    try:
        if problem is not None:
            raise problem
        yield directory
    finally:
        if directory >= 0:
            os.close(directory)


def _shown(parts: list[str]) -> str:
    return "/".join(parts)


def _told(error: OSError, parts: list[str]) -> ToolError:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return ToolError(f"{_shown(parts)} leads through what is no directory", retry=False)
    # The reason alone: the whole message has the place of the sandbox.
    return ToolError(f"{_shown(parts)}: {(error.strerror or 'cannot be used').lower()}")
