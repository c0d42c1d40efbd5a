"""A workflow as an SVG image: boxes in layers from left to right, lines for what is waited for.

The image holds no script and no reference; every text of the workflow is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr  # nosec B406 # it only writes

from ..errors import InvalidArgumentError
from ..graph import Graph
from .outcome import COLOURS, label_of, outcome_of

if TYPE_CHECKING:
    from ..models import WorkflowExecutionResult, WorkflowSpec

__all__ = ["picture"]

_WIDTH: Final = 190  # of a box, in pixels, as everything here
_LINE: Final = 17
_PADDING: Final = 10
_ACROSS: Final = 64  # between layers
_DOWN: Final = 22  # between boxes of one layer
_MARGIN: Final = 20
_CHARACTERS: Final = 26  # of a label's line; more is cut
# Beyond this nobody sees anything, and browsers stop.
_MOST: Final = 2000

_PLAIN: Final = ("#ffffff", "#57606a")


class _Box(NamedTuple):
    x: float
    y: float
    height: float
    lines: list[str]
    outcome: str | None
    hook: bool


def picture(workflow: WorkflowSpec, result: WorkflowExecutionResult | None = None) -> str:
    """Return the image; with `result`, each task is coloured as it ended.

    Raises `InvalidArgumentError` for a workflow of more than 2,000 tasks.
    """
    graph = Graph(workflow)
    if len(graph.tasks) > _MOST:
        raise InvalidArgumentError(
            f"workflow {workflow.id!r} has {len(graph.tasks)} tasks, and an image shows at most "
            f"{_MOST}; draw a part of it"
        )
    boxes, width, height = _placed(graph, result)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" '
        f"aria-label={quoteattr(_printable(workflow.name))} "
        'font-family="ui-sans-serif, system-ui, sans-serif" font-size="12">',
        f"<title>{escape(_printable(workflow.name))}</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#57606a"/></marker>'
        "</defs>",
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
    ]
    for name, earlier in graph.before.items():
        parts.extend(_line(boxes[one], boxes[name]) for one in earlier)
    for name, task in graph.tasks.items():
        hook = task.compensation
        targets = () if hook is None else {hook.on_failure, hook.on_timeout} - {None}
        parts.extend(
            _line(boxes[name], boxes[str(one)], dashed=True) for one in sorted(map(str, targets))
        )
    for box in boxes.values():
        parts.extend(_drawn(box))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _placed(
    graph: Graph, result: WorkflowExecutionResult | None
) -> tuple[dict[str, _Box], float, float]:
    """Give every task its place; return the boxes and the image's width and height."""
    layers = graph.layers()
    if graph.hooks:
        layers = [*layers, [name for name in graph.tasks if name in graph.hooks]]
    layers = _untangled(graph, layers)
    labels = {name: label_of(task, result) for name, task in graph.tasks.items()}
    heights = {name: len(lines) * _LINE + 2 * _PADDING for name, lines in labels.items()}
    tall = [sum(heights[name] for name in layer) + _DOWN * (len(layer) - 1) for layer in layers]
    whole = max(tall, default=0)
    boxes: dict[str, _Box] = {}
    for column, layer in enumerate(layers):
        y = _MARGIN + (whole - tall[column]) / 2
        for name in layer:
            boxes[name] = _Box(
                x=_MARGIN + column * (_WIDTH + _ACROSS),
                y=y,
                height=heights[name],
                lines=labels[name],
                outcome=outcome_of(name, result),
                hook=name in graph.hooks,
            )
            y += heights[name] + _DOWN
    across = max(len(layers), 1)
    width = 2 * _MARGIN + across * _WIDTH + (across - 1) * _ACROSS
    return boxes, width, whole + 2 * _MARGIN


def _untangled(graph: Graph, layers: list[list[str]]) -> list[list[str]]:
    """Order each layer by where that which its tasks wait for stands, so that lines cross less."""
    place: dict[str, float] = {}
    ordered: list[list[str]] = []
    for layer in layers:

        def middle(name: str) -> float:
            known = [place[one] for one in graph.before[name] if one in place]
            return sum(known) / len(known) if known else 0.0

        now = sorted(layer, key=middle)
        for number, name in enumerate(now):
            place[name] = (number + 0.5) / len(now)
        ordered.append(now)
    return ordered


def _line(start: _Box, end: _Box, *, dashed: bool = False) -> str:
    x1, y1 = start.x + _WIDTH, start.y + start.height / 2
    x2, y2 = end.x, end.y + end.height / 2
    bend = max((x2 - x1) / 2, _ACROSS / 2)
    style = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<path d="M{x1:g} {y1:g} C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2 - 1:g} {y2:g}" '
        f'fill="none" stroke="#57606a"{style} marker-end="url(#end)"/>'
    )


def _drawn(box: _Box) -> list[str]:
    fill, border = _PLAIN if box.outcome is None else COLOURS[box.outcome]
    dashes = ' stroke-dasharray="5 4"' if box.hook else ""
    parts = [
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{_WIDTH}" height="{box.height:g}" rx="6" '
        f'fill="{fill}" stroke="{border}"{dashes}/>'
    ]
    for number, text in enumerate(box.lines):
        weight, colour = (' font-weight="600"', "#1f2328") if number == 0 else ("", "#57606a")
        y = box.y + _PADDING + _LINE * number + 12.5
        parts.append(
            f'<text x="{box.x + _PADDING:g}" y="{y:g}" fill="{colour}"{weight}>'
            f"{escape(_cut(text))}</text>"
        )
    return parts


def _cut(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def _printable(text: str) -> str:
    # XML has no way to write control characters.
    return "".join(one if one.isprintable() else " " for one in text)
