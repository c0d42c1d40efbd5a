"""Every file in examples/ runs, as its docstring says it does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

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


def rows_of(table: str) -> dict[str, tuple[str, ...]]:
    """Return the demonstration's table, by the first column."""
    lines = [re.split(" *│ *", line)[1:-1] for line in table.splitlines() if "│" in line]
    return {name: tuple(cells) for name, *cells in lines}


def number(shown: str) -> int:
    return int(shown.replace(",", ""))


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
    few = ("--agents", "10", "--threads", "3", "--seconds", "1", "--no-scan")
    done = run(DEMO, user_home, *few)
    assert done.returncode == 0, done.stdout + done.stderr
    table = rows_of(done.stdout)
    assert table["errors"][0] == "0"
    assert table["audit chain"][1] == "verified"
    begin = list(table).index("leases granted")
    both = dict(list(table.items())[begin:-2])
    assert len(both) == 21
    assert [name for name, (here, there, *_) in both.items() if here != there] == []
    counted = {name: number(here) for name, (here, *_) in both.items()}
    rounds = counted["leases granted"] // 3
    assert rounds >= 10
    assert counted["leases given back"] == 3 * rounds
    assert counted["allowed"] == 2 * rounds
    assert counted["throttled"] + counted["blocked, as is due"] == rounds
    assert counted["events of streams"] == 10 * rounds
    assert counted["traces read back"] >= 20
    assert counted["answers of models"] == 2 * rounds
    assert counted["tokens to models"] > counted["tokens from models"] > 20 * rounds
    assert (
        counted["agents registered"] == counted["signed tools"] == counted["approvals used"] == 10
    )
    kept = ("tasks done", "secrets of agents", "sentences kept", "workflows run", "events reported")
    assert [counted[name] for name in kept] == [rounds] * 5
    assert counted["tasks of workflows"] == 3 * rounds
    of_runtime = 5 * rounds + 5 * 10
    assert counted["asked of the runtime"] > of_runtime
    calls = (8 * rounds, 3 * rounds, 2 * rounds, of_runtime, rounds + 3 * 10)
    assert tuple(map(number, table["calls"])) == calls
    assert not list(user_home.iterdir()), "nothing is left behind"


def test_a_demo_with_a_repository(user_home: Path, tmp_path: Path) -> None:
    pytest.importorskip("detect_secrets", reason="the group examples is not installed")
    repository = tmp_path / "app"
    repository.mkdir()
    (repository / "deploy.py").write_text('KEY = "AKIA' + "2E0A8F3B244C9986" + '"\n')
    few = ("--agents", "2", "--threads", "1", "--seconds", "0.1")
    done = run(DEMO, user_home, *few, "--repo", str(repository))
    assert done.returncode == 0, done.stdout + done.stderr
    table = rows_of(done.stdout)
    assert table["errors"][0] == "0"
    assert table["findings"][:3] == ("1", "1", "same")
    assert table["put into the vault"][:3] == ("1", "1", "same")
    said = table["tokens it said"]
    assert said[0] == said[1] != "0"
    assert table["judged by a model"][0] == table["files read"][0] == "1"
    assert "AKIA" not in done.stdout + done.stderr
    assert not list(user_home.iterdir())


def test_a_demo_on_threads_alone(user_home: Path) -> None:
    few = ("--agents", "2", "--threads", "2", "--seconds", "0.1", "--no-scan")
    done = run(DEMO, user_home, *few)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_of(done.stdout)["errors"][0] == "0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    user_home: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [*started(DEMO), "--agents", "5", "--seconds", "600"],
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
        *(("--agents", "0"), ("--agents", "1001"), ("--seconds", "0")),
        ("--agents", "3", "--threads", "4"),
    ):
        assert run(DEMO, user_home, *wrong).returncode == 2
