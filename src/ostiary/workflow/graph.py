"""A workflow's tasks as a graph: whether they can be put in order, and in which.

Used before a workflow is sent, and by the engine that runs it. Everything is linear in tasks
and dependencies and uses no recursion: a chain may be as long as the limits allow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from .errors import GraphError

if TYPE_CHECKING:
    from .models import TaskSpec, WorkflowSpec

__all__ = ["DEPENDENCY_LIMIT", "TASK_LIMIT", "Graph"]

TASK_LIMIT: Final = 10_000
DEPENDENCY_LIMIT: Final = 100_000

# More of one kind is not told: one mistake in a generator makes thousands.
_MOST_TOLD: Final = 20
# A cycle's path is told in full up to here.
_LONGEST_PATH: Final = 12


@final
class Graph:
    """The checked graph of one workflow; `order`, `layers` and `critical_path` read it.

    `tasks` are the tasks by id, in the order they are written in; `before` the ids each waits
    for, in the order they are listed in. `hooks` are the tasks that only a failure calls for;
    they stand in no order.
    """

    __slots__ = ("after", "before", "hooks", "tasks", "workflow_id")

    def __init__(self, workflow: WorkflowSpec) -> None:
        """Check the graph; raise `GraphError`, which names every id that is wrong."""
        problems: list[tuple[str, str]] = []
        self.workflow_id = workflow.id
        self.tasks: dict[str, TaskSpec] = {}
        for number, task in enumerate(workflow.tasks):
            if task.id in self.tasks:
                problems.append((f"tasks[{number}].id", f"{task.id!r} is another task's id too"))
            else:
                self.tasks[task.id] = task
        if len(workflow.tasks) > TASK_LIMIT:
            problems.append(
                ("tasks", f"are {len(workflow.tasks)}, and a workflow has at most {TASK_LIMIT}")
            )
        self.before: dict[str, list[str]] = {name: [] for name in self.tasks}
        self._read_dependencies(workflow, problems)
        self.hooks: frozenset[str] = frozenset(self._read_hooks(workflow, problems))
        if problems:
            raise _refused(workflow.id, problems)
        self.after: dict[str, list[str]] = {name: [] for name in self.tasks}
        for name, earlier in self.before.items():
            for one in earlier:
                self.after[one].append(name)
        if cycle := self._cycle():
            raise _refused(workflow.id, [("dependencies", _told(cycle))], cycle)

    def _read_dependencies(self, workflow: WorkflowSpec, problems: list[tuple[str, str]]) -> None:
        total = 0
        seen: dict[str, set[str]] = {name: set() for name in self.tasks}
        for path, name, earlier in _listed(workflow):
            if name not in self.tasks:
                problems.append((path, "is no task of this workflow"))
                continue
            total += len(earlier)
            for one in earlier:
                if one not in self.tasks:
                    problems.append((path, f"waits for {one!r}, which is no task of this workflow"))
                elif one == name:
                    problems.append((path, "waits for itself"))
                elif one not in seen[name]:  # twice is once
                    seen[name].add(one)
                    self.before[name].append(one)
        if total > DEPENDENCY_LIMIT:
            problems.append(
                ("dependencies", f"are {total}, and a workflow has at most {DEPENDENCY_LIMIT}")
            )

    def _read_hooks(
        self, workflow: WorkflowSpec, problems: list[tuple[str, str]]
    ) -> Mapping[str, None]:
        """Return the tasks that stand in no order because only a failure calls for them."""
        called: dict[str, None] = {}
        for number, task in enumerate(workflow.tasks):
            hook = task.compensation
            if hook is None:
                continue
            for member in ("on_failure", "on_timeout"):
                target = getattr(hook, member)
                path = f"tasks[{number}].compensation.{member}"
                if target is None:
                    continue
                if target not in self.tasks:
                    problems.append((path, f"{target!r} is no task of this workflow"))
                elif target == task.id:
                    problems.append((path, "is the task itself"))
                else:
                    called[target] = None
        # One that others wait for, or that waits, is a step like any other.
        waited_for = {one for earlier in self.before.values() for one in earlier}
        return {name: None for name in called if name not in waited_for and not self.before[name]}

    def order(self) -> list[str]:
        """Return the order in which one task after the other is run.

        Depth first in the order the tasks are written in: before a task, what it waits for,
        in the order that is listed in. Hooks are left out.
        """
        done: set[str] = set()
        order: list[str] = []
        for root in self.tasks:
            if root in done or root in self.hooks:
                continue
            done.add(root)
            stack = [(root, iter(self.before[root]))]
            while stack:
                name, earlier = stack[-1]
                for one in earlier:
                    if one not in done:
                        done.add(one)
                        stack.append((one, iter(self.before[one])))
                        break
                else:
                    order.append(name)
                    stack.pop()
        return order

    def layers(self) -> list[list[str]]:
        """Return the tasks in layers; each waits only for layers before its own."""
        left = {name: len(earlier) for name, earlier in self.before.items()}
        layer = [name for name, count in left.items() if not count and name not in self.hooks]
        layers: list[list[str]] = []
        while layer:
            layers.append(layer)
            following: list[str] = []
            for name in layer:
                for later in self.after[name]:
                    left[later] -= 1
                    if not left[later]:
                        following.append(later)
            layer = following
        return layers

    def critical_path(self, duration_ms: Mapping[str, float] | None = None) -> list[str]:
        """Return the chain that takes longest; each task counts 1 where no duration is given."""
        best: dict[str, float] = {}
        came: dict[str, str | None] = {}
        last: str | None = None
        for layer in self.layers():
            for name in layer:
                longest = max(self.before[name], key=best.__getitem__, default=None)
                took = 1.0 if duration_ms is None else duration_ms.get(name, 0.0)
                best[name] = took + (best[longest] if longest is not None else 0.0)
                came[name] = longest
                if last is None or best[name] > best[last]:
                    last = name
        path: list[str] = []
        while last is not None:
            path.append(last)
            last = came[last]
        return path[::-1]

    def _cycle(self) -> list[str]:
        """Return one cycle as a path that ends where it begins; empty when there is none."""
        left = {name: len(earlier) for name, earlier in self.before.items()}
        free = deque(name for name, count in left.items() if not count)
        while free:
            name = free.popleft()
            del left[name]
            for later in self.after[name]:
                left[later] -= 1
                if not left[later]:
                    free.append(later)
        if not left:
            return []
        # Whatever is left waits for something that is left: going back must come round.
        name = next(iter(left))
        place: dict[str, int] = {}
        path: list[str] = []
        while name not in place:
            place[name] = len(path)
            path.append(name)
            name = next(one for one in self.before[name] if one in left)
        cycle = path[place[name] :]
        # Told in the order things would run: what is waited for first.
        cycle.reverse()
        written = {one: number for number, one in enumerate(self.tasks)}
        first = min(range(len(cycle)), key=lambda at: written[cycle[at]])
        cycle = cycle[first:] + cycle[:first]
        return [*cycle, cycle[0]]


def _listed(workflow: WorkflowSpec) -> list[tuple[str, str, list[str]]]:
    """Return (path, id, ids before it) of both styles, the workflow's own list first."""
    return [
        *((f"dependencies.{name}", name, list(ids)) for name, ids in workflow.dependencies.items()),
        *(
            (f"tasks[{number}].depends_on", task.id, task.depends_on)
            for number, task in enumerate(workflow.tasks)
            if task.depends_on
        ),
    ]


def _told(cycle: list[str]) -> str:
    shown = cycle
    if len(cycle) > _LONGEST_PATH:
        half = _LONGEST_PATH // 2
        shown = [*cycle[:half], f"... {len(cycle) - 1 - 2 * half} more ...", *cycle[-half:]]
    return "make a cycle: " + " -> ".join(shown)


def _refused(
    workflow_id: str, problems: list[tuple[str, str]], cycle: list[str] | None = None
) -> GraphError:
    told = "; ".join(f"{path} {problem}" for path, problem in problems[:_MOST_TOLD])
    if len(problems) > _MOST_TOLD:
        told += f"; and {len(problems) - _MOST_TOLD} more"
    return GraphError(f"workflow {workflow_id!r}: {told}", problems=problems, cycle=cycle or ())
