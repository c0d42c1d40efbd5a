"""The agents' language: from source to program, and from a request to what a program does.

`compile_source` never fails, it tells; `run_trigger` neither. docs/dsl.md describes the
language. Neighbour: `..deployments` keeps programs and lets requests in.
"""

from __future__ import annotations

from .compiler import compile_source
from .diagnostics import Diagnostic
from .program import Compiled, Program
from .running import ActionCall, ActionResult, Host, Step, run_trigger

__all__ = [
    "ActionCall",
    "ActionResult",
    "Compiled",
    "Diagnostic",
    "Host",
    "Program",
    "Step",
    "compile_source",
    "run_trigger",
]
