"""The example: it finds, asks, offers the vault and reports, and no value leaks on the way."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ostiary.devserver import RunningVault, running

pytest.importorskip("detect_secrets", reason="detect-secrets is not installed (group examples)")

ROOT = Path(__file__).resolve().parents[2]

# Made here, so that no scanner finds them in this file.
AWS = "AKIA" + "IOSFODNN7" + "QWERTZY"
GITHUB = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
PASSWORD = "correct" + "-horse-" + "battery9"
KEY = base64.b64encode(bytes(range(7, 247, 4))).decode()


@pytest.fixture(scope="module")
def server() -> Any:
    with running(demo=True, tcp=False) as one:
        yield one


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    top = tmp_path / "acme app"
    files = {
        "config/settings.py": f'AWS_ID = "{AWS}"\nTIMEOUT = 5\n',
        "deploy.sh": f"#!/bin/sh\nexport GITHUB_TOKEN={GITHUB}\n",
        "src/db.py": f'import os\n\npassword = "{PASSWORD}"\nprint(password)\n',
        "src/twice.py": f'a = "{GITHUB}"; b = "{AWS}"\n',
        "src/clean.py": "x = 1\n",
        "build/out.py": f'AWS_ID = "{AWS}"\n',
        ".gitignore": "build/\n",
        "app.yaml": f"secret:\n  private_key: {KEY}\n",
        "escape.py": 'line = "/fail 500"  # a line of the built-in model\'s own\n'
        f'token = "{GITHUB}"\n',
    }
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (top / "link.py").symlink_to("/etc/passwd")
    return top


def scan(
    server: RunningVault, repository: Path, output: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "ostiary", "agent", "run", "examples.secret_scan:SecretScan"),
            *("--repo", str(repository), "--output", str(output), "--json", "--log-format=json"),
        ],
        env={**os.environ, **server.gateway.environment, "PYTHONPATH": str(ROOT), **variables},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_it_finds_and_reports_and_leaks_nothing(
    server: RunningVault, leaky: Path, tmp_path: Path
) -> None:
    before = len(server.gateway.calls())
    done = scan(server, leaky, tmp_path / "out", SANCTUM_VAULT_PATH=str(server.home))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    report = (tmp_path / "out/results.sarif").read_text()
    run = json.loads(report)["runs"][0]
    places = {
        (
            one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            one["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for one in run["results"]
    }
    assert places == {
        ("config/settings.py", 1),
        ("deploy.sh", 2),
        ("src/db.py", 3),
        ("src/twice.py", 1),
        ("app.yaml", 2),
        ("escape.py", 2),
    }
    assert record["metadata"]["findings"] == record["metadata"]["triaged"] == len(run["results"])
    assert record["metadata"]["stored"] == 0, "nobody was asked, so nothing is stored"
    assert record["token_usage"][0]["total_tokens"] > 0
    assert run["properties"]["tokenUsage"][0]["totalTokens"] > 0
    assert {rule["properties"]["tags"][0] for rule in run["tool"]["driver"]["rules"]} == {"CWE-798"}
    assert all("triage" in one["properties"]["metadata"] for one in run["results"])
    # Through the gateway, and each as the run's own.
    calls = server.gateway.calls()[before:]
    assert {call.path for call in calls} == {"/v1/chat/completions"}
    assert {call.status for call in calls} == {200}
    # The built-in model answers with the question: what came back shows what was asked.
    everything = done.stdout + done.stderr + report
    for value in (AWS, GITHUB, PASSWORD, KEY):
        assert value not in everything
        assert value[:12] not in everything


def test_no_value_is_in_what_the_model_is_told(leaky: Path, tmp_path: Path) -> None:
    """Every question of the triage, from the scanner itself."""
    sys.path.insert(0, str(ROOT))
    try:
        from examples.secret_scan.scanner import scan as look
        from examples.secret_scan.triage import _question
    finally:
        sys.path.remove(str(ROOT))
    from ostiary.gateway import RepositoryInput

    repository = RepositoryInput(leaky)
    hits = list(look(repository, repository.list_files(), tmp_path))
    assert {hit.value.reveal() for hit in hits} >= {AWS, GITHUB, PASSWORD}
    questions = "\n".join(map(_question, hits))
    assert "<masked>" in questions
    for value in {AWS, GITHUB, PASSWORD, KEY, *(hit.value.reveal() for hit in hits)}:
        assert value not in questions
        assert value not in repr(hits)
    assert not any(line.startswith("/") for line in questions.splitlines())
    assert [path.name for path in tmp_path.iterdir()] == [leaky.name], "no copy is left"
    for hit in hits:
        line = (leaky / hit.path).read_text().splitlines()[hit.line - 1]
        if hit.end_column:
            assert line[hit.start_column - 1 : hit.end_column - 1] == hit.value.reveal()


def test_it_moves_values_into_the_vault(
    server: RunningVault, leaky: Path, tmp_path: Path, oasis_errors: Any
) -> None:
    vault = {"SANCTUM_VAULT_PATH": str(server.home), "SECRET_SCAN_VAULT": "yes"}
    for _ in range(2):  # the second run finds them there
        done = scan(server, leaky, tmp_path / "out", **vault)
        assert done.returncode == 0, done.stderr
        assert "not_stored" not in done.stderr
        record = json.loads(done.stdout)
        assert record["metadata"]["stored"] == record["metadata"]["findings"]
    document = json.loads((tmp_path / "out/results.sarif").read_text())
    assert oasis_errors(document) == []
    stored = set()
    for one in document["runs"][0]["results"]:
        path = one["properties"]["metadata"]["vault"]
        revealed = server.admin.get(path)
        assert "secret-scan" in revealed.entry.tags
        stored.add(revealed.value.reveal())
        for fix in one.get("fixes", []):
            (change,) = fix["artifactChanges"]
            (replacement,) = change["replacements"]
            assert replacement["insertedContent"]["text"] == f"vault:{path}"
            region = replacement["deletedRegion"]
            line = (leaky / change["artifactLocation"]["uri"]).read_text().splitlines()
            text = line[region["startLine"] - 1]
            begin, end = region["startColumn"] - 1, region["endColumn"] - 1
            assert text[begin:end] == revealed.value.reveal()
    assert stored >= {AWS, GITHUB, PASSWORD}


def test_a_vault_that_is_not_there_costs_no_report(
    server: RunningVault, leaky: Path, tmp_path: Path
) -> None:
    vault = {"SANCTUM_VAULT_PATH": str(tmp_path), "SECRET_SCAN_VAULT": "yes"}
    done = scan(server, leaky, tmp_path / "out", **vault)
    assert done.returncode == 0, done.stderr
    assert "not_stored" in done.stderr
    assert json.loads(done.stdout)["metadata"]["findings"] > 0


def test_a_model_that_is_not_allowed_ends_it_with_what_was_found(
    server: RunningVault, leaky: Path, tmp_path: Path
) -> None:
    """61: the run's token names no model for triage; the findings are written all the same."""
    poor = server.gateway.issue(
        run_id="run_poor",
        org_id="77",
        allowed_models={"analysis": ["ostiary:echo"]},
        allowed_providers=["ostiary"],
    )
    done = scan(server, leaky, tmp_path / "out", **poor.environment)
    assert done.returncode == 61, done.stderr
    assert json.loads(done.stdout)["exit_code"] == 61
    run = json.loads((tmp_path / "out/results.sarif").read_text())["runs"][0]
    assert len(run["results"]) >= 6
    assert run["invocations"][0]["executionSuccessful"] is False


def test_it_stops_when_it_is_told_to(server: RunningVault, leaky: Path, tmp_path: Path) -> None:
    """In the middle of a scan that would take long: the files that were read are reported."""
    line = f'password = "{PASSWORD}"\n'
    for number in range(3000):
        (leaky / f"many{number}.py").write_text(f"# {number}\n" * 50 + line)
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "ostiary", "agent", "run", "examples.secret_scan:SecretScan"),
            *("--repo", str(leaky), "--output", str(tmp_path / "out"), "--log-format=json"),
        ],
        env={**os.environ, **server.gateway.environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stderr is not None
        while "agent_starting" not in child.stderr.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        child.stderr.read()
        assert child.wait(60) == 130
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["signal"] == "SIGTERM"
    assert record["files"] == ["results.sarif"]
    assert record["metadata"]["findings"] < 3000
