"""One call of a tool, as the tool sees it, and how a function becomes a tool.

    @tool("charge", risk="MEDIUM")
    async def charge(call: ToolCall) -> dict[str, str]:
        ...

Neighbours: `registry` finds tools, the engine calls them.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast, overload

import msgspec

from ....workflow.enums import FailureTaxonomy, RiskTier
from ....workflow.models import TaskSpec

__all__ = ["MARK", "Tool", "ToolCall", "ToolError", "tool"]

Function = Callable[["ToolCall"], Any]
F = TypeVar("F", bound=Callable[..., Any])

MARK: Final = "__ostiary_tool__"


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool is told.

    `upstream` are the results of the tasks that this one waits for, by id, in the order they
    are listed in. `idempotency_key` is the same whenever the same effect is meant: for every
    try, and after a crash. `cancelled` is set when nobody waits for the result any more: a
    function on a thread looks at it, a coroutine is cancelled besides. `compensates` is the id
    of the task that is to be undone, whose result is then in `upstream`.
    """

    inputs: dict[str, Any]
    context: Mapping[str, Any]
    upstream: Mapping[str, Any]
    task: TaskSpec
    workflow_id: str
    idempotency_key: str
    attempt: int
    cancelled: threading.Event
    sandbox: Path | None = None
    compensates: str | None = None

    @property
    def received(self) -> Any:
        """What came from upstream: the result where there is one, else all of them by id."""
        if len(self.upstream) == 1:
            return next(iter(self.upstream.values()))
        return dict(self.upstream)


class ToolError(Exception):
    """A tool could not do its work; the words are shown to whoever runs the workflow.

    With `retry` false no further try can help. `code` is one of the failure taxonomy.
    """

    def __init__(
        self, message: str, *, retry: bool = True, code: str = FailureTaxonomy.TOOL_ERROR.value
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry = retry
        self.code = code


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function under a name. `risk` is the least that a task with it must say.

    `simulate` stands in where a task is only to be played; None has the engine say what would
    have been called.
    """

    name: str
    run: Function
    simulate: Function | None = None
    risk: RiskTier = RiskTier.LOW
    description: str = ""


@overload
def tool(named: F, /) -> F: ...


@overload
def tool(
    named: str | None = None,
    /,
    *,
    risk: RiskTier | str = RiskTier.LOW,
    simulate: Function | None = None,
) -> Callable[[F], F]: ...


def tool(
    named: Any = None,
    /,
    *,
    risk: RiskTier | str = RiskTier.LOW,
    simulate: Function | None = None,
) -> Any:
    """Mark a function, or a coroutine function, as a tool; its name is its own if none is given.

    It is called with a `ToolCall` and returns what JSON can say.
    """

    def marked(function: F) -> F:
        name = named if isinstance(named, str) else function.__name__
        found = made(name, function, risk=RiskTier(risk), simulate=simulate)
        setattr(function, MARK, found)
        return function

    return marked(named) if callable(named) else marked


def made(
    name: str,
    function: Function,
    *,
    risk: RiskTier = RiskTier.LOW,
    simulate: Function | None = None,
) -> Tool:
    """Return the tool that a function is; raise `ValueError` for a name or a risk that is none."""
    if not name or len(name) > 128 or not name.isprintable():
        raise ValueError(f"a tool's name is 1 to 128 printable characters, not {name!r}")
    if not risk.is_known:
        raise ValueError(f"the risk of tool {name!r} is one of {', '.join(RiskTier)}, not {risk}")
    about = inspect.getdoc(_innermost(function)) or ""
    return Tool(
        name=name,
        run=function,
        simulate=simulate,
        risk=risk,
        description=about.partition("\n")[0],
    )


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether calling it gives a coroutine: functions, partials, callable objects."""
    inner = _innermost(function)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 - what is asked is what it is
    )


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    inner: Any = function
    while isinstance(inner, partial):
        inner = cast("partial[object]", inner).func
    found: Callable[..., Any] = inspect.unwrap(inner)
    return found
