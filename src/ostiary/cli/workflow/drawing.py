"""`draw` and `check`: a workflow looked at here, without a server."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidArgumentError
from ..answers import write
from ..screen import counted
from .reading import File, read_workflow
from .session import Session, add

__all__ = ["register"]

# More of a layer, or more layers, nobody reads in a terminal.
_MOST_SHOWN = 100


class Form(Enum):
    """What a drawing is made of."""

    MERMAID = "mermaid"
    SVG = "svg"


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    add(commands, "draw", draw)
    add(commands, "check", check)


def draw(
    on: Session,
    file: File,
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            help="A flowchart for Mermaid, or an image. Default: an image where the name of "
            "--output ends in .svg, else a flowchart.",
            show_default=False,
        ),
    ] = None,
    ended: Annotated[
        bool, typer.Option("--result", help="Show how its tasks ended; asks the server.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file in place of stdout.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw a workflow: its tasks, and what each waits for."""
    spec = read_workflow(file)
    if form is None:
        svg = output is not None and output.suffix.lower() == ".svg"
        form = Form.SVG if svg else Form.MERMAID
    if ended:
        result = on.client.get_workflow_result(spec.id)
        text = result.to_svg(spec) if form is Form.SVG else result.to_mermaid(spec)
    else:
        text = spec.to_svg() if form is Form.SVG else spec.to_mermaid()
    if output is None:
        if on.json:
            on.document({"workflow_id": spec.id, "format": form.value, "drawing": text})
        else:
            write(text)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidArgumentError(f"cannot write {output}: {reason}; check the path") from None
    on.done({"workflow_id": spec.id, "format": form.value, "file": str(output)}, f"drew {output}")


def check(on: Session, file: File) -> None:
    """Check that a workflow's tasks can be put in order, and show the order.

    Exits 1 and names the cycle, or the ids that are wrong, when they cannot.
    """
    from ...workflow import Graph

    spec = read_workflow(file)
    graph = Graph(spec)
    layers, order, path = graph.layers(), graph.order(), graph.critical_path()
    content = {
        "workflow_id": spec.id,
        "tasks": len(graph.tasks),
        "dependencies": sum(map(len, graph.before.values())),
        "order": order,
        "layers": layers,
        "longest_chain": path,
        "hooks": sorted(graph.hooks),
    }
    if on.json:
        on.document(content)
        return
    on.screen.facts(
        {
            "workflow": spec.id,
            "holds": f"{counted(len(graph.tasks), 'task')} in {counted(len(layers), 'layer')}",
            "longest chain": counted(len(path), "task"),
            "at once": f"{max(map(len, layers), default=0):,} at most",
            "on failure": ", ".join(sorted(graph.hooks)) or None,
        }
    )
    on.screen.table(
        ("layer", "tasks"),
        ((number, _shortened(layer)) for number, layer in enumerate(layers[:_MOST_SHOWN], 1)),
        firm=("layer",),
        right=("layer",),
        empty="it has no tasks",
    )


def _shortened(names: list[str]) -> str:
    told = ", ".join(names[:_MOST_SHOWN])
    return told if len(names) <= _MOST_SHOWN else f"{told} and {len(names) - _MOST_SHOWN:,} more"
