"""Expressions that callers send: JMESPath, which computes nothing but what it is asked about.

Neighbours: `validators` asks them about changes, the tools transform data with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["LONGEST", "Expression", "compiled"]

Expression = Callable[[Any], Any]

LONGEST: Final = 10_000
"""Characters of one expression; its parser takes a step of recursion for each nesting."""


def compiled(text: str) -> Expression:
    """Return an expression ready to be asked; raises ValueError for what is none."""
    import jmespath
    from jmespath.exceptions import JMESPathError

    if len(text) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters")
    try:
        search = jmespath.compile(text).search
    except JMESPathError as error:
        problem = " ".join(str(error).split())
    except RecursionError:
        problem = "it is nested too deeply"
    else:
        return search
    raise ValueError(f"{problem}; see jmespath.org for the language")
