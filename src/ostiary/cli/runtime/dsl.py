"""`dsl ...`: agents written in the language of docs/dsl.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ..screen import EXIT_FAILED, plain
from .session import Session, add, read_text, take_options

__all__ = ["register"]

# Good enough for a default: what a source means is for the compiler to say.
_AGENT: Final = re.compile(r"^\s*agent\s+([A-Za-z_]\w*)", re.M)

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The source, such as agent.symbi; - is stdin."),
]


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Agents written in the runtime's language.", no_args_is_help=True)
    take_options(group)
    add(group, "check", check)
    add(group, "compile", compile_)
    commands.add_typer(group, name="dsl")


def check(on: Session, file: File) -> None:
    """Say what is wrong with a source, with lines and columns; make nothing. Exits 1 if so."""
    _compile(on, file, None, validate_only=True)


def compile_(
    on: Session,
    file: File,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="What the agent is called. Default: as the source says, else as the file is.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compile a source and make its agent; `ostiary runtime agents deploy` lets it answer."""
    _compile(on, file, name, validate_only=False)


def _compile(on: Session, file: Path, name: str | None, *, validate_only: bool) -> None:
    where = "stdin" if str(file) == "-" else str(file)
    source = read_text(file, where)
    body: dict[str, Any] = {
        "dsl_content": source,
        "agent_name": name or _name(source, file),
        "validate_only": validate_only,
    }
    found = on.client.compile_dsl(body)
    if on.json:
        on.document(found)
    else:
        for style, label, lines in (
            ("bold red", "error", found.errors),
            ("yellow", "warning", found.warnings),
        ):
            for line in lines:
                said = Text.assemble((f"{where}: {label}: ", style), plain(line))
                on.screen.err.print(said, soft_wrap=not on.screen.err.is_terminal)
        if not found.success:
            on.screen.note("nothing was made")
        elif validate_only:
            on.screen.note(f"{where} is fine")
        else:
            on.screen.note(f"made {found.agent_id}")
    if not found.success:
        raise typer.Exit(EXIT_FAILED)


def _name(source: str, file: Path) -> str:
    found = _AGENT.search(source)
    if found is not None:
        return found[1]
    return "agent" if str(file) == "-" else file.stem
