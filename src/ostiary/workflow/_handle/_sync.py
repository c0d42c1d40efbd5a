# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""A workflow that was submitted: where it stands, how it ends, what happens in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from msgspec import UNSET

from ..._calls.colours import Timeout
from ..._calls.waiting.pace import WAIT
from ..models import WorkflowExecutionResult, WorkflowStatus

if TYPE_CHECKING:
    from .._events._sync import WorkflowEvents
    from .._runs._sync import RunCalls

__all__ = ["WorkflowHandle"]


@final
class WorkflowHandle:
    """One workflow of a client. It holds no connection; the client does.

    `submitted` is the status that the server answered with, None for a workflow that was
    only named.
    """

    __slots__ = ("_client", "submitted", "workflow_id")

    def __init__(self, client: RunCalls, known: WorkflowStatus | str) -> None:
        self._client = client
        self.submitted = None if isinstance(known, str) else known
        self.workflow_id = known if isinstance(known, str) else known.workflow_id

    def status(self, *, timeout: Timeout = UNSET) -> WorkflowStatus:
        """Return where it stands now."""
        return self._client.get_workflow_status(self.workflow_id, timeout=timeout)

    def result(
        self,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = 2.0,
        on_update: Callable[[WorkflowStatus], object] | None = None,
    ) -> WorkflowExecutionResult:
        """Wait until it has ended and return how; see `wait_for_workflow`."""
        return self._client.wait_for_workflow(
            self.workflow_id, timeout, poll_interval=poll_interval, on_update=on_update
        )

    def cancel(self, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Have it end now; see `cancel_workflow`."""
        return self._client.cancel_workflow(self.workflow_id, timeout=timeout)

    def events(
        self,
        last_event_id: str | int | None = None,
        *,
        timeout: Timeout = UNSET,
        idle_timeout: float | None = None,
    ) -> WorkflowEvents:
        """Return its events as they happen; see `stream_workflow`."""
        return self._client.stream_workflow(
            self.workflow_id, last_event_id, timeout=timeout, idle_timeout=idle_timeout
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.workflow_id!r})"
