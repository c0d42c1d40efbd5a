"""A trace as a waterfall: a line for each span, its bar where it lies in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.text import Text

from ..._model import instants
from ..screen import plain
from ..units import milliseconds

if TYPE_CHECKING:
    from ...workflow import Span

__all__ = ["Bar", "bars", "drawn"]

_FULL: Final = "█"
# Parts of a character from the left; a bar that ends in the middle of a cell is told as such.
_PARTS: Final = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_LEAST_BAR: Final = 20
_LONGEST_NAME: Final = 48
_FAILED: Final = frozenset({"error", "failed", "failure", "timeout", "denied", "blocked"})


@dataclass
class Bar:
    """One span in its place: times are milliseconds from the start of the trace."""

    span: Span
    depth: int
    start: float
    length: float | None
    """None while it has not ended."""

    @property
    def failed(self) -> bool:
        """Whether its tags, or a line of its log, say so."""
        tags = self.span.tags or {}
        words = {tags.get("status", "").lower(), tags.get("outcome", "").lower()}
        if words & _FAILED or "error" in tags or tags.get("success", "").lower() == "false":
            return True
        return any(str(entry.level) == "error" for entry in self.span.logs or ())


def bars(spans: Sequence[Span]) -> list[Bar]:
    """Put spans in order: each below its parent, siblings by their start.

    A parent that is missing, or that is its own ancestor, is as good as none.
    """
    begun = {id(span): _seconds(span.start_time) for span in spans}
    by_id = {span.id: span for span in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=lambda one: begun[id(one)]):
        parent = span.parent_id if span.parent_id in by_id and span.parent_id != span.id else None
        children.setdefault(parent, []).append(span)
    zero = min(begun.values(), default=0.0)
    found: list[Bar] = []
    seen: set[int] = set()

    def below(roots: Iterable[Span]) -> None:
        stack: list[tuple[int, Iterator[Span]]] = [(0, iter(roots))]
        while stack:
            depth, siblings = stack[-1]
            span = next(siblings, None)
            if span is None:
                stack.pop()
            elif id(span) not in seen:
                seen.add(id(span))
                start = (begun[id(span)] - zero) * 1000
                found.append(Bar(span, depth, start, _length(span, begun[id(span)])))
                stack.append((depth + 1, iter(children.get(span.id, ()))))

    below(children.get(None, ()))
    # What is left goes round in a circle; nothing is kept from whoever looks.
    below(span for span in spans if id(span) not in seen)
    return found


def drawn(found: Sequence[Bar], width: int) -> Text:
    """Return the picture of a trace, `width` characters wide."""
    end = max((one.start + (one.length or 0.0) for one in found), default=0.0)
    names = [_name(one) for one in found]
    times = [milliseconds(one.length) or "open" for one in found]
    left = max(map(len, names), default=0)
    right = max(map(len, times), default=0)
    room = max(_LEAST_BAR, width - left - right - 4)
    lines: list[Text] = []
    for one, name, time in zip(found, names, times, strict=True):
        style = "red" if one.failed else "yellow" if one.length is None else "cyan"
        line = Text(f"{name:<{left}}  ", "red" if one.failed else "")
        line.append(f"{_bar(one, end, room):<{room}}", style)
        line.append(f"  {time:>{right}}")
        line.rstrip()
        lines.append(line)
    scale = milliseconds(end) or ""
    lines.append(Text(f"{'':<{left}}  0{scale:>{room - 1}}", "dim"))
    return Text("\n").join(lines)


def _bar(one: Bar, end: float, room: int) -> str:
    """Return the bar's cells, in eighths of one; a span of no length is seen too."""
    scale = room * 8 / end if end > 0 else 0.0
    begin = min(int(one.start * scale), room * 8 - 1)
    if one.length is None:
        cell = begin // 8
        return " " * cell + "┄" * (room - cell)
    cells = max(1, round(one.length * scale))
    cell, _ = divmod(begin, 8)
    whole, part = divmod(min(cells, (room - cell) * 8), 8)
    return " " * cell + _FULL * whole + _PARTS[part]


def _name(one: Bar) -> str:
    name = "  " * min(one.depth, 12) + plain(one.span.name)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _length(span: Span, begun: float) -> float | None:
    if span.duration is not None:
        return span.duration
    return None if span.end_time is None else max(0.0, (_seconds(span.end_time) - begun) * 1000)


def _seconds(text: str) -> float:
    moment = instants.understood(text)
    return 0.0 if moment is None else moment.timestamp()
