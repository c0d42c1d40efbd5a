"""The agents' language, and agents that run where they are deployed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from .model import Model, Request

__all__ = [
    "AgentDeployRequest",
    "AgentDeployResponse",
    "DslCompileRequest",
    "DslCompileResponse",
]


class DslCompileRequest(Request):
    """Source text to be compiled; with `validate_only` no agent comes of it."""

    dsl_content: str
    agent_name: str
    validate_only: bool = False

    _filled: ClassVar[tuple[str, ...]] = ("agent_name",)


class DslCompileResponse(Model):
    """What became of it. `agent_id` is None when none was made."""

    success: bool
    agent_id: str | None = None
    errors: list[str] = []
    warnings: list[str] = []
    compiled_at: datetime


class AgentDeployRequest(Request):
    """An agent to be deployed."""

    agent_id: str
    environment: str = "development"
    config_overrides: dict[str, Any] = {}

    _filled: ClassVar[tuple[str, ...]] = ("agent_id", "environment")


class AgentDeployResponse(Model):
    """A deployment. `status` is `deploying`, `running`, `stopped` or `failed`."""

    deployment_id: str
    agent_id: str
    status: str
    deployed_at: datetime
    endpoint_url: str | None = None
    environment: str | None = None
