"""`--watch`: the same question again and again, and what has changed.

On a terminal one picture is drawn over. A pipe gets a picture, or a line of JSON, for each
change. Ctrl-C ends it, or the thing that is watched when it has come to its end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from .answers import worded

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .answers import Answers

__all__ = ["Interval", "View", "Watch", "show"]

Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        "-w",
        help="Ask again and again, and show what changes; Ctrl-C ends it.",
    ),
]
Interval = Annotated[
    float,
    typer.Option("--interval", metavar="SECONDS", min=0.05, help="Between two looks of --watch."),
]


@dataclass(frozen=True)
class View:
    """What one look has found: for programs, and for people."""

    content: object
    picture: RenderableType
    over: bool = False
    """Whether nothing more will change."""


def show(on: Answers, look: Callable[[], View], *, watch: bool, interval: float) -> View:
    """Show what `look` finds, once or until it is over; return what it found last."""
    if not watch:
        return _once(on, look())
    if on.screen.out.is_terminal and not on.json:
        return _drawn_over(on, look, interval)
    return _each_change(on, look, interval)


def _once(on: Answers, view: View) -> View:
    if on.json:
        on.document(view.content)
    else:
        on.screen.show(view.picture)
    return view


def _drawn_over(on: Answers, look: Callable[[], View], interval: float) -> View:
    from rich.live import Live

    view = look()
    with Live(view.picture, console=on.screen.out, auto_refresh=False) as live:
        while not view.over:
            time.sleep(interval)
            view = look()
            live.update(view.picture, refresh=True)
    return view


def _each_change(on: Answers, look: Callable[[], View], interval: float) -> View:
    before: bytes | None = None
    while True:
        view = look()
        encoded = msgspec.json.encode(worded(view.content))
        if encoded != before:
            if on.json:
                sys.stdout.write(encoded.decode() + "\n")
            else:
                if before is not None:
                    print()
                on.screen.show(view.picture)
            sys.stdout.flush()
            before = encoded
        if view.over:
            return view
        time.sleep(interval)
