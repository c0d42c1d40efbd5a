# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""Agents: what they are, how they are, what they run and what they are told; and workflows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET

from ..._calls.colours import Key, Timeout
from ..._calls.pages._sync import Pages
from ..._calls.waiting._sync import wait_until
from ..._calls.waiting.pace import POLL_INTERVAL, WAIT
from ..._route import Route
from .. import _bodies as bodies
from .. import _routes as routes
from ..enums import AgentState, EventType
from ..errors import (
    FAMILY,
    FeatureNotAvailableError,
    MethodNotAllowedError,
    NotFoundError,
    SymbiontError,
    WaitTimeoutError,
)
from ..models import (
    Agent,
    AgentEventRequest,
    AgentExecution,
    AgentMessage,
    AgentStatusResponse,
    AgentSummary,
    HeldAction,
    MessageReceipt,
    SendMessageRequest,
    WorkflowExecutionPage,
    WorkflowExecutionRequest,
    WorkflowExecutionResponse,
)

if TYPE_CHECKING:
    from ...http._sync import Pool

__all__ = ["AgentCalls"]

T = TypeVar("T")


class AgentCalls:
    """The methods of a client about agents and workflows."""

    _pool: Pool

    # What an endpoint is called differs between generations of servers. Once one of the two
    # names has answered, the other is not tried again.
    _status_route: Route[AgentStatusResponse] | None = None
    _workflow_route: Route[dict[str, Any]] | None = None

    def list_agents(self, *, timeout: Timeout = UNSET) -> list[str]:
        """Return the ids of all agents."""
        return self._pool.call(routes.AGENTS_LIST, timeout=timeout)

    def list_agent_details(self, *, timeout: Timeout = UNSET) -> list[AgentSummary]:
        """Return all agents with name and state; both None where the server tells ids alone."""
        return self._pool.call(routes.AGENTS_DETAILS, query={"detail": True}, timeout=timeout)

    def get_agent_status(self, agent_id: str, *, timeout: Timeout = UNSET) -> AgentStatusResponse:
        """Return an agent's state and what it uses; `NotFoundError` when there is none."""
        route = self._status_route
        if route is not None:
            return self._pool.call(route, agent_id, timeout=timeout)
        found, self._status_route = self._either(
            routes.AGENT_STATUS, routes.AGENT_STATUS_SEED, agent_id, timeout=timeout
        )
        return found

    def create_agent(
        self,
        agent_data: Agent | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Create an agent and return what the server says of it.

        Some servers choose the id themselves: go on with the reply's `id`.
        """
        return self._pool.call(
            routes.AGENT_CREATE,
            body=bodies.given(Agent, "agent_data", agent_data),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def update_agent(
        self, agent_id: str, changes: Mapping[str, Any], *, timeout: Timeout = UNSET
    ) -> dict[str, Any]:
        """Change the named fields of an agent, such as `name`, `system_prompt` or `dsl`."""
        return self._pool.call(
            routes.AGENT_UPDATE,
            agent_id,
            body=bodies.changes("changes", changes),
            timeout=timeout,
        )

    def delete_agent(self, agent_id: str, *, timeout: Timeout = UNSET) -> dict[str, Any]:
        """Delete an agent."""
        return self._pool.call(routes.AGENT_DELETE, agent_id, timeout=timeout)

    def wait_for_agent(
        self,
        agent_id: str,
        state: AgentState | str | Iterable[AgentState | str] = AgentState.IDLE,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = POLL_INTERVAL,
        on_update: Callable[[AgentStatusResponse], object] | None = None,
    ) -> AgentStatusResponse:
        """Wait until an agent is in the state, or one of several, and return its status.

        Times are seconds, None is no limit; `WaitTimeoutError`, a TimeoutError, when it is
        over. What may pass meanwhile is waited out: 429, 502, 503, 504, lost connections.
        """
        states = bodies.states(state)
        return wait_until(
            self._pool,
            lambda patience: self.get_agent_status(agent_id, timeout=patience),
            lambda status: status.state in states,
            lambda status: (
                f"agent {agent_id} is {'silent' if status is None else status.state} and not "
                f"{' or '.join(sorted(states))}"
            ),
            timeout=timeout,
            poll_interval=poll_interval,
            on_update=on_update,
            failure=WaitTimeoutError,
            family=FAMILY,
        )

    # --- what an agent runs

    def execute_agent(
        self,
        agent_id: str,
        input: Any = None,
        *,
        require_approval: bool = False,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> AgentExecution:
        """Start an agent on `input`, anything that is JSON, and return its execution.

        With `require_approval` it is held until somebody allows it; see `list_approvals`.
        Without `idempotency_key` it is not sent again once it may have arrived.
        """
        return self._pool.call(
            routes.AGENT_EXECUTE,
            agent_id,
            body=bodies.members(input=input, require_approval=require_approval or None),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def get_agent_history(self, agent_id: str, *, timeout: Timeout = UNSET) -> list[AgentExecution]:
        """Return an agent's latest executions, in the order of the server."""
        return self._pool.call(routes.AGENT_HISTORY, agent_id, timeout=timeout)

    def get_agent_execution(
        self, agent_id: str, execution_id: str, *, timeout: Timeout = UNSET
    ) -> AgentExecution:
        """Return one execution; out of the history, where the server tells no more."""
        began = time.monotonic()
        try:
            return self._pool.call(routes.AGENT_EXECUTION, agent_id, execution_id, timeout=timeout)
        except FeatureNotAvailableError:
            pass
        history = self.get_agent_history(agent_id, timeout=self._left(timeout, began))
        for execution in history:
            if execution.execution_id == execution_id:
                return execution
        raise NotFoundError(
            f"agent {agent_id} has no execution {execution_id} in its history; it holds the "
            "latest ones alone"
        )

    def cancel_agent_execution(
        self,
        agent_id: str,
        execution_id: str,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> AgentExecution:
        """End an execution before its time, and return it."""
        return self._pool.call(
            routes.AGENT_EXECUTION_CANCEL,
            agent_id,
            execution_id,
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def wait_for_execution(
        self,
        agent_id: str,
        execution_id: str,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = POLL_INTERVAL,
        on_update: Callable[[AgentExecution], object] | None = None,
    ) -> AgentExecution:
        """Wait until an agent's execution has ended, in whatever way; otherwise as above."""
        return wait_until(
            self._pool,
            lambda patience: self.get_agent_execution(agent_id, execution_id, timeout=patience),
            lambda execution: bodies.has_ended(execution.status),
            lambda execution: bodies.still("execution", execution_id, execution),
            timeout=timeout,
            poll_interval=poll_interval,
            on_update=on_update,
            failure=WaitTimeoutError,
            family=FAMILY,
        )

    # --- messages, and agents that run elsewhere

    def send_message(
        self,
        agent_id: str,
        sender: str,
        payload: str,
        ttl_seconds: int | None = None,
        topic: str | None = None,
        agentpin_jwt: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> MessageReceipt:
        """Put a message into an agent's box; unread, it lasts `ttl_seconds`."""
        return self._pool.call(
            routes.MESSAGE_SEND,
            agent_id,
            body=bodies.given(
                SendMessageRequest,
                "message",
                {
                    "sender": sender,
                    "payload": payload,
                    "ttl_seconds": ttl_seconds,
                    "topic": topic,
                    "agentpin_jwt": agentpin_jwt,
                },
            ),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def receive_messages(self, agent_id: str, *, timeout: Timeout = UNSET) -> list[AgentMessage]:
        """Take the messages out of an agent's box and return them.

        The server forgets what it has handed out. So this is not sent again when its reply is
        lost.
        """
        return self._pool.call(routes.MESSAGES_TAKE, agent_id, timeout=timeout)

    def get_message_status(self, message_id: str, *, timeout: Timeout = UNSET) -> MessageReceipt:
        """Return whether a message was delivered."""
        return self._pool.call(routes.MESSAGE_STATUS, message_id, timeout=timeout)

    def send_heartbeat(
        self,
        agent_id: str,
        state: AgentState | str,
        metadata: Mapping[str, str] | None = None,
        last_result: str | None = None,
        agentpin_jwt: str | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> None:
        """Say that an agent which runs elsewhere is alive, and in which state.

        A member of `AgentState` is sent as the runtime's word for it, text as it is given.
        """
        self._pool.call(
            routes.AGENT_HEARTBEAT,
            agent_id,
            body=bodies.heartbeat(state, metadata, last_result, agentpin_jwt),
            timeout=timeout,
        )

    def push_agent_event(
        self,
        agent_id: str,
        event_type: EventType | str,
        payload: Any,
        agentpin_jwt: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> None:
        """Record what an agent that runs elsewhere has done; `payload` is anything JSON."""
        self._pool.call(
            routes.AGENT_EVENT,
            agent_id,
            body=bodies.given(
                AgentEventRequest,
                "event",
                {"event_type": event_type, "payload": payload, "agentpin_jwt": agentpin_jwt},
            ),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    # --- what is held until somebody decides

    def list_approvals(self, *, timeout: Timeout = UNSET) -> list[HeldAction]:
        """Return the actions that wait for somebody's decision."""
        return self._pool.call(routes.APPROVALS_LIST, timeout=timeout)

    def approve(
        self,
        approval_id: str,
        reason: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Let an action happen; `ConflictError` when it was decided before."""
        return self._pool.call(
            routes.APPROVAL_APPROVE,
            approval_id,
            body=bodies.members(reason=bodies.optional_text("reason", reason)),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    def deny(
        self,
        approval_id: str,
        reason: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Keep an action from happening; `ConflictError` when it was decided before."""
        return self._pool.call(
            routes.APPROVAL_DENY,
            approval_id,
            body=bodies.members(reason=bodies.optional_text("reason", reason)),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    # --- workflows

    def execute_workflow(
        self,
        workflow_request: WorkflowExecutionRequest | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> dict[str, Any]:
        """Run a workflow and return what the server says of it.

        Some servers take the workflow's source as `workflow_id`: it is passed on as given.
        """
        body = bodies.given(WorkflowExecutionRequest, "workflow_request", workflow_request)
        route = self._workflow_route
        if route is not None:
            return self._pool.call(
                route, body=body, timeout=timeout, idempotency_key=idempotency_key
            )
        found, self._workflow_route = self._either(
            routes.WORKFLOW_EXECUTE,
            routes.WORKFLOW_EXECUTE_SEED,
            body=body,
            timeout=timeout,
            idempotency_key=idempotency_key,
        )
        return found

    def get_workflow_execution(
        self, execution_id: str, *, timeout: Timeout = UNSET
    ) -> WorkflowExecutionResponse:
        """Return how a workflow's execution stands, and its result once it has one."""
        return self._pool.call(routes.WORKFLOW_EXECUTION, execution_id, timeout=timeout)

    def list_workflow_executions(
        self,
        page: int = 1,
        limit: int = 20,
        workflow_id: str | None = None,
        status: str | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> WorkflowExecutionPage:
        """Return a page of executions, newest first; pages count from 1."""
        return self._pool.call(
            routes.WORKFLOW_EXECUTIONS,
            query=bodies.page_query(page, limit, workflow_id=workflow_id, status=status),
            timeout=timeout,
        )

    def iter_workflow_executions(
        self, workflow_id: str | None = None, status: str | None = None, limit: int = 100
    ) -> Pages[WorkflowExecutionResponse]:
        """Iterate over all executions, `limit` of them a page."""
        return Pages(
            lambda page: self.list_workflow_executions(page, limit, workflow_id, status),
            lambda page: page.executions,
            lambda execution: execution.execution_id,
        )

    def wait_for_workflow(
        self,
        execution_id: str,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = POLL_INTERVAL,
        on_update: Callable[[WorkflowExecutionResponse], object] | None = None,
    ) -> WorkflowExecutionResponse:
        """Wait until a workflow's execution has ended, in whatever way."""
        return wait_until(
            self._pool,
            lambda patience: self.get_workflow_execution(execution_id, timeout=patience),
            lambda execution: bodies.has_ended(execution.status),
            lambda execution: bodies.still("workflow execution", execution_id, execution),
            timeout=timeout,
            poll_interval=poll_interval,
            on_update=on_update,
            failure=WaitTimeoutError,
            family=FAMILY,
        )

    # --- two names for one endpoint

    def _either(
        self,
        first: Route[T],
        second: Route[T],
        *ids: str,
        body: object = None,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> tuple[T, Route[T]]:
        """Call `first`, and `second` where a server has no such path; return which answered."""
        began = time.monotonic()
        try:
            return self._pool.call(
                first, *ids, body=body, timeout=timeout, idempotency_key=idempotency_key
            ), first
        except (NotFoundError, MethodNotAllowedError) as error:
            refused: SymbiontError = error
        try:
            return self._pool.call(
                second,
                *ids,
                body=body,
                timeout=self._left(timeout, began),
                idempotency_key=idempotency_key,
            ), second
        except (NotFoundError, MethodNotAllowedError) as error:
            # Of two refusals, the one with a reason is about the thing and not the path.
            if error.code is not None and refused.code is None:
                refused = error
        try:
            raise refused
        finally:
            del refused  # a frame that refers to what it raised is a circle

    def _left(self, timeout: Timeout, began: float) -> float:
        usual = self._pool.settings.timeout
        return bodies.remaining(timeout, usual, time.monotonic() - began)
