"""Real clusters: Dask's with two processes, Ray's with two CPUs; in each a worker is killed.

One test each, since a cluster is slow to start and the suite is shared among processes.
"""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from ostiary.errors import InvalidArgumentError
from ostiary.fleet import ExecutorError, Fleet
from tests.fleet import kills, works

# Their threads and sockets end when they please, and tell of it by warnings.
pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]


def needs(name: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not installed")


def a_fleet_works_there(executor: Executor, directory: Path) -> None:
    """Hold a cluster to all that a fleet promises; the kill is that of `tests.fleet.kills`."""
    found = kills.run_with_kills(executor, 400, 1, directory)
    assert found.well, str(found)
    assert len(found.killed) == 1

    scale = 3  # what no module has travels by value
    report = Fleet(lambda given: given * scale, executor=executor).run(range(20))
    assert [one.value for one in report.results] == [3 * n for n in range(20)]

    report = Fleet(works.fail, executor=executor).run(range(9))
    assert report.errors == {"ValueError": 3}
    error = report.failures[0].error
    assert error is not None
    assert "works.py" in error.__notes__[0]

    (directory / "a.py").write_text("# TODO\n")
    report = Fleet(works.Todo, executor=executor).run([str(directory)] * 3)
    assert report.errors == {}
    assert report.findings == 1


@needs("distributed")
def test_dask(bare: Path) -> None:
    with kills.dask_executor() as executor:
        a_fleet_works_there(executor, bare)
        client: Any = executor._client  # type: ignore[attr-defined]
        address = client.scheduler.address.removeprefix("tcp://")
        report = Fleet(works.double, executor=f"dask://{address}").run(range(20))
        assert [one.value for one in report.results] == [2 * n for n in range(20)]
        with pytest.raises(InvalidArgumentError, match="get_executor"):
            Fleet(works.double, executor=client)


@needs("ray")
def test_ray(bare: Path) -> None:
    try:
        cluster = kills.start_ray()
    except kills.NotStartedError as error:
        pytest.skip(str(error))
    with cluster as executor:
        a_fleet_works_there(executor, bare)
        for _ in range(2):  # by its name it is what is connected, and stays so
            report = Fleet(works.double, executor="ray").run(range(20))
            assert [one.value for one in report.results] == [2 * n for n in range(20)]


@needs("distributed")
def test_a_scheduler_that_is_not_there() -> None:
    import dask
    import distributed  # noqa: F401  (its own settings come with it, and would go with ours)

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}),
        pytest.raises(ExecutorError, match="cannot be reached"),
    ):
        Fleet(works.double, executor="dask://127.0.0.1:9").run([1])


@pytest.mark.parametrize(("name", "on"), [("distributed", "dask://127.0.0.1:9"), ("ray", "ray")])
def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch, name: str, on: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExecutorError, match=r"pip install 'ostiary\["):
        Fleet(works.double, executor=on).run([1])
