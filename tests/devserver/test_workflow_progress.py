"""A workflow's events as a stream: in order, once, from where one left off, to its end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Self

import pytest

from ostiary.devserver import HttpFault, RunningVault, WorkflowOptions, running
from tests.devserver.web import Web
from tests.devserver.workflow_api import WorkflowApi, task, workflow

FINAL = {"WORKFLOW_COMPLETED", "WORKFLOW_FAILED", "WORKFLOW_CANCELLED"}


class Step:
    """A tool that goes on once for each permit it is given."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)

    def __call__(self, call: Any) -> Any:
        assert self.permits.acquire(timeout=30)
        return call.inputs.get("n")


STEP = Step()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningVault]:
    options = WorkflowOptions(port=None, tools={"step": STEP}, heartbeat=0.05)
    with running(demo=True, tcp=False, workflow=options) as one:
        yield one


@pytest.fixture(autouse=True)
def no_permits() -> None:
    """Take back what the test before gave and nobody used."""
    while STEP.permits.acquire(blocking=False):
        pass


@pytest.fixture
def api(server: RunningVault) -> WorkflowApi:
    return WorkflowApi(server)


def begin(api: WorkflowApi, name: str, steps: int = 3) -> str:
    flow = workflow(name, *(task(f"s{n}", "step", inputs={"n": n}) for n in range(steps)))
    assert api.post("workflows/execute?wait=0", {"workflow": flow})[0] == 202
    return name


class Stream:
    """One stream as it comes; events are (id, name, document), comments are left out."""

    def __init__(self, server: RunningVault, name: str, **headers: str) -> None:
        self.web = Web(server.workflow_socket)
        named = {one.replace("_", "-"): value for one, value in headers.items()}
        self.web.send(
            "GET",
            f"/api/v1/workflows/{name}/events",
            headers={"Accept": "text/event-stream", **named},
        )
        self.status, self.headers = self.web.head()
        self.comments = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.web.close()

    def __iter__(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        for chunk in self.web.chunks():
            text = chunk.decode()
            assert text.endswith("\n\n")
            if text.startswith(":"):
                self.comments += 1
                continue
            number, name, data = text.removesuffix("\n\n").split("\n")
            yield (
                int(number.removeprefix("id: ")),
                name.removeprefix("event: "),
                json.loads(data.removeprefix("data: ")),
            )


def test_it_tells_what_happens_and_ends_with_the_run(
    server: RunningVault, api: WorkflowApi
) -> None:
    name = begin(api, "told")
    kinds: list[str] = []
    with Stream(server, name) as stream:
        assert stream.status == 200
        assert ("content-type", "text/event-stream") in stream.headers
        for number, kind, event in stream:
            assert (event["sequence"], event["type"]) == (number, kind)
            kinds.append(kind)
            # The next step waits for this: what is told is told while it runs.
            if kind == "TASK_STARTED":
                STEP.permits.release()
    assert kinds[0] == "WORKFLOW_STARTED"
    assert kinds[-1] == "WORKFLOW_COMPLETED"
    assert kinds.count("TASK_COMPLETED") == 3


def test_one_who_comes_back_gets_the_rest_and_nothing_twice(
    server: RunningVault, api: WorkflowApi
) -> None:
    name = begin(api, "resumed", steps=6)
    seen: list[int] = []
    finished = False
    while not finished:
        after = {"Last_Event_ID": str(seen[-1])} if seen else {}
        with Stream(server, name, **after) as stream:
            for taken, (number, kind, _) in enumerate(stream):
                seen.append(number)
                if kind == "TASK_STARTED":
                    STEP.permits.release()
                finished = kind in FINAL
                if taken == 2:
                    break  # in the middle of whatever it tells
    page = api.get(f"workflows/{name}/events")[1]["events"]
    assert seen == [one["sequence"] for one in page]
    assert seen == sorted(set(seen))


def test_the_connection_breaks_and_nothing_is_lost(server: RunningVault, api: WorkflowApi) -> None:
    name = begin(api, "broken", steps=2)
    server.workflow_faults.add(HttpFault(path="*/broken/events", cut_after_events=2))
    seen: list[int] = []
    with Stream(server, name) as stream, pytest.raises(EOFError):
        for number, _, _ in stream:
            seen.append(number)
    assert len(seen) == 2
    for _ in range(2):
        STEP.permits.release()
    with Stream(server, name, Last_Event_ID=str(seen[-1])) as stream:
        seen += [number for number, _, _ in stream]
    assert seen == [one["sequence"] for one in api.get(f"workflows/{name}/events")[1]["events"]]


def test_after_the_end_there_is_what_was_missed_and_the_end(
    server: RunningVault, api: WorkflowApi
) -> None:
    STEP.permits.release()
    flow = workflow("ended", task("step"))
    assert api.execute(flow)[1]["status"] == "success"
    with Stream(server, "ended") as stream:
        every = [number for number, _, _ in stream]
    with Stream(server, "ended", Last_Event_ID=str(every[-2])) as stream:
        assert [kind for _, kind, _ in stream] == ["WORKFLOW_COMPLETED"]
    with Stream(server, "ended", Last_Event_ID=str(every[-1])) as stream:
        assert list(stream) == []
    STEP.permits.release()
    assert api.execute(flow, rerun=True)[1]["status"] == "success"
    # The latest round alone, for one who has seen nothing.
    with Stream(server, "ended") as stream:
        again = [number for number, _, _ in stream]
    assert again[0] > every[-1]


def test_silence_is_broken_by_comments(server: RunningVault, api: WorkflowApi) -> None:
    name = begin(api, "silent", steps=1)
    with Stream(server, name) as stream:
        for chunk in stream.web.chunks():
            if chunk.startswith(b":"):
                break
        STEP.permits.release()
        assert "WORKFLOW_COMPLETED" in [kind for _, kind, _ in stream]


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 17, " "])
def test_a_last_event_id_that_is_none(api: WorkflowApi, given: str) -> None:
    STEP.permits.release()
    api.execute(workflow("known", task("step")))
    reply = api.call(
        "GET", "workflows/known/events", Accept="text/event-stream", Last_Event_ID=given
    )
    if given == " ":
        assert reply.status == 200  # a header that says nothing
    else:
        assert (reply.status, reply.document["code"]) == (400, "BAD_QUERY")


def test_pages_of_events(api: WorkflowApi) -> None:
    for _ in range(3):
        STEP.permits.release()
    flow = workflow("paged", *(task(f"s{n}", "step") for n in range(3)))
    api.execute(flow)
    whole = api.get("workflows/paged/events")[1]
    assert "next_cursor" not in whole
    found: list[Any] = []
    after = ""
    while True:
        page = api.get(f"workflows/paged/events?limit=4&after={after}")[1]
        found += page["events"]
        if "next_cursor" not in page:
            break
        after = page["next_cursor"]
    assert found == whole["events"]


def test_a_server_that_stops_breaks_the_stream_off() -> None:
    step = Step()
    options = WorkflowOptions(port=None, tools={"step": step})
    with running(demo=True, tcp=False, workflow=options, stop_grace=0.1) as one:
        name = begin(WorkflowApi(one), "stops", steps=1)
        stream = Stream(one, name)
        told = iter(stream)
        assert next(told)[1] == "WORKFLOW_STARTED"
    with closing(stream.web), pytest.raises((EOFError, ConnectionError)):
        list(told)
    step.permits.release()
