"""Workflows, times and tags as they are given to a command."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from ...errors import InvalidArgumentError
from ..given import read_text

if TYPE_CHECKING:
    from ...workflow import WorkflowSpec

__all__ = ["File", "WorkflowId", "moment", "read_document", "read_workflow", "tags_of"]

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The workflow as JSON; - is stdin.", show_default=False),
]
WorkflowId = Annotated[
    str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.", show_default=False)
]

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_AGO: Final = 100 * 366 * 86400.0


def read_document(file: Path, what: str) -> Any:
    """Read JSON from a file, or from stdin for `-`."""
    text = read_text(file, what)
    problem = ""
    try:
        return loads(text)
    except ValueError as error:
        problem = str(error)
    except RecursionError:
        problem = "it is nested too deep"
    raise InvalidArgumentError(f"{what} is no JSON: {problem}; mend {file}")


def read_workflow(file: Path) -> WorkflowSpec:
    """Read a workflow; a document of a request, with the member `workflow`, is one too."""
    from ...workflow import WorkflowSpec

    found: object = read_document(file, "the workflow")
    if isinstance(found, dict):
        inner: object = cast("dict[str, Any]", found).get("workflow")
        if isinstance(inner, dict):
            found = cast("object", inner)
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            f"{file} holds no workflow; it is a JSON object with id, name, tasks and dependencies"
        )
    return WorkflowSpec.from_dict(cast("dict[str, Any]", found))


def moment(text: str | None, option: str) -> str | None:
    """Return a time as it is sent: ISO 8601 as it stands, or `15min`, which is so long ago."""
    if text is None:
        return None
    if (match := _AGO.fullmatch(text)) is None:
        # Here, because --help and completion need none of it.
        from ..._model.instants import understood

        if understood(text) is None:
            raise InvalidArgumentError(
                f"{option} {text!r} is no time; write one as ISO 8601, or 15min, 2h, 3d ago"
            )
        return text
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_AGO:
        raise InvalidArgumentError(f"{option} is longer ago than anything was recorded")
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def tags_of(given: list[str] | None) -> dict[str, str] | None:
    """Return `NAME=VALUE` options as a mapping."""
    tags: dict[str, str] = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise InvalidArgumentError(f"--tag takes NAME=VALUE, and {one!r} is not that")
        tags[name] = value
    return tags or None
