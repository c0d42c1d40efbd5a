"""`ostiary agent`: finding an agent, what it is given, its exit code; settings; the doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="typer is not installed (extra cli)")

AGENT = """
import os
from pathlib import Path
from ostiary.gateway import *

class Probe(SageSanctumAgent):
    requires_gateway = False
    name = "probe"
    version = "1"

    async def run(self, input):
        seen = {name: os.environ.get(name) for name in ("RUN_ID", "ORG_ID", "REPO_REF", "WORK_DIR")}
        seen["work"] = self.context.work_dir.is_dir()
        seen["input"] = [str(input.path), input.ref, input.url]
        code = int(os.environ.get("CODE", "0"))
        return AgentResult(SarifOutput("probe", "1"), exit_code=code, metadata=seen)

class Failing(Probe):
    async def run(self, input):
        raise TraTExpiredError("the token is past its time")

class Other:
    pass
"""

LEFT_OUT = ("RUN_ID", "ORG_ID", "REPO_", "WORK_DIR", "OUTPUT_PATH", "SPIFFE", "TRAT", "LLM_", "OST")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an agent in it, and a repository beside."""
    (tmp_path / "probing.py").write_text(AGENT)
    (tmp_path / "repo").mkdir()
    return tmp_path


def ostiary(place: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(LEFT_OUT)}
    return subprocess.run(
        [sys.executable, "-m", "ostiary", *arguments],
        env={**kept, "NO_COLOR": "1", "HOME": str(place), **more},
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("target", ["probing:Probe", "probing.py:Probe", "./probing.py:Probe"])
def test_run(place: Path, target: str) -> None:
    done = ostiary(
        place,
        *("agent", "run", target, "--repo", "repo", "--ref", "main", "--json"),
        *("--url", "https://forge.example/a", "--run-id", "run_7"),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["run_id"] == "run_7"
    seen = record["metadata"]
    assert seen["input"] == [str(place / "repo"), "main", "https://forge.example/a"]
    assert (seen["RUN_ID"], seen["ORG_ID"], seen["REPO_REF"]) == ("run_7", "local", "main")
    assert seen["work"] is True
    assert not Path(seen["WORK_DIR"]).exists(), "scratch space goes with the run"
    assert (place / "output/results.sarif").exists()
    assert json.loads((place / "output/run.json").read_text()) == record


def test_exit_codes_are_the_agents(place: Path) -> None:
    run = ("agent", "run", "--repo", "repo", "--output", "out", "--log-format=text")
    done = ostiary(place, *run, "probing:Probe", CODE="7")
    assert done.returncode == 7
    assert done.stdout == ""
    assert "agent_completed" in done.stderr
    assert ostiary(place, *run, "probing:Failing").returncode == 13
    assert json.loads((place / "out/run.json").read_text())["exit_code"] == 13
    missing = ostiary(place, "agent", "run", "probing:Probe", "--repo", "nowhere")
    assert missing.returncode == 41
    assert ostiary(place, "agent", "run", "probing:Probe").returncode == 41


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("probing", "MODULE:CLASS"),
        ("probing:", "MODULE:CLASS"),
        ("probing:Other", "it has Failing, Probe"),
        ("probing:Missing", "it has Failing, Probe"),
        ("nowhere:Agent", "no module nowhere"),
        ("nowhere.py:Agent", "no file nowhere.py"),
        (".:Agent", "no module"),
        ("broken:Agent", "needs what_is_not_there"),
        ("broken.py:Agent", "needs what_is_not_there"),
    ],
)
def test_what_is_no_agent(place: Path, target: str, said: str) -> None:
    (place / "broken.py").write_text("import what_is_not_there\n")
    done = ostiary(place, "agent", "run", target, "--repo", "repo")
    assert done.returncode == 2
    text = " ".join(done.stderr.replace("│", " ").split())
    assert said in text, text


def test_code_is_not_looked_for_in_the_repository(place: Path) -> None:
    """A module there of an agent's name, or of a library's, is not imported."""
    for name in ("hidden", "msgspec", "typer"):
        (place / "repo" / f"{name}.py").write_text("raise SystemExit(99)\n")
    assert ostiary(place, "agent", "run", "hidden:Probe", "--repo", "repo").returncode == 2
    assert ostiary(place, "agent", "run", "probing:Probe", "--repo", "repo").returncode == 0


def test_settings(place: Path) -> None:
    given = {"SAGE_SANCTUM_ALLOW_DIRECT": "1", "OPENAI_API_KEY": "sk-hidden-hidden-hidden"}
    done = ostiary(place, "agent", "settings", "--json", RUN_ID="run_9", **given)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["mode"], shown["run"], shown["model"]) == ("direct", "run_9", "gpt-4o")
    assert shown["openai_key"] == "set"
    assert "hidden" not in done.stdout
    gateway = ostiary(place, "agent", "settings", LLM_GATEWAY_SOCKET="/run/llm.sock")
    assert "/run/llm.sock" in gateway.stdout
    wrong = ostiary(place, "agent", "settings", SAGE_SANCTUM_ALLOW_DIRECT="maybe")
    assert wrong.returncode == 1
    assert "SAGE_SANCTUM_ALLOW_DIRECT" in wrong.stderr


def test_doctor_looks_at_the_run(place: Path) -> None:
    def findings(**more: str) -> dict[str, str]:
        done = ostiary(place, "doctor", "--json", **more)
        return {
            one["check"]: one["status"]
            for one in json.loads(done.stdout)["findings"]
            if one["check"].startswith("agent")
        }

    assert findings() == {"agent": "ok"}
    repository = {"REPO_PATH": str(place / "repo"), "OUTPUT_PATH": str(place / "new/output")}
    assert findings(**repository) == {"agent repository": "ok", "agent output": "ok"}
    wrong = {"REPO_PATH": str(place / "nowhere"), "OUTPUT_PATH": str(place / "probing.py/x")}
    assert findings(**wrong) == {"agent repository": "fail", "agent output": "fail"}
