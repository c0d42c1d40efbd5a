"""What a traceback shows of the library's own frames."""

from __future__ import annotations

import os

import ostiary

# By the package's own place: a checkout may have its name.
OURS = os.path.dirname(ostiary.__file__)


def recorded(error: BaseException | None) -> str:
    """Return all that an error reporter finds: texts, and the locals of the library's frames."""
    found: list[str] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        found += [str(one), repr(one), repr(getattr(one, "__notes__", ""))]
        at = one.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename.startswith(OURS):
                found.append(repr(at.tb_frame.f_locals))
            at = at.tb_next
        waiting += [one.__cause__, one.__context__]
    return "\n".join(found)
