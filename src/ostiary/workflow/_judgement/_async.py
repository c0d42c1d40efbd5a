"""Have changes and actions judged; ask people, and answer for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..._calls.colours import Key, Timeout
from ..._calls.pages._async import AsyncPages
from ..._calls.waiting._async import wait_until
from ..._calls.waiting.pace import WAIT
from .. import _bodies as bodies
from .. import _routes as routes
from ..enums import ApprovalStatus
from ..errors import FAMILY, ApprovalDeniedError, WaitTimeoutError
from ..models import (
    Action,
    Approval,
    ApprovalPage,
    AuditEntry,
    AuditPage,
    Commit,
    GateConfig,
    GateResult,
    GuardDecision,
    PolicyContext,
    Principal,
    ValidatorInfo,
)

if TYPE_CHECKING:
    from ...http._async import AsyncPool

__all__ = ["AsyncJudgementCalls"]

_REFUSED = frozenset({ApprovalStatus.DENIED, ApprovalStatus.EXPIRED})


class AsyncJudgementCalls:
    """The methods of a client about gates, policy and approvals."""

    _pool: AsyncPool

    # --- gates

    async def validate_commit(
        self,
        commit: Commit | Mapping[str, Any],
        gate_config: GateConfig | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
    ) -> GateResult:
        """Have a change judged by a gate's validators."""
        body = {
            "commit": bodies.given(Commit, "commit", commit),
            "gate_config": bodies.given(GateConfig, "gate_config", gate_config),
        }
        return await self._pool.call(
            routes.VALIDATE, body=bodies.sealed("the commit", body), timeout=timeout
        )

    async def register_validator(
        self,
        validator_id: str,
        validator_config: Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
    ) -> dict[str, Any]:
        """Give gates a validator under a name; one of that name is replaced.

        Where the reply's `resolved` is false, the server has no such logic, and the validator
        refuses whatever it is shown.
        """
        body = {
            "validator_id": bodies.text("validator_id", validator_id),
            "config": bodies.mapping("validator_config", validator_config) or {},
        }
        return await self._pool.call(
            routes.VALIDATOR_REGISTER, body=bodies.sealed("the validator", body), timeout=timeout
        )

    async def list_validators(self, *, timeout: Timeout = UNSET) -> list[ValidatorInfo]:
        """Return the validators that gates can name, built-in ones too."""
        return await self._pool.call(routes.VALIDATORS, timeout=timeout)

    async def get_validator(self, validator_id: str, *, timeout: Timeout = UNSET) -> ValidatorInfo:
        """Return one validator."""
        return await self._pool.call(routes.VALIDATOR, validator_id, timeout=timeout)

    async def delete_validator(
        self, validator_id: str, *, timeout: Timeout = UNSET
    ) -> dict[str, Any]:
        """Take a registered validator away; gates that still name it let nothing pass."""
        return await self._pool.call(routes.VALIDATOR_DELETE, validator_id, timeout=timeout)

    # --- policy

    async def evaluate_policy(
        self,
        context: PolicyContext | Mapping[str, Any],
        *,
        approval_token: str | None = None,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> GuardDecision:
        """Have an action judged. Where a person has to decide, the decision names the request.

        `approval_token` is that of an approval which was given; it lets the action pass once.
        """
        body = bodies.given(PolicyContext, "context", context)
        token = bodies.optional_text("approval_token", approval_token)
        if token is not None:
            body["approval_token"] = token
        return await self._pool.call(
            routes.EVALUATE,
            body=bodies.sealed("the context", body),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def check_permission(
        self,
        principal: Principal | Mapping[str, Any],
        action: Action | Mapping[str, Any],
        *,
        timeout: Timeout = UNSET,
    ) -> bool:
        """Whether a principal has been granted what an action takes, whatever its risk."""
        body = {
            "principal": bodies.given(Principal, "principal", principal),
            "action": bodies.given(Action, "action", action),
        }
        found = await self._pool.call(
            routes.CHECK, body=bodies.sealed("the action", body), timeout=timeout
        )
        return found.get("allowed") is True

    async def list_audit(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        timeout: Timeout = UNSET,
    ) -> AuditPage:
        """Return a page of the server's log of judgements, newest first."""
        return await self._pool.call(
            routes.AUDIT, query=bodies.page(limit, cursor), timeout=timeout
        )

    def iter_audit(self, *, limit: int = 100) -> AsyncPages[AuditEntry]:
        """Iterate over the server's log of judgements, newest first, `limit` a page."""
        return AsyncPages(
            lambda cursor: self.list_audit(limit=limit, cursor=cursor),
            lambda page: page.entries,
            None,
            lambda page, _: page.next_cursor,
            None,
        )

    # --- approvals

    async def request_approval(
        self,
        action: Action | Mapping[str, Any],
        principal: Principal | Mapping[str, Any],
        reason: str,
        *,
        workflow_id: str | None = None,
        task_id: str | None = None,
        timeout: Timeout = UNSET,
        idempotency_key: Key = True,
    ) -> str:
        """Ask for a person's leave and return the token that names the request.

        The token is no leave by itself; somebody else has to `approve` it.
        """
        body = bodies.members(
            action=bodies.given(Action, "action", action),
            principal=bodies.given(Principal, "principal", principal),
            reason=bodies.text("reason", reason),
            workflow_id=bodies.optional_text("workflow_id", workflow_id),
            task_id=bodies.optional_text("task_id", task_id),
        )
        found = await self._pool.call(
            routes.APPROVAL_REQUEST,
            body=bodies.sealed("the action", body),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )
        return str(found.get("approval_token") or "")

    async def list_approvals(
        self,
        status: ApprovalStatus | str | None = None,
        workflow_id: str | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        timeout: Timeout = UNSET,
    ) -> ApprovalPage:
        """Return a page of approvals, newest first; `cursor` is the page before's."""
        return await self._pool.call(
            routes.APPROVALS,
            query=bodies.page(
                limit,
                cursor,
                status=None if status is None else str(status),
                workflow_id=workflow_id,
            ),
            timeout=timeout,
        )

    def iter_approvals(
        self,
        status: ApprovalStatus | str | None = None,
        workflow_id: str | None = None,
        *,
        limit: int = 100,
    ) -> AsyncPages[Approval]:
        """Iterate over all approvals, newest first, `limit` of them a page."""
        return AsyncPages(
            lambda cursor: self.list_approvals(status, workflow_id, limit=limit, cursor=cursor),
            lambda page: page.approvals,
            lambda one: one.token,
            lambda page, _: page.next_cursor,
            None,
        )

    async def get_approval(self, token: str, *, timeout: Timeout = UNSET) -> Approval:
        """Return where an approval stands."""
        return await self._pool.call(routes.APPROVAL, token, timeout=timeout)

    async def approve(
        self,
        token: str,
        comment: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> Approval:
        """Give leave; not to oneself. `ConflictError` when it was decided before."""
        return await self._pool.call(
            routes.APPROVE,
            token,
            body=bodies.members(comment=bodies.optional_text("comment", comment)),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def deny(
        self,
        token: str,
        comment: str | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotency_key: Key = None,
    ) -> Approval:
        """Refuse leave. `ConflictError` when it was decided before."""
        return await self._pool.call(
            routes.DENY,
            token,
            body=bodies.members(comment=bodies.optional_text("comment", comment)),
            timeout=timeout,
            idempotency_key=idempotency_key,
        )

    async def wait_for_approval(
        self,
        token: str,
        timeout: float | None = WAIT,
        *,
        poll_interval: float = 2.0,
        on_update: Callable[[Approval], object] | None = None,
    ) -> Approval:
        """Wait until somebody has decided, and return the approval that was given.

        Times are seconds, None is no limit. `ApprovalDeniedError` when it was denied or has
        expired, `WaitTimeoutError`, a TimeoutError, when nobody decided in time.
        """
        found = await wait_until(
            self._pool,
            lambda patience: self.get_approval(token, timeout=patience),
            lambda approval: not approval.is_pending,
            lambda approval: bodies.still("approval", token, approval),
            timeout=timeout,
            poll_interval=poll_interval,
            on_update=on_update,
            failure=WaitTimeoutError,
            family=FAMILY,
        )
        if found.status not in _REFUSED:
            return found
        by = f" by {found.approver}" if found.approver else ""
        why = f": {found.comment}" if found.comment else ""
        raise ApprovalDeniedError(
            f"approval {token} was {found.status}{by}{why}; ask again if it is still wanted"
            if found.status == ApprovalStatus.DENIED
            else f"approval {token} has expired; ask again",
            approval=found,
        )
