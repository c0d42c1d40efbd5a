"""The protocol authors' own suite, run against our sessions.

Of its client scenarios, `auth/*` are about OAuth, which has no place here: the gateway knows
callers by two tokens. `elicitation-*` is about questions back to a user, which a gateway's
client is not asked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

CLIENT = Path(__file__).with_name("conformance_client.py")
PROGRAMS = Path(sys.prefix) / "node" / "node_modules" / ".bin"


@pytest.fixture(scope="module")
def conformance() -> str:
    """The suite's command, where `make test` has installed it, with a Node that can run it."""
    if not (PROGRAMS / "conformance").exists():
        pytest.skip("the conformance suite is not installed: it needs npm")
    path = f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}"
    said = subprocess.run(
        ["node", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    ).stdout
    if int((said.strip().lstrip("v").split(".")[0]) or 0) < 22:
        pytest.skip(f"the conformance suite needs Node 22 or later, and this is {said.strip()}")
    return path


@pytest.mark.parametrize("scenario", ["initialize", "tools_call", "sse-retry"])
def test_the_client_passes(conformance: str, scenario: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            PROGRAMS / "conformance",
            "client",
            "--command",
            f"{sys.executable} {CLIENT}",
            "--scenario",
            scenario,
            "--output-dir",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        env={**os.environ, "PATH": conformance},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "0 failed, 0 warnings" in said
