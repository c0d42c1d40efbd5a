"""Inputs and outputs of agents: the repository they read, the SARIF they write.

Neighbour: `ostiary.gateway`, which has the same names.
"""

from __future__ import annotations

from .inputs import AgentInput, RepositoryInput
from .outputs import (
    AgentOutput,
    Edit,
    Finding,
    Fix,
    Location,
    SarifOutput,
    Step,
    TokenUsage,
)
from .record import RunRecord

__all__ = [
    "AgentInput",
    "AgentOutput",
    "Edit",
    "Finding",
    "Fix",
    "Location",
    "RepositoryInput",
    "RunRecord",
    "SarifOutput",
    "Step",
    "TokenUsage",
]
