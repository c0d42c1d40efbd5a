"""`ostiary fleet run`, as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

JOBS = """
import os
import signal
import time
from pathlib import Path

from ostiary.fleet import current
from ostiary.gateway import AgentResult, Finding, Location, SageSanctumAgent, SarifOutput


def square(given):
    if given["n"] == 3 and Path("broken").exists():
        raise ValueError("three")
    return {"square": given["n"] ** 2, "process": os.getpid()}


def status(given, client):
    return client.runtime.get_status().healthy


def stop_at_three(given):
    if given["n"] == 3:
        os.kill(os.getppid(), signal.SIGKILL)
    return current().key


def hold_after_two(given):
    if given["n"] > 1 and Path("hold").exists():
        Path("held").touch()
        time.sleep(600)
    return current().key


class Later(SageSanctumAgent):
    requires_gateway = False
    name = "later"
    version = "1.0.0"

    async def run(self, input):
        output = SarifOutput(self.name, self.version)
        for path in input.list_files({".py"}):
            output.findings.append(Finding("later", "T", "D", "note", Location(str(path), 1)))
        return AgentResult(output, metadata={"files": len(output.findings)})


not_work = 5
"""


@pytest.fixture
def place(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with work, and with inputs of which each has an id."""
    monkeypatch.chdir(bare)
    (bare / "jobs.py").write_text(JOBS)
    lines = [json.dumps({"id": f"i{n}", "n": n}) for n in range(6)]
    (bare / "in.jsonl").write_text("\n".join(lines) + "\n")
    return bare


def fleet(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ostiary", "fleet", "run", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_results_on_file_and_again_from_where_it_stopped(place: Path) -> None:
    (place / "broken").touch()
    done = fleet("jobs:square", "--inputs", "in.jsonl", "--out", "out.jsonl")
    assert done.returncode == 1, done.stderr
    assert "failed       1" in done.stdout
    assert "input i3 failed: ValueError: three" in done.stderr
    head, *found = rows(place / "out.jsonl")
    assert {one["id"]: one.get("value", {}).get("square") for one in found} == {
        "i0": 0,
        "i1": 1,
        "i2": 4,
        "i3": None,
        "i4": 16,
        "i5": 25,
    }

    again = fleet("jobs:square", "--inputs", "in.jsonl", "--out", "out.jsonl")
    assert again.returncode == 1
    assert "has results already" in again.stderr

    # Without the failure's line it is run again, under the key it had.
    (place / "broken").unlink()
    kept = [head, *(one for one in found if one["ok"])]
    (place / "out.jsonl").write_text("".join(json.dumps(one) + "\n" for one in kept))
    again = fleet("jobs:square", "--inputs", "in.jsonl", "--out", "out.jsonl", "--resume", "--json")
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    assert (summary["done"], summary["skipped"], summary["total"]) == (1, 5, 1)
    assert summary["run_id"] == head["fleet"]
    before = {one["id"]: one["key"] for one in found}
    _, *now = rows(place / "out.jsonl")
    assert {one["id"]: one["key"] for one in now} == before
    assert all(one["ok"] for one in now)


def test_a_run_that_is_killed_is_gone_on_with(place: Path) -> None:
    """The command itself is killed, and its processes end with it."""
    arguments = ("--inputs", "in.jsonl", "--out", "out.jsonl", "--on", "processes")
    small = ("--concurrency", "1", "--workers", "1")
    done = fleet("jobs:stop_at_three", *arguments, *small)
    assert done.returncode == -9
    head, *found = rows(place / "out.jsonl")
    jobs = (place / "jobs.py").read_text().replace("os.kill", "(lambda *of: None)")
    (place / "jobs.py").write_text(jobs)
    again = fleet("jobs:stop_at_three", *arguments, *small, "--resume")
    assert again.returncode == 0, again.stderr
    same, *now = rows(place / "out.jsonl")
    assert same == head
    assert now[: len(found)] == found
    assert sorted(one["id"] for one in now) == [f"i{n}" for n in range(6)]
    assert all(one["key"] == one["value"] for one in now)


@pytest.mark.parametrize("on", ["local", "processes"])
def test_a_run_that_is_interrupted_is_gone_on_with(place: Path, on: str) -> None:
    """A Ctrl-C, which a terminal sends to the command and to its processes."""
    (place / "hold").touch()
    arguments = ("jobs:hold_after_two", "--inputs", "in.jsonl", "--out", "out.jsonl", "--on", on)
    small = ("--concurrency", "1", "--workers", "1")
    with subprocess.Popen(
        [sys.executable, "-m", "ostiary", "fleet", "run", *arguments, *small],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        while not (place / "held").exists():
            assert running.poll() is None
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=100)
    assert running.returncode == 130
    assert said.strip() == "interrupted; --resume goes on behind the results in out.jsonl"
    head, *found = rows(place / "out.jsonl")
    assert len(found) <= 2

    (place / "hold").unlink()
    again = fleet(*arguments, *small, "--resume", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["skipped"] == len(found)
    same, *now = rows(place / "out.jsonl")
    assert same == head
    assert now[: len(found)] == found
    assert sorted(one["id"] for one in now) == [f"i{n}" for n in range(6)]


def test_agents_and_one_sarif(place: Path) -> None:
    for name in ("one", "two"):
        (place / name).mkdir()
        (place / name / "a.py").write_text("x = 1\n")
    inputs = '"one"\n{"path": "two"}\n\n"one"\n'
    arguments = ("jobs.py:Later", "--inputs", "-", "--out", "out.jsonl", "--sarif", "all.sarif")
    done = fleet(*arguments, "--json", stdin=inputs)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"] == 2
    document = (place / "all.sarif").read_text()
    runs = json.loads(document)["runs"]
    assert [len(run["results"]) for run in runs] == [1, 1]
    # A later run that has nothing to do writes the same findings.
    (place / "all.sarif").unlink()
    assert fleet(*arguments, "--resume", stdin=inputs).returncode == 0
    assert json.loads((place / "all.sarif").read_text()) == json.loads(document)


def test_a_client_of_the_environment(place: Path, plane: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("OSTIARY_RUNTIME_URL", plane.runtime_unix_url)
    done = fleet("jobs:status", "--inputs", "in.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 6


def test_a_client_of_a_profile(place: Path, plane: Any) -> None:
    path = place / ".config" / "ostiary" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'[profile.ci.runtime]\nbase_url = "{plane.runtime_unix_url}"\n')
    path.chmod(0o600)
    done = fleet("jobs:status", "--inputs", "in.jsonl", "--profile", "ci", "--on", "processes")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("jobs:nothing",), 2, "it has Later, hold_after_two, square, status, stop_at_three"),
        (("jobs:not_work",), 2, "no agent or function not_work"),
        (("jobs",), 2, "MODULE:NAME"),
        (("jobs:square", "--resume"), 2, "--out"),
        (("jobs:square", "--on", "elsewhere"), 1, "'elsewhere' is no executor"),
        (("jobs:square", "--inputs", "none.jsonl"), 1, "none.jsonl cannot be read"),
        (("jobs:square", "--inputs", "bad.jsonl"), 1, "line 2, is no JSON"),
        (("jobs:square", "--inputs", "twice.jsonl"), 1, "line 2: the id a was there before"),
    ],
)
def test_what_is_refused(place: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (place / "bad.jsonl").write_text('{"n": 1}\nhello\n')
    (place / "twice.jsonl").write_text('{"id": "a", "n": 1}\n{"id": "a", "n": 1}\n')
    given = arguments if "--inputs" in arguments else (*arguments, "--inputs", "in.jsonl")
    done = fleet(*given)
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())
