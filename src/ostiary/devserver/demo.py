"""The sample agent and credentials of the documentation; every value is plainly not real.

An agent key that is there already is kept and registered, never replaced. Neighbour:
`server` calls this once, at start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..vault import keys
from .administration import Administration
from .vault import Vault

__all__ = ["AGENT", "CREDENTIALS", "load"]

AGENT: Final = "my-agent"

CREDENTIALS: Final = (
    ("openai/api_key", "api_key", "sk-demo-not-a-real-key-openai", "A chat model"),
    ("anthropic/api_key", "api_key", "sk-ant-demo-not-a-real-key", "Another chat model"),
    ("github/token", "token", "ghp_demoNotARealToken", "A code host"),
    ("stripe/api_key", "api_key", "sk_test_demo_not_a_real_key", "Payments, test mode"),
    ("hook/key", "api_key", "k1", "Signs outgoing web hooks"),
    ("database/password", "password", "demo-not-a-real-password", "The reporting database"),
    ("mail/login", "password", "robot:demo-not-a-real-password", "For header_type basic"),
)


def load(vault: Vault, directory: Path) -> None:
    """Register the agent and store what is missing; repeating it changes nothing."""
    owner = Administration(vault)
    path = directory / f"{AGENT}.key"
    if path.exists():
        key = keys.load(path)
    else:
        key = keys.generate()
        keys.save(key, path)
    known = vault.agents.get(AGENT)
    if known is not None and known.public_key != key.public_key:
        owner.agent_remove(AGENT)
        known = None
    if known is None:
        owner.agent_add(AGENT, key.public_key, description="The documentation's agent", allow=["*"])
    for name, kind, value, description in CREDENTIALS:
        if name not in vault.credentials:
            owner.put(name, value.encode(), type=kind, description=description, tags=["demo"])
