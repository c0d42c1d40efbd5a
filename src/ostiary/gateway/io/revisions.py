"""What git knows of a checkout: the files that commits have changed.

Compares trees and never the work tree, so that no filter or hook a repository configures is
run. Neighbour: `inputs`, which opens what is named here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import InputValidationError

__all__ = ["changed_since"]

_REVISION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@{}^~+-]{0,254}")
_PATIENCE: Final = 60.0


def changed_since(root: Path, since: str) -> list[tuple[str, ...]]:
    """Return the paths, as segments, that differ between HEAD and where it left `since`.

    Deleted files are left out. Raises `InputValidationError` when git is missing, is refused
    or does not know the revision.
    """
    if not isinstance(since, str) or not _REVISION.fullmatch(since):
        raise InputValidationError("a revision is a branch, a tag or a commit, such as origin/main")
    parted = _git(root, "merge-base", "--end-of-options", since, "HEAD").strip().decode("ascii")
    listed = _git(
        root,
        *("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=d"),
        *("--no-ext-diff", "--no-textconv", parted, "HEAD"),
    )
    return [tuple(os.fsdecode(name).split("/")) for name in listed.split(b"\0") if name]


def _git(root: Path, *arguments: Sequence[str] | str) -> bytes:
    import subprocess

    # Nothing of the machine's or the user's configuration, no prompt, no fetching, and no
    # repository above the one that was named.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_CEILING_DIRECTORIES": str(root.absolute().parent),
    }
    settings = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
    try:
        done = subprocess.run(
            ["git", "--no-pager", *settings, *map(str, arguments)],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )
    except FileNotFoundError:
        reason = "git is not installed, or the repository is not there"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except subprocess.TimeoutExpired:
        reason = f"git did not answer within {_PATIENCE:g} seconds"
    else:
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[0].removeprefix("fatal: ")[:300] if said else f"status {done.returncode}"
    raise InputValidationError(
        f"the changes of the repository cannot be listed: {reason}; check that it is a git "
        "checkout with enough history, and the revision's name"
    )
