"""The `ostiary` command: the embedded server, its administration, and a doctor.

Importing this needs neither typer nor rich; running it does. Neighbour: `app`, the command
tree.
"""

from __future__ import annotations

import errno
import io
import os
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit code.

    0 done, 1 refused or failed, 2 wrong usage, 3 no server reachable, 130 interrupted.
    """
    _ready_streams()
    try:
        from .app import tree

        # Any command but a misspelt one needs no more than its own branch.
        app = tree(*sys.argv[1:2])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"typer", "rich"}:
            raise
        print(
            f"ostiary: the command line needs {missing}; run: pip install 'ostiary[cli]'",
            file=sys.stderr,
        )
        return 1
    code = 0
    try:
        try:
            app(prog_name="ostiary")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        # Here and not at the interpreter's end, where a full disk is a traceback.
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere
        if error.errno != errno.EPIPE:
            where = f"{error.filename}: " if error.filename else ""
            reason = error.strerror or type(error).__name__
            print(f"error: {where}{reason}; mend that and repeat the command", file=sys.stderr)
        return code or 1
    return code


def _ready_streams() -> None:
    # A closed standard descriptor would be given to the next socket that is opened.
    missing = [n for n, s in enumerate((sys.stdin, sys.stdout, sys.stderr)) if s is None]
    if missing:
        while os.open(os.devnull, os.O_RDWR) < 3:
            pass
        sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
        sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
        sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An ASCII locale must not turn somebody's description into a traceback.
            stream.reconfigure(errors="backslashreplace")
