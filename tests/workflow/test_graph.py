"""The graph of a workflow: what is refused, and the orders that come of the rest."""

from __future__ import annotations

import graphlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.workflow.errors import GraphError
from ostiary.workflow.graph import DEPENDENCY_LIMIT, TASK_LIMIT, Graph
from ostiary.workflow.models import TaskSpec, WorkflowSpec


def task(name: str, **more: Any) -> TaskSpec:
    return TaskSpec(id=name, name=name.upper(), type="action", **more)


def workflow(names: str, before: dict[str, Any] | None = None, **more: Any) -> WorkflowSpec:
    tasks = more.pop("tasks", None) or [task(name) for name in names]
    given_before = {name: list(earlier) for name, earlier in (before or {}).items()}
    return WorkflowSpec(id="w", name="W", tasks=tasks, dependencies=given_before, **more)


def problems_of(spec: WorkflowSpec) -> list[tuple[str, str]]:
    with pytest.raises(GraphError) as caught:
        Graph(spec)
    assert all(path in caught.value.message for path, _ in caught.value.problems[:20])
    return list(caught.value.problems)


def test_the_order_is_depth_first_in_the_order_things_are_written_in() -> None:
    graph = Graph(workflow("dcba", {"d": "bc", "b": "a", "c": "a"}))
    assert graph.order() == ["a", "b", "c", "d"]
    # A breadth-first order would put `b` before `x`.
    assert Graph(workflow("xyab", {"x": "a", "y": "b"})).order() == ["a", "x", "b", "y"]


def test_layers_wait_only_for_layers_before_them() -> None:
    graph = Graph(workflow("abcd", {"d": "bc", "b": "a", "c": "a"}))
    assert graph.layers() == [["a"], ["b", "c"], ["d"]]
    assert graph.critical_path({"a": 1, "b": 1, "c": 5, "d": 1}) == ["a", "c", "d"]
    assert graph.critical_path() in (["a", "b", "d"], ["a", "c", "d"])


def test_a_workflow_without_tasks_is_in_order() -> None:
    graph = Graph(workflow(""))
    assert (graph.order(), graph.layers(), graph.critical_path()) == ([], [], [])


def test_both_styles_of_dependencies_are_one() -> None:
    spec = workflow("", {"c": "a"}, tasks=[task("a"), task("b"), task("c", depends_on=["b", "a"])])
    assert Graph(spec).before == {"a": [], "b": [], "c": ["a", "b"]}


def test_a_cycle_is_told_with_its_path() -> None:
    with pytest.raises(GraphError, match="a -> c -> b -> a") as caught:
        Graph(workflow("abcx", {"a": "b", "b": "c", "c": "a", "x": "a"}))
    assert caught.value.cycle == ("a", "c", "b", "a")
    assert isinstance(caught.value, ValueError)


def test_a_long_cycle_is_told_in_part_and_kept_whole() -> None:
    names = [f"t{number}" for number in range(500)]
    spec = WorkflowSpec(
        id="w",
        name="W",
        tasks=[task(name) for name in names],
        dependencies={name: [names[number - 1]] for number, name in enumerate(names)},
    )
    with pytest.raises(GraphError, match=r"\.\.\. 488 more \.\.\.") as caught:
        Graph(spec)
    assert len(caught.value.cycle) == 501
    assert caught.value.cycle[0] == caught.value.cycle[-1] == "t0"


def test_every_wrong_id_is_named_at_once() -> None:
    spec = workflow(
        "",
        {"b": ["b", "q"], "z": ["a"]},
        tasks=[
            task("a"),
            task("a"),
            task("b", compensation={"on_failure": "nobody", "on_timeout": "b"}),
        ],
    )
    assert problems_of(spec) == [
        ("tasks[1].id", "'a' is another task's id too"),
        ("dependencies.b", "waits for itself"),
        ("dependencies.b", "waits for 'q', which is no task of this workflow"),
        ("dependencies.z", "is no task of this workflow"),
        ("tasks[2].compensation.on_failure", "'nobody' is no task of this workflow"),
        ("tasks[2].compensation.on_timeout", "is the task itself"),
    ]


def test_hooks_stand_in_no_order_unless_they_are_steps_too() -> None:
    undo = task("undo")
    pay = task("pay", compensation={"on_failure": "undo"})
    assert Graph(workflow("", tasks=[pay, undo])).order() == ["pay"]
    assert Graph(workflow("", tasks=[pay, undo])).hooks == {"undo"}
    # Waited for, or waiting: somebody meant it to run.
    assert "undo" in Graph(workflow("", {"pay": ["undo"]}, tasks=[pay, undo])).order()
    assert "undo" in Graph(workflow("", {"undo": ["pay"]}, tasks=[pay, undo])).order()


def test_there_are_limits() -> None:
    many = [task(f"t{number}") for number in range(TASK_LIMIT + 1)]
    assert "tasks" in dict(problems_of(WorkflowSpec(id="w", name="W", tasks=many)))
    names = [f"t{number}" for number in range(320)]
    dense = {name: names[:at] for at, name in enumerate(names)} | {
        "t319": names[:319] * (DEPENDENCY_LIMIT // 319 - 158)
    }
    spec = WorkflowSpec(id="w", name="W", tasks=[task(n) for n in names], dependencies=dense)
    assert "dependencies" in dict(problems_of(spec))


def test_a_chain_of_all_the_tasks_there_may_be_needs_no_recursion() -> None:
    names = [f"t{number}" for number in range(TASK_LIMIT)]
    spec = WorkflowSpec(
        id="w",
        name="W",
        tasks=[task(name) for name in reversed(names)],
        dependencies={later: [earlier] for earlier, later in itertools.pairwise(names)},
    )
    graph = Graph(spec)
    assert graph.order() == graph.critical_path() == names
    assert len(graph.layers()) == TASK_LIMIT


graphs = st.integers(0, 12).flatmap(
    lambda count: st.lists(
        st.tuples(st.integers(0, max(count - 1, 0)), st.integers(0, max(count - 1, 0))),
        max_size=30 if count else 0,
    ).map(lambda pairs: (count, pairs))
)


@given(graphs)
def test_orders_agree_with_the_standard_library(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = drawn
    before: dict[str, list[str]] = {}
    for later, earlier in pairs:
        before.setdefault(f"t{later}", []).append(f"t{earlier}")
    spec = WorkflowSpec(
        id="w",
        name="W",
        tasks=[task(f"t{number}") for number in range(count)],
        dependencies=before,
    )
    oracle = graphlib.TopologicalSorter(
        {f"t{number}": before.get(f"t{number}", []) for number in range(count)}
    )
    try:
        oracle.prepare()
    except graphlib.CycleError:
        with pytest.raises(GraphError) as caught:
            Graph(spec)
        cycle = caught.value.cycle
        assert all(earlier in before[later] for earlier, later in itertools.pairwise(cycle))
        return
    graph = Graph(spec)
    for order in (graph.order(), [name for layer in graph.layers() for name in layer]):
        place = {name: number for number, name in enumerate(order)}
        assert len(place) == count
        assert all(place[earlier] < place[later] for later in before for earlier in before[later])
    layers = graph.layers()
    assert all(
        not set(graph.before[name]).isdisjoint(layers[at - 1])
        for at, layer in enumerate(layers)
        if at
        for name in layer
    ), "a task stands in the first layer it can"
