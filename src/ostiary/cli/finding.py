"""One line of `ostiary doctor`, and those that several domains have."""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path
from typing import Literal

import msgspec

from ..config import parse_base_url

__all__ = ["Finding", "exposed", "fail", "missing", "ok", "own_socket", "warn"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, how it stands, and, unless all is well, what to do next."""

    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    next: str | None = None


def ok(check: str, found: str) -> Finding:
    return Finding(check=check, status="ok", found=found)


def warn(check: str, found: str, next: str) -> Finding:
    return Finding(check=check, status="warn", found=found, next=next)


def fail(check: str, found: str, next: str) -> Finding:
    return Finding(check=check, status="fail", found=found, next=next)


def own_socket(check: str, path: Path) -> Finding:
    """Look whether a server's socket is this user's alone."""
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid():
        return fail(check, f"{path} belongs to user {found.st_uid}", "find out who started it")
    if mode & 0o077:
        return fail(check, f"{path} is open to others ({mode:04o})", f"chmod 600 {path}")
    return ok(check, f"{path} ({mode:04o})")


def exposed(check: str, url: str, key: object) -> Finding | None:
    """Look whether a key, if there is one, can be read on its way to a server."""
    if key is None or not parse_base_url(url).in_clear:
        return None
    return warn(check, f"{url} would be sent the API key in clear", "use https, or a Unix socket")


def missing(check: str, parts: tuple[tuple[str, str], ...]) -> Finding | None:
    """Look for packages, given with what each is used for; None when all are there."""
    gone = [f"{name} ({use})" for name, use in parts if importlib.util.find_spec(name) is None]
    if not gone:
        return None
    return warn(check, f"missing: {', '.join(gone)}", "run `pip install 'ostiary[dev]'`")
