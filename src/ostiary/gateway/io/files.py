"""Files that appear whole or not at all.

Neighbours: `outputs` and `record`, which decide what is written.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ..errors import OutputWriteError

__all__ = ["replace_file"]


def replace_file(directory: str | os.PathLike[str], name: str, content: bytes) -> Path:
    """Write a file into a directory, which is made when it is missing; return its path.

    What stood there stays until all of the new content is on disk. A symbolic link of that
    name is replaced and not followed. Raises `OutputWriteError`, and then nothing has changed.
    """
    target = Path(directory) / name
    temporary = target.with_name(f".{name}.{secrets.token_hex(4)}.part")
    made = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL: nobody may have put anything there, not even a link.
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        made = True
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(number)
        os.replace(temporary, target)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    else:
        return target
    if made:
        try:
            os.unlink(temporary)
        except OSError:
            pass  # what matters is said below
    raise OutputWriteError(
        f"{name} cannot be written to {directory}: {reason}; mend that, or set OUTPUT_PATH"
    )
