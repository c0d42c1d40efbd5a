"""SQLite files of the control plane: private, in WAL mode, of a version that is known.

Neighbours: everything here that remembers opens its file with this.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .faults import DevserverError
from .home import create_private

__all__ = ["PRAGMAS", "open_database"]

# What every database of the control plane is opened with.
PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "busy_timeout=2000",
    "journal_size_limit=16777216",
)


def open_database(
    path: Path,
    what: str,
    schema: str,
    *,
    version: int = 1,
    pragmas: Sequence[str] = (),
) -> sqlite3.Connection:
    """Open the file at `path`, made now if there is none; statements commit by themselves.

    `what` it is goes into messages. `pragmas` come after the usual ones. Raises
    `DevserverError` for a file that others can read, that is no such file, or that a newer
    version made.
    """
    # SQLite gives its side files the mode of the main one.
    create_private(path, b"")
    if os.stat(path).st_mode & 0o077:
        raise DevserverError(f"{path} is readable by others; run `chmod 600 {path}`")
    try:
        db = sqlite3.connect(path, isolation_level=None)
        try:
            for pragma in (*PRAGMAS, *pragmas):
                db.execute(f"PRAGMA {pragma}")
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found > version:
                raise DevserverError(f"{path} was made by a newer version; upgrade to open it")
            db.executescript(schema)
            db.execute(f"PRAGMA user_version={version}")
        except BaseException:
            db.close()
            raise
    except sqlite3.DatabaseError as error:
        problem = str(error)
    else:
        return db
    raise DevserverError(f"cannot open {path} as {what}: {problem}; move it away")
