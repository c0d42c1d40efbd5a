"""What the shell offers at TAB: names from the running server, or nothing at all.

A completion never fails, never prompts and never says a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from ..errors import OstiaryError
from .session import socket_path

if TYPE_CHECKING:
    from ..devserver.admin import AdminClient

__all__ = ["agent_names", "credential_paths", "lease_ids", "policy_names"]


# A shell that hangs at TAB is worse than one that offers nothing.
_SECONDS: Final = 2.0


def credential_paths(ctx: typer.Context, incomplete: str) -> list[str]:
    return _ask(ctx, incomplete, lambda admin: (one.path for one in admin.list()))


def agent_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return _ask(ctx, incomplete, lambda admin: (one.name for one in admin.agent_list()))


def policy_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return _ask(ctx, incomplete, lambda admin: (one.name for one in admin.policy_list()))


def lease_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    return _ask(ctx, incomplete, lambda admin: (one.lease_id for one in admin.lease_list()))


def _ask(
    ctx: typer.Context, incomplete: str, names: Callable[[AdminClient], Iterable[str]]
) -> list[str]:
    home, socket = ctx.params.get("home"), ctx.params.get("socket")
    try:
        from ..devserver.admin import AdminClient

        path = socket_path(Path(home) if home else None, socket)
        with closing(AdminClient(path, timeout=_SECONDS)) as admin:
            return [name for name in names(admin) if name.startswith(incomplete)]
    except (OstiaryError, OSError):
        return []
