"""One line of `ostiary doctor`."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Finding", "fail", "ok", "warn"]


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
