"""The `ostiary` command: the embedded server, its administration, and a doctor.

Importing this needs neither typer nor rich; running it does. Neighbour: `app`, the command
tree.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit code.

    0 done, 1 refused or failed, 2 wrong usage, 3 no server reachable, 130 interrupted.
    """
    try:
        from .app import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"typer", "rich"}:
            raise
        print(
            f"ostiary: the command line needs {missing}; run: pip install 'ostiary[cli]'",
            file=sys.stderr,
        )
        return 1
    try:
        app(prog_name="ostiary")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
