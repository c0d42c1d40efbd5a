"""The environment of the peers that cannot live beside ours: LiteLLM and what stands on it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "litellm" / "bin" / "python"


def peers_python() -> str:
    """Return its interpreter, or skip the test."""
    if not PYTHON.exists():
        pytest.skip("the peers' environment is not there; make it with `make peers`")
    return str(PYTHON)
