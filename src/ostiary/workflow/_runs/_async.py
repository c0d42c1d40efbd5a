"""Run workflows, follow them, wait for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..._calls.colours import Key, Timeout
from ..._calls.pages._async import AsyncPages
from ..._calls.waiting._async import wait_until
from ..._calls.waiting.pace import WAIT
from .. import _bodies as bodies
from .. import _routes as routes
from .._events._async import AsyncWorkflowEvents
from .._handle._async import AsyncWorkflowHandle
from ..enums import WorkflowState
from ..errors import FAMILY, WaitTimeoutError
from ..models import (
    EventPage,
    WorkflowEvent,
    WorkflowExecutionResult,
    WorkflowPage,
    WorkflowSpec,
    WorkflowStatus,
    WorkflowSummary,
)

if TYPE_CHECKING:
    from ...http._async import AsyncPool
    from ..settings import WorkflowSettings

__all__ = ["POLL_INTERVAL", "AsyncRunCalls"]

POLL_INTERVAL = 2.0
"""The longest gap between two questions unless told otherwise, in seconds."""


class AsyncRunCalls:
    """The methods of a client about workflows."""

    _pool: AsyncPool
    _settings: WorkflowSettings

    async def execute_workflow(
        self,
        workflow: WorkflowSpec | Mapping[str, Any],
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        *,
        approval_token: str | None = None,
        rerun: bool = False,
        validate: bool | None = None,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> WorkflowExecutionResult:
        """Run a workflow and return how it ended; one that fails is a result too.

        `context` is free data for its tools. An id that has ended well before gives the result
        it had then; with `rerun` it is run anew, and may be another workflow. `approval_token`
        is that of an approval which was given. `validate` says whether the graph is checked
        before anything is sent; None goes by the client.

        A workflow that may take longer than `timeout` is better submitted: `submit_workflow`.
        Without `idempotency_key` it is not sent again once it may have arrived. Raises
        `GraphError` for tasks that cannot be put in order, `ConflictError` while that id runs
        or when it was another workflow.
        """
        return await self._pool.call(
            routes.EXECUTE,
            body=self._request(workflow, context, correlation_id, approval_token, rerun, validate),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def submit_workflow(
        self,
        workflow: WorkflowSpec | Mapping[str, Any],
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        *,
        approval_token: str | None = None,
        rerun: bool = False,
        validate: bool | None = None,
        timeout: Timeout = UNSET,
        idempotency_key: Key = True,
    ) -> AsyncWorkflowHandle:
        """Have a workflow run, and return at once with a handle on it; see `execute_workflow`."""
        status = await self._pool.call(
            routes.SUBMIT,
            query=_AT_ONCE,
            body=self._request(workflow, context, correlation_id, approval_token, rerun, validate),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )
        return AsyncWorkflowHandle(self, status)

    def get_workflow(self, workflow_id: str) -> AsyncWorkflowHandle:
        """Return a handle on a workflow that was submitted before; nothing is sent."""
        return AsyncWorkflowHandle(self, bodies.text("workflow_id", workflow_id))

    async def get_workflow_status(
        self, workflow_id: str, *, timeout: Timeout = UNSET
    ) -> WorkflowStatus:
        """Return where a workflow stands: a model, and a mapping of its members."""
        return await self._pool.call(routes.STATUS, workflow_id, timeout=timeout)

    async def get_workflow_result(
        self, workflow_id: str, *, timeout: Timeout = UNSET
    ) -> WorkflowExecutionResult:
        """Return how a workflow ended; `ConflictError` while it runs."""
        return await self._pool.call(routes.RESULT, workflow_id, timeout=timeout)

    async def get_workflow_spec(
        self, workflow_id: str, *, timeout: Timeout = UNSET
    ) -> WorkflowSpec:
        """Return a workflow as it was submitted, with all its dependencies in one place."""
        return await self._pool.call(routes.SPEC, workflow_id, timeout=timeout)

    async def cancel_workflow(
        self, workflow_id: str, *, timeout: Timeout = UNSET, idempotency_key: Key = None
    ) -> dict[str, Any]:
        """Have a workflow end now; what was done is undone where it can be.

        `ConflictError` when it has ended already.
        """
        return await self._pool.call(
            routes.CANCEL, workflow_id, timeout=timeout, idempotency_key=idempotency_key
        )

    async def list_workflows(
        self,
        status: WorkflowState | str | None = None,
        name: str | None = None,
        *,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        timeout: Timeout = UNSET,
    ) -> WorkflowPage:
        """Return a page of workflows, newest first; `cursor` is the page before's."""
        return await self._pool.call(
            routes.WORKFLOWS,
            query=bodies.page(
                limit,
                cursor,
                status=None if status is None else str(status),
                name=name,
                started_after=bodies.moment("started_after", started_after),
                started_before=bodies.moment("started_before", started_before),
            ),
            timeout=timeout,
        )

    def iter_workflows(
        self,
        status: WorkflowState | str | None = None,
        name: str | None = None,
        *,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        limit: int = 100,
    ) -> AsyncPages[WorkflowSummary]:
        """Iterate over all workflows, newest first, `limit` of them a page."""
        return AsyncPages(
            lambda cursor: self.list_workflows(
                status,
                name,
                started_after=started_after,
                started_before=started_before,
                limit=limit,
                cursor=cursor,
            ),
            lambda page: page.workflows,
            lambda one: one.workflow_id,
            lambda page, _: page.next_cursor,
            None,
        )

    async def list_workflow_events(
        self,
        workflow_id: str,
        after: int = 0,
        *,
        limit: int | None = None,
        timeout: Timeout = UNSET,
    ) -> EventPage:
        """Return what a workflow's record says behind the event of that sequence number."""
        query = bodies.page(limit, None, after=bodies.whole("after", after, 0, 1 << 62))
        return await self._pool.call(routes.EVENTS, workflow_id, query=query, timeout=timeout)

    def iter_workflow_events(
        self, workflow_id: str, after: int = 0, *, limit: int = 500
    ) -> AsyncPages[WorkflowEvent]:
        """Iterate over a workflow's record as it stands, `limit` events a page."""
        return AsyncPages(
            lambda mark: self.list_workflow_events(workflow_id, mark, limit=limit),
            lambda page: page.events,
            None,
            # The last of the page, whatever the server calls its cursor.
            lambda page, _: page.events[-1].sequence if page.events and page.next_cursor else None,
            after,
        )

    def stream_workflow(
        self,
        workflow_id: str,
        last_event_id: str | int | None = None,
        *,
        timeout: Timeout = UNSET,
        idle_timeout: float | None = None,
    ) -> AsyncWorkflowEvents:
        """Return a workflow's events as they happen; the iterator ends with the run.

        The request is sent when the first event is asked for. With `last_event_id`, an event's
        `sequence`, those behind it come, and none of them is missed. A connection that is lost
        is made anew, and goes on where it ended; `timeout` is for making one. `idle_timeout` is
        the longest gap between two events, in seconds; None is no limit. In a `with` block,
        leaving the loop early closes the connection at once.
        """
        return AsyncWorkflowEvents(
            self._pool,
            bodies.text("workflow_id", workflow_id),
            None if last_event_id is None else str(last_event_id),
            idle_timeout,
            timeout,
        )

    async def wait_for_workflow(
        self,
        workflow_id: str,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = POLL_INTERVAL,
        on_update: Callable[[WorkflowStatus], object] | None = None,
    ) -> WorkflowExecutionResult:
        """Wait until a workflow has ended, in whatever way, and return its result.

        It asks for the status at once, then with growing gaps of at most `poll_interval`
        seconds, and for the last time when `timeout` seconds are over; None is no limit.
        `on_update` is called with the status whenever it has changed. 429, 502, 503, 504 and
        lost connections are waited out. `WaitTimeoutError`, a TimeoutError, when it takes
        longer; its `last` is the status then.
        """
        await wait_until(
            self._pool,
            lambda patience: self.get_workflow_status(workflow_id, timeout=patience),
            lambda status: status.is_terminal,
            lambda status: bodies.still("workflow", workflow_id, status),
            timeout=timeout,
            poll_interval=poll_interval,
            on_update=on_update,
            failure=WaitTimeoutError,
            family=FAMILY,
        )
        return await self.get_workflow_result(workflow_id)

    def _request(
        self,
        workflow: WorkflowSpec | Mapping[str, Any],
        context: Mapping[str, Any] | None,
        correlation_id: str | None,
        approval_token: str | None,
        rerun: bool,
        validate: bool | None,
    ) -> object:
        check = self._settings.validate if validate is None else validate
        return bodies.sealed(
            "the workflow",
            bodies.members(
                workflow=bodies.workflow(workflow, check=check),
                context=bodies.mapping("context", context),
                correlation_id=bodies.optional_text("correlation_id", correlation_id),
                approval_token=bodies.optional_text("approval_token", approval_token),
                rerun=rerun or None,
            ),
        )


_AT_ONCE = {"wait": 0}
