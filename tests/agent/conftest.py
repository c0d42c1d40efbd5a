"""Fixtures for agents: findings from hypothesis, the OASIS schema, a repository on disk."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT.parent / "shared" / "vectors" / "sarif-schema-2.1.0.json"


@pytest.fixture(scope="session")
def sarif_schema() -> dict[str, Any]:
    """The schema as OASIS publishes it."""
    if not SCHEMA.exists():
        pytest.skip("the OASIS schema is not beside this checkout")
    return json.loads(SCHEMA.read_bytes())  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def oasis_errors(sarif_schema: dict[str, Any]) -> Callable[[Any], list[str]]:
    """Call it with a document as JSON is read; what that schema, in draft 4, finds wrong."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    draft = jsonschema.Draft4Validator
    validator = draft(sarif_schema, format_checker=draft.FORMAT_CHECKER)

    def errors(content: Any) -> list[str]:
        return [f"{e.json_path}: {e.message[:200]}" for e in validator.iter_errors(content)]

    return errors


@pytest.fixture(scope="session")
def sarif_multitool() -> str:
    """Microsoft's validator: $SARIF_MULTITOOL, on the PATH, or installed beside Python."""
    name = "sarif-multitool-linux"
    beside = ROOT / ".venv" / "node" / "node_modules" / ".bin"
    found = (
        os.environ.get("SARIF_MULTITOOL") or shutil.which(name) or shutil.which(name, path=beside)
    )
    if not found:
        pytest.skip("sarif-multitool is not installed: npm install @microsoft/sarif-multitool")
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small tree with a few of each kind of file."""
    top = tmp_path / "repository"
    for name, content in {
        "README.md": b"# A repository\n",
        "src/app.py": b"import os\n\nprint(os.name)\n",
        "src/net.py": b"import socket\n",
        "src/deep/er/leaf.py": b"x = 1\n",
        "src/..odd": b"a name that only looks like a way out\n",
        "data/blob.bin": b"\x00\x01\x02",
        ".git/config": b"[core]\n",
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return top


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Give back what `configure_logging` changes, for the tests that come after."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {
        name: one.level
        for name, one in root.manager.loggerDict.items()
        if isinstance(one, logging.Logger)
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, one in root.manager.loggerDict.items():
        if isinstance(one, logging.Logger):
            one.setLevel(levels.get(name, logging.NOTSET))
    if importlib.util.find_spec("structlog"):
        import structlog

        structlog.reset_defaults()


@pytest.fixture
def external(tmp_path: Path, repository: Path) -> dict[str, str]:
    """The environment of an agent without a gateway."""
    return {
        "RUN_ID": "run_1",
        "ORG_ID": "org_1",
        "OUTPUT_PATH": str(tmp_path / "output"),
        "WORK_DIR": str(tmp_path),
        "REPO_PATH": str(repository),
    }


@pytest.fixture
def written(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Call it for what stands in `run.json`."""
    return lambda: json.loads((tmp_path / "output" / "run.json").read_bytes())
