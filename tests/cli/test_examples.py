"""Every file in examples/ runs, as its docstring says it does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples.demo.screen import NEXT

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
DEMO = "demo"
PATIENCE = 100


def environment(home: Path) -> dict[str, str]:
    elsewhere = ("OSTIARY_", "SANCTUM_", "SAGE_", "SPIFFE_", "SYMBIONT_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(elsewhere)}
    return kept | {"HOME": str(home), "TMPDIR": str(home)}


def started(name: str) -> list[str]:
    """Return the command that runs a file, or a package that is run as one."""
    if name.endswith(".py"):
        return [sys.executable, str(EXAMPLES / name)]
    return [sys.executable, "-m", f"examples.{name}"]


def run(
    name: str, home: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*started(name), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment(home) | variables,
        timeout=PATIENCE,
        check=False,
    )


def test_every_example_is_tested() -> None:
    here = Path(__file__).read_text()
    for file in EXAMPLES.glob("*.py"):
        assert f'"{file.name}"' in here, file.name
    for package in EXAMPLES.glob("*/__main__.py"):
        assert f'"{package.parent.name}"' in here, package.parent.name


def test_quickstart(start_dev: Any, user_home: Path) -> None:
    start_dev("--demo", "--no-tcp")
    done = run("vault_quickstart.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "openai/api_key: A chat model" in done.stdout
    assert "holding github/token for 60 seconds: **********" in done.stdout
    assert "header Authorization: **********" in done.stdout
    assert "CREDENTIAL_NOT_FOUND" in done.stdout
    assert done.stderr == ""


def test_async(start_dev: Any, user_home: Path) -> None:
    start_dev("--demo", "--no-tcp")
    done = run("vault_async.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "leases held now: 0" in done.stdout
    assert "retrieved 4 credentials" in done.stdout
    assert done.stderr == ""


def test_use(user_home: Path) -> None:
    done = run("vault_use.py", user_home)
    assert done.returncode == 0, done.stderr
    # The check value of a key of two bytes, k1, and the message ping.
    assert "PaMP2/QSSDnZQW7RGt8aj2dghy2saZjbp8x5HE8QuZU=" in done.stdout
    assert "as the receiver computes it: True" in done.stdout
    assert "opens as: meet at noon" in done.stdout
    assert "denied: " in done.stdout
    assert done.stderr == ""
    assert not list(user_home.iterdir()), "its vault was temporary"


def rows_of(shown: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of the demonstration's tables, by the first column."""
    lines = [re.split(" {2,}", line.strip()) for line in shown.splitlines()]
    return {name: tuple(cells) for name, *cells in lines if cells}


def number(shown: str) -> int:
    return int(shown.replace(",", ""))


def test_client_quickstart(user_home: Path) -> None:
    done = run("client_quickstart.py", user_home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" well: ") == 5
    assert "ALLOW: Write a report on doors. (sent with **********)" in done.stdout
    assert done.stdout.endswith("one trace through all of it\n")
    assert done.stderr == ""


def test_client_async(user_home: Path) -> None:
    done = run("client_async.py", user_home)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "100 answers, 4 domains, one client\n"
    assert done.stderr == ""


def test_governance_quickstart(start_dev: Any, user_home: Path) -> None:
    where = start_dev("--demo", "--no-tcp").ready["governance"]["unix_url"]
    done = run("governance_quickstart.py", user_home, OSTIARY_GOVERNANCE_URL=where)
    assert done.returncode == 0, done.stderr
    assert "create a report: ALLOW, processed: create a report" in done.stdout
    assert "send an email to everyone: THROTTLE" in done.stdout
    assert "delete all production data: BLOCK" in done.stdout
    assert "  policy R-1, risk 0.9" in done.stdout
    assert done.stdout.endswith("[done] {}\n")
    assert done.stderr == ""


def test_fleet_quickstart(user_home: Path) -> None:
    done = run("fleet_quickstart.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "40 here, 0 failed\n40 elsewhere, 0 failed, " in done.stdout
    assert done.stderr == ""


def test_gateway_quickstart(user_home: Path) -> None:
    done = run("gateway_quickstart.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "|one| two| three| four| five|||stop" in done.stdout
    lines = len((EXAMPLES / "gateway_quickstart.py").read_text("utf-8").splitlines())
    assert f"The tool says: {lines}" in done.stdout
    assert "Triage(line=12, title=" in done.stdout
    assert "the same text, the same vector: True" in done.stdout
    assert "6 calls, " in done.stdout
    assert done.stderr == ""
    assert not list(user_home.iterdir()), "its service was temporary"


def test_gateway_async(user_home: Path) -> None:
    done = run("gateway_async.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "every answer is whole: True" in done.stdout
    assert "left after '" in done.stdout
    assert "refused: model openai:gpt-huge is not allowed" in done.stdout
    assert "asked to wait 3600 seconds" in done.stdout
    assert "100 calls, " in done.stdout
    assert done.stderr == ""


def test_governance_async(user_home: Path) -> None:
    done = run("governance_async.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "write a poem: processed: write a poem" in done.stdout
    assert "delete all production data: blocked, see " in done.stdout
    assert "stopped after 'processed:'" in done.stdout
    assert done.stderr == ""
    assert not list(user_home.iterdir()), "its service was temporary"


def test_runtime_quickstart(start_dev: Any, user_home: Path) -> None:
    where = start_dev("--demo", "--no-tcp").ready["runtime"]["unix_url"]
    done = run("runtime_quickstart.py", user_home, OSTIARY_RUNTIME_URL=where)
    assert done.returncode == 0, done.stderr
    assert "created: front-desk\nit ran: completed\nthe workflow: completed\n" in done.stdout
    assert "the door opens: True\nno way around: NOT_FOUND\n" in done.stdout
    assert "house-rules.md: The front desk is open from eight to six" in done.stdout
    assert done.stderr == ""


def test_runtime_async(user_home: Path) -> None:
    done = run("runtime_async.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "submitted: 3 of 3\n" in done.stdout
    assert "adder: approved\n  signed with Ed25519, and the signature holds\n" in done.stdout
    assert "shell: rejected\n" in done.stdout
    assert done.stderr == ""
    assert not list(user_home.iterdir()), "its service was temporary"


def test_workflow_quickstart(start_dev: Any, user_home: Path) -> None:
    where = start_dev("--demo", "--no-tcp").ready["workflow"]["unix_url"]
    for _ in range(2):
        done = run("workflow_quickstart.py", user_home, OSTIARY_WORKFLOW_URL=where)
        assert done.returncode == 0, done.stderr
        assert "not sent: a -> b -> a\n" in done.stdout
        assert " TASK_COMPLETED save\n" in done.stdout
        assert "it ended: success\na balance of 40: passed\n" in done.stdout
        assert "a balance of -40: blocked\n" in done.stdout
        assert '"the night\'s work" among them: True\n' in done.stdout
        assert done.stderr == ""


def test_workflow_async(user_home: Path) -> None:
    done = run("workflow_async.py", user_home)
    assert done.returncode == 0, done.stderr
    assert "in layers: [['Bergen', 'Porto', 'Graz', 'Turku'], ['sum'], ['publish']]" in done.stdout
    assert "TASK_COMPLETED publish\nWORKFLOW_COMPLETED\nsuccess: 1,045,000" in done.stdout
    assert done.stderr == ""
    assert not list(user_home.iterdir()), "its service was temporary"


def test_demo(user_home: Path) -> None:
    few = ("--agents", "10", "--threads", "3", "--rounds", "2", "--no-scan")
    done = run(DEMO, user_home, *few)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "errors: 0; counts that differ: 0 of 23\n" in done.stdout
    rows = rows_of(done.stdout)
    calls = {"vault": 160, "governance": 60, "gateway": 40, "runtime": 160, "workflow": 50}
    assert {domain: number(rows[domain][0]) for domain in calls} == calls
    assert number(rows["all"][0]) == sum(calls.values())
    assert {rows[domain][1] for domain in (*calls, "all")} == {"0"}
    assert number(rows["gateway"][3]) > 0, "tokens per second"
    assert all(rows[domain][-1].endswith(" ms") for domain in calls), "CPU per call"

    both = {name: cells[:2] for name, cells in rows.items() if cells[-1] == "same"}
    assert len(both) == 23
    assert {name for name, (here, there) in both.items() if here != there} == set()
    counted = {name: number(here) for name, (here, _) in both.items()}
    # Ten of two rounds, and one of twenty that is alone.
    agents, rounds = 11, 40
    assert counted["calls made, and due"] == sum(calls.values()) + 20 * 19 + 9
    assert counted["leases granted"] == counted["leases given back"] == 3 * rounds
    assert counted["keys lent to the clients, and returned"] > 0
    assert counted["allowed"] == 2 * rounds
    assert counted["throttled"] + counted["blocked, as is due"] == rounds
    assert counted["events of streams"] == 10 * rounds
    assert counted["traces read back"] >= 2 * agents
    assert counted["answers of models"] == 2 * rounds
    assert counted["tokens to models"] > counted["tokens from models"] > 20 * rounds
    once = ("agents registered", "signed tools", "approvals used")
    assert [counted[name] for name in once] == [agents] * 3
    kept = ("tasks done", "secrets of agents", "sentences kept", "workflows run", "events reported")
    assert [counted[name] for name in kept] == [rounds] * 5
    assert counted["tasks of workflows"] == 3 * rounds
    assert not list(user_home.iterdir()), "nothing is left behind"


def test_where_the_demo_says_to_look_next() -> None:
    for where in NEXT.values():
        for one in where.split(", "):
            assert one.startswith(("ostiary ", "make ")) or (ROOT / one).exists(), one


def test_a_demo_with_a_repository(user_home: Path, tmp_path: Path) -> None:
    pytest.importorskip("detect_secrets", reason="the group examples is not installed")
    repository, report = tmp_path / "app", tmp_path / "out" / "found.sarif"
    repository.mkdir()
    (repository / "deploy.py").write_text('KEY = "AKIA' + "2E0A8F3B244C9986" + '"\n')
    (repository / "later.py").write_text('KEY = "AKIA' + "2E0A8F3B244C9987" + '"\n')
    few = ("--agents", "2", "--threads", "2", "--files", "1")
    done = run(DEMO, user_home, *few, "--repo", str(repository), "--report", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "errors: 0; counts that differ: 0 of 27\n" in done.stdout
    rows = rows_of(done.stdout)
    assert rows["findings, and in the SARIF"] == ("1", "1", "same")
    assert rows["put into the vault"] == ("1", "1", "same")
    assert "1 files, 1 findings judged by a model: 1 of level error" in done.stdout
    assert "  deploy.py:1: " in done.stdout
    (found,) = json.loads(report.read_text())["runs"][0]["results"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "deploy.py"
    assert "AKIA" not in done.stdout + done.stderr + report.read_text()
    assert not list(user_home.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    user_home: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [*started(DEMO), "--agents", "5", "--threads", "2", "--rounds", "100000"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(user_home) | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "1 s:" in line:
            break
    (top,) = user_home.iterdir()
    vault = int((top / "home" / "daemon.lock").read_text())
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not list(user_home.iterdir())
    for _ in range(100):
        try:
            os.kill(vault, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the services of the demonstration still run")


def test_the_demo_refuses_figures_it_cannot_mean(user_home: Path) -> None:
    for wrong in (
        *(("--agents", "0"), ("--agents", "1001"), ("--rounds", "0"), ("--files", "0")),
        ("--agents", "3", "--threads", "4"),
    ):
        assert run(DEMO, user_home, *wrong).returncode == 2
