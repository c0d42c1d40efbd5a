"""The agents' part of `ostiary doctor`: whether a run could begin in this environment.

Only looks: no directory is made and no token read; `gateway` beside this looks at those.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import OstiaryError
from ..finding import Finding, fail, ok, warn

__all__ = ["checks"]


def checks(home: Path, socket_path: Path) -> Iterator[Finding]:
    """Look at the repository and the output directory that the environment names."""
    names = ("RUN_ID", "REPO_PATH", "OUTPUT_PATH")
    if not any(os.environ.get(name) for name in names):
        yield ok("agent", "no run is set up in this environment")
        return
    if os.environ.get("REPO_PATH"):
        from ...gateway import RepositoryInput

        try:
            repository = RepositoryInput.from_environment()
            repository.validate()
        except OstiaryError as error:
            yield fail("agent repository", error.message, "set REPO_PATH to a directory")
        else:
            yield ok("agent repository", str(repository.path))
    else:
        yield warn("agent repository", "none is set", "set REPO_PATH, or give --repo to a run")
    output = Path(os.environ.get("OUTPUT_PATH") or "/output")
    there = next((one for one in (output, *output.parents) if one.exists()), output)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield ok("agent output", str(output))
    else:
        yield fail("agent output", f"{output} cannot be written", "set OUTPUT_PATH")
