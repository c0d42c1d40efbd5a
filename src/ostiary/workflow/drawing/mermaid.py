"""A workflow as a Mermaid flowchart: text that documents and pull requests show as a drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..graph import Graph
from .outcome import COLOURS, label_of, outcome_of

if TYPE_CHECKING:
    from ..models import WorkflowExecutionResult, WorkflowSpec

__all__ = ["flowchart"]

# Mermaid reads these; in a quoted label they are written as entities.
_ENTITIES: Final = str.maketrans(
    {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "\\": "#92;"}
)


def flowchart(workflow: WorkflowSpec, result: WorkflowExecutionResult | None = None) -> str:
    """Return the flowchart; with `result`, each task is coloured as it ended."""
    graph = Graph(workflow)
    # Ids may hold anything; nodes get names of their own.
    nodes = {name: f"t{number}" for number, name in enumerate(graph.tasks)}
    lines = ["flowchart LR"]
    used: dict[str, list[str]] = {}
    for name, task in graph.tasks.items():
        outcome = outcome_of(task.id, result)
        shown = _quoted(label_of(task, result))
        opening, closing = ("([", "])") if name in graph.hooks else ("[", "]")
        lines.append(f"    {nodes[name]}{opening}{shown}{closing}")
        if outcome is not None:
            used.setdefault(outcome, []).append(nodes[name])
    for name, earlier in graph.before.items():
        lines.extend(f"    {nodes[one]} --> {nodes[name]}" for one in earlier)
    for name, task in graph.tasks.items():
        hook = task.compensation
        if hook is None:
            continue
        if hook.on_failure is not None:
            lines.append(f"    {nodes[name]} -. on failure .-> {nodes[hook.on_failure]}")
        if hook.on_timeout is not None:
            lines.append(f"    {nodes[name]} -. on timeout .-> {nodes[hook.on_timeout]}")
    for outcome, members in used.items():
        fill, border = COLOURS[outcome]
        lines.append(f"    classDef {outcome} fill:{fill},stroke:{border},color:#1f2328")
        lines.append(f"    class {','.join(members)} {outcome}")
    return "\n".join(lines) + "\n"


def _quoted(lines: list[str]) -> str:
    return '"' + "<br/>".join(" ".join(one.split()).translate(_ENTITIES) for one in lines) + '"'
