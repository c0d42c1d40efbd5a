"""G5 and G6: an agent's process from nothing to its first answer, and what it then holds.

Fresh interpreters, as in `startup`, whose environment is that of an agent: two files with
tokens, and the gateway's socket.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..sample import Sample, Work
from . import startup
from .gateway import proof


def _as_agent(measure: Callable[[Work], Sample], work: Work) -> Sample:
    with proof("quick") as shown:
        os.environ.pop("SAGE_SANCTUM_ALLOW_DIRECT", None)
        os.environ.update(shown.environment(work.socket))
        return measure(work)


def over_bare(work: Work) -> Sample:
    """What the agent costs over an interpreter that does nothing."""
    return _as_agent(startup.over_bare, work)


def resident(work: Work) -> Sample:
    """Resident memory of the agent's whole process."""
    return _as_agent(startup.resident, work)
