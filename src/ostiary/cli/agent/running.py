"""`ostiary agent run`: one agent in this process, under the runner.

The agent's code is found by name, in the current directory too, and never in the repository it
is to work on. Neighbour: `ostiary.gateway.runner`, whose exit code this command ends with.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from ..session import reporting
from ..target import find

if TYPE_CHECKING:
    from ...gateway import SageSanctumAgent

__all__ = ["run"]

_PANEL: Final = "The run"


class LogFormat(Enum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:CLASS",
            help="The agent: package.module:Class, or path/to/file.py:Class.",
            show_default=False,
        ),
    ],
    repo: Annotated[
        Path | None,
        typer.Option(
            "--repo",
            metavar="DIR",
            help="The repository to work on. Default: $REPO_PATH.",
            show_default=False,
        ),
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option("--ref", metavar="REF", help="Its git reference.", show_default=False),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Where it came from.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Where results.sarif and run.json go. Default: $OUTPUT_PATH, else ./output.",
            show_default=False,
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            metavar="DIR",
            help="Scratch space. Default: $WORK_DIR, else a directory that is removed at the end.",
            show_default=False,
        ),
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id",
            metavar="ID",
            help="Which run it is. Default: $RUN_ID, else local.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    org_id: Annotated[
        str | None,
        typer.Option(
            "--org-id",
            metavar="ID",
            help="For whom. Default: $ORG_ID, else local.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            min=0.0,
            help="How long it may go on after a first Ctrl-C or SIGTERM. Default: "
            "$OSTIARY_AGENT_GRACE_SECONDS, else 10.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format",
            help="How log lines on stderr look. Default: $OSTIARY_LOG_FORMAT, else text on a "
            "terminal and json elsewhere.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Log at DEBUG.", rich_help_panel=_PANEL, show_default=False
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print what run.json holds on stdout at the end.")
    ] = False,
) -> None:
    """Run an agent to its end; `eval "$(ostiary env)"` sets what it needs of a local gateway.

    Exit codes are the agent's: 0 done; 10 to 79 by the error that ended it; 130 stopped by a
    signal; 1 anything else. 2 is wrong usage.
    """
    # An agent may look at the environment itself: it is given the same one as the runner.
    changes: dict[str, Path | str | None] = {
        "REPO_PATH": None if repo is None else repo.expanduser().absolute(),
        "REPO_REF": ref,
        "REPO_URL": url,
        "OUTPUT_PATH": None if output is None else output.expanduser().absolute(),
        "WORK_DIR": None if work is None else work.expanduser().absolute(),
        "RUN_ID": run_id,
        "ORG_ID": org_id,
    }
    os.environ.update({n: str(value) for n, value in changes.items() if value is not None})
    for name, default in (("RUN_ID", "local"), ("ORG_ID", "local")):
        os.environ.setdefault(name, default)
    os.environ.setdefault("OUTPUT_PATH", str(Path("output").absolute()))
    _, found = find(target, "MODULE:CLASS", "agent", _is_agent)
    agent = cast("type[SageSanctumAgent[Any]]", found)
    with ExitStack() as after, reporting(json) as screen:
        if not os.environ.get("WORK_DIR"):
            os.environ["WORK_DIR"] = after.enter_context(
                tempfile.TemporaryDirectory(prefix="ostiary-work-")
            )
        from ...gateway import AgentRunner

        runner = AgentRunner(
            agent,
            grace_period=grace,
            log_format=None if log_format is None else log_format.value,
            verbose=True if verbose else None,
        )
        code = runner.run()
        if json:
            record = _record(os.environ)
            if record is not None:
                sys.stdout.write(record)
                sys.stdout.flush()
        elif screen.out.is_terminal:
            screen.note(f"exit code {code}; see {os.environ['OUTPUT_PATH']}")
    raise typer.Exit(code)


def _record(environ: Mapping[str, str]) -> str | None:
    try:
        return Path(environ["OUTPUT_PATH"], "run.json").read_text("utf-8")
    except OSError:
        return None  # the run has said why it could not be written


def _is_agent(found: object) -> bool:
    from ...gateway import SageSanctumAgent

    if not isinstance(found, type) or found is SageSanctumAgent:
        return False
    return issubclass(found, SageSanctumAgent)
