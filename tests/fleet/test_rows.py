"""Results on file: each a line, whole after a crash, and read by whoever goes on."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import InvalidArgumentError
from ostiary.fleet import Fleet, FleetReport
from ostiary.fleet.rows import Rows
from ostiary.gateway import Edit, Finding, Fix, Location, RepositoryInput, SarifOutput, Step
from ostiary.secret import Secret
from tests.fleet import works

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
PLACE = Location("a.py", 3, 4, 1, 9)


def write(path: Path, work: Any, inputs: Any, *, resume: bool = False) -> list[dict[str, Any]]:
    with Rows(path, "m:w", resume=resume) as rows:
        fleet = Fleet(work, run_id=rows.run_id, concurrency=1)
        rows.begin(fleet.run_id)
        for result in fleet.stream(inputs):
            rows.add(result)
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_line_for_each(tmp_path: Path) -> None:
    head, *lines = write(tmp_path / "out", works.fail, range(4))
    assert head == {"fleet": head["fleet"], "work": "m:w"}
    assert [one["id"] for one in lines] == ["0", "1", "2", "3"]
    assert lines[1] == {
        "id": "1",
        "key": lines[1]["key"],
        "attempts": 1,
        "seconds": lines[1]["seconds"],
        "ok": True,
        "value": 1,
    }
    assert lines[3]["ok"] is False
    assert lines[3]["error"] == {"type": "ValueError", "message": "3 is a multiple of three"}


def test_whoever_goes_on_has_the_same_run_and_knows_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "out"
    head, *_ = write(path, works.double, range(3))
    with Rows(path, "m:w", resume=True) as rows:
        assert rows.run_id == head["fleet"]
        assert rows.done == {"0", "1", "2"}
    lines = write(path, works.double, [], resume=True)
    assert len(lines) == 4  # and no second head


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_crash_has_cut_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "out"
    write(path, works.double, range(3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Rows(path, "m:w", resume=True) as rows:
        assert rows.done == {"0", "1"}
    assert whole.startswith(path.read_bytes())
    assert path.read_bytes().endswith(b"\n")


def test_a_head_that_was_cut_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b'{"fleet":"ab')
    head, *lines = write(path, works.double, range(2), resume=True)
    assert head["fleet"] != "ab"
    assert len(lines) == 2


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, works.double, range(1))
    with pytest.raises(InvalidArgumentError, match="--resume to go on"):
        Rows(path, "m:w", resume=False)
    with pytest.raises(InvalidArgumentError, match="results of m:w"):
        Rows(path, "m:other", resume=True)
    with Rows(path, "m:w", resume=True), pytest.raises(InvalidArgumentError, match="another"):
        Rows(path, "m:w", resume=True)
    with pytest.raises(InvalidArgumentError, match="cannot be written"):
        Rows(tmp_path, "m:w", resume=False)
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(InvalidArgumentError, match="line 3, is no result"):
        Rows(path, "m:w", resume=True)
    path.write_bytes(b"hello\n")
    with pytest.raises(InvalidArgumentError, match="line 1, is no result"):
        Rows(path, "m:w", resume=True)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Secret("hunter2"), "Secret"),
        ({1: "a"}, {"1": "a"}),
        (math.nan, None),
        ({"deep": {"is": object()}}, {"deep": {"is": "object"}}),
        (ENDLESS, "list"),
        (b"ab", "YWI="),
        (None, None),
    ],
    ids=["secret", "numbers as names", "nan", "no JSON", "endless", "bytes", "nothing"],
)
def test_values_that_json_has_no_form_for(tmp_path: Path, value: Any, shown: Any) -> None:
    _, line = write(tmp_path / "out", lambda given: value, [1])
    assert line.get("value") == shown
    assert "hunter2" not in (tmp_path / "out").read_text()


def test_errors_that_no_utf8_can_hold(tmp_path: Path) -> None:
    def work(given: int) -> None:
        raise FileNotFoundError(2, "No such file", "caf\udce9.py")

    (_, line) = write(tmp_path / "out", work, [1])
    assert "caf\\udce9.py" in line["error"]["message"]


FULL = """
import resource, sys
from ostiary.fleet import Fleet, FleetError
from ostiary.fleet.rows import Rows
from tests.fleet import works
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    with Rows(sys.argv[1], "m:w", resume=False) as rows:
        fleet = Fleet(works.double, concurrency=1)
        rows.begin(fleet.run_id)
        for result in fleet.stream(range(100)):
            rows.add(result)
except FleetError as error:
    print(error)
"""


def test_a_file_that_takes_no_more_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.startswith(f"results cannot be written to {path}: "), done.stderr
    assert path.stat().st_size == 500
    whole = path.read_bytes().count(b"\n") - 1
    lines = write(path, works.double, range(whole, 6), resume=True)
    assert [one["id"] for one in lines[1 : whole + 1]] == [str(n) for n in range(whole)]


def test_many_results_are_read_in_few_steps(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "out"
    write(path, works.double, range(300))
    before = _reads()
    with Rows(path, "m:w", resume=True) as rows:
        assert len(rows.done) == 300
        rows.recall(FleetReport("r"))
    assert _reads() - before < 100


def _reads() -> int:
    """Return how often this process has asked the system to read."""
    counts = Path("/proc/self/io").read_text()
    return int(counts.partition("syscr: ")[2].partition("\n")[0])


def test_findings_are_remembered_whole(tmp_path: Path) -> None:
    finding = Finding(
        "rule",
        "Title",
        "What it is",
        "high",
        PLACE,
        cwe="CWE-798",
        metadata={"a": [1]},
        flow=[Step(PLACE, "here")],
        fixes=[Fix("mend it", [Edit(PLACE, "x")])],
    )
    output = SarifOutput(
        "tool",
        "1.0",
        [finding],
        repository=RepositoryInput(Path("r"), "refs/heads/x", "https://x/"),
    )
    path = tmp_path / "out"
    _, line = write(path, lambda given: output, [1])
    assert "value" not in line
    with Rows(path, "m:w", resume=True) as rows:
        report = FleetReport("run")
        rows.recall(report)
    assert report.findings == 1
    expected = FleetReport("run")
    expected.found(output)
    assert report.sarif() == expected.sarif()
