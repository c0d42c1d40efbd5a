"""Drawings: every task and line is there, and no text of a workflow gets out of its place."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.workflow.errors import GraphError, InvalidArgumentError
from ostiary.workflow.models import TaskSpec, WorkflowExecutionResult, WorkflowSpec

SVG = "{http://www.w3.org/2000/svg}"

SPEC = WorkflowSpec(
    id="ledger",
    name="Close <the> day",
    tasks=[
        TaskSpec(id="pull", name="Pull rows", type="action", tool_name="read_file"),
        TaskSpec(
            id="post",
            name="Post totals",
            type="action",
            risk_tier="HIGH",
            compensation={"on_failure": "undo"},
        ),
        TaskSpec(id="undo", name="Take it back", type="action"),
    ],
    dependencies={"post": ["pull"]},
)
RESULT = WorkflowExecutionResult(
    workflow_id="ledger",
    status="partial",
    task_results={
        "pull": {"task_id": "pull", "status": "success", "duration_ms": 12.5},
        "post": {"task_id": "post", "status": "failed", "error": "disk full"},
    },
)


def test_mermaid_shows_tasks_dependencies_hooks_and_how_they_ended() -> None:
    assert RESULT.to_mermaid(SPEC).splitlines() == [
        "flowchart LR",
        '    t0["Pull rows<br/>read_file<br/>success in 12.5 ms"]',
        '    t1["Post totals<br/>high risk<br/>failed"]',
        '    t2(["Take it back"])',
        "    t0 --> t1",
        "    t1 -. on failure .-> t2",
        "    classDef success fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
        "    class t0 success",
        "    classDef failed fill:#ffebe9,stroke:#cf222e,color:#1f2328",
        "    class t1 failed",
    ]


def test_an_image_has_a_box_for_each_task_and_a_line_for_each_dependency() -> None:
    root = ElementTree.fromstring(RESULT.to_svg(SPEC))
    boxes = root.findall(f"{SVG}rect")[1:]
    assert len(boxes) == 3
    assert {box.get("fill") for box in boxes} == {"#dafbe1", "#ffebe9", "#ffffff"}
    assert len(root.findall(f"{SVG}path")) == 2
    assert root.findtext(f"{SVG}title") == "Close <the> day"
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for box in boxes:
        assert 0 < float(box.get("x", "")) < width - float(box.get("width", "0"))
        assert 0 < float(box.get("y", "")) < height - float(box.get("height", "0"))


def test_boxes_do_not_lie_on_one_another() -> None:
    tasks = [TaskSpec(id=f"t{n}", name=f"Task {n}", type="action") for n in range(40)]
    before = {f"t{n}": [f"t{n // 3}"] for n in range(1, 40)}
    spec = WorkflowSpec(id="w", name="W", tasks=tasks, dependencies=before)
    boxes = ElementTree.fromstring(spec.to_svg()).findall(f"{SVG}rect")[1:]
    places = [tuple(float(box.get(k, "")) for k in ("x", "y", "width", "height")) for box in boxes]
    for at, (x, y, w, h) in enumerate(places):
        for other in places[at + 1 :]:
            apart = x + w <= other[0] or other[0] + other[2] <= x
            assert apart or y + h <= other[1] or other[1] + other[3] <= y


@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_names_of_any_kind_stay_text(name: str) -> None:
    spec = WorkflowSpec(
        id="w", name=name, tasks=[TaskSpec(id=name, name=name, type="action", tool_name=name)]
    )
    ElementTree.fromstring(spec.to_svg())
    lines = spec.to_mermaid().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith('    t0["')
    assert lines[1].endswith('"]')
    assert '"' not in lines[1][8:-2]


def test_what_cannot_be_put_in_order_is_not_drawn() -> None:
    spec = WorkflowSpec(
        id="w",
        name="W",
        tasks=[TaskSpec(id="a", name="A", type="action")],
        dependencies={"a": ["a"]},
    )
    with pytest.raises(GraphError, match="waits for itself"):
        spec.to_mermaid()
    many = [TaskSpec(id=f"t{n}", name="T", type="action") for n in range(2001)]
    with pytest.raises(InvalidArgumentError, match="draw a part of it"):
        WorkflowSpec(id="w", name="W", tasks=many).to_svg()
