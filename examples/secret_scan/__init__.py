"""An agent that looks for hard-coded credentials; see agent.py, and docs/agents.md."""

from .agent import SecretScan

__all__ = ["SecretScan"]
