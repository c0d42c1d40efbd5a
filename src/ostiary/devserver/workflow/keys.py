"""Who calls: each key of the server stands for a principal, with roles.

`workflow.token` is the owner's and does everything; `workflow-approver.token` is somebody
else's, since whoever asked may not answer. Neighbour: `http.admission` has let the key in
already; `context` holds who it was.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Final, final

import msgspec
from starlette.requests import Request
from starlette.types import Scope

from ...errors import InvalidArgumentError
from ...secret import Secret
from ...workflow.models import Permission, Principal, accept
from ..faults import DevserverError
from ..http.domain import kept_token
from ..http.refusals import HttpRefusal
from ..options import WORKFLOW_ROLES, WorkflowKey

__all__ = ["ANONYMOUS", "Caller", "Keys", "caller_of"]

_EVERY: Final = frozenset(WORKFLOW_ROLES)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request, as the key says; `known` is False where none was asked for."""

    name: str
    roles: frozenset[str]
    principal: Principal
    known: bool = True

    def has(self, *roles: str) -> bool:
        """Return whether one of the roles is the caller's; admin is all of them."""
        return "admin" in self.roles or not self.roles.isdisjoint(roles)

    def require(self, *roles: str) -> None:
        """Refuse a caller that has none of the roles."""
        if not self.has(*roles):
            raise HttpRefusal(
                403,
                "ROLE_MISSING",
                f"this key has not the role {' or '.join(roles)}; use one that has",
                details={"required": list(roles), "roles": sorted(self.roles)},
            )


def _caller(name: str, roles: frozenset[str], kind: str = "service", **more: object) -> Caller:
    principal = accept(Principal, {"id": name, "type": kind, "permissions": [], **more})
    return Caller(name=name, roles=roles, principal=principal)


ANONYMOUS: Final = msgspec.structs.replace(_caller("anonymous", _EVERY), known=False)
"""Whoever shows no key where none is asked for."""

_OWNER: Final = _caller("owner", _EVERY)
_APPROVER: Final = WorkflowKey(name="approver", roles=frozenset({"read", "approve"}), type="human")


@final
class Keys:
    """The keys of one server; those without a token of their own are kept in `home`.

    `tokens` are by name, the owner's aside, which is kept in `workflow.token`.
    """

    def __init__(self, home: Path, more: tuple[WorkflowKey, ...]) -> None:
        self.tokens: dict[str, Secret] = {}
        self._callers: list[tuple[bytes, Caller]] = []
        self._add(kept_token(home / "workflow.token"), _OWNER)
        named = {one.name for one in more}
        for one in (*(() if "approver" in named else (_APPROVER,)), *more):
            token = one.token or kept_token(home / f"workflow-{one.name}.token")
            self.tokens[one.name] = token
            self._add(token, self._of(one))

    def _of(self, key: WorkflowKey) -> Caller:
        try:
            permissions = [accept(Permission, dict(raw)) for raw in key.permissions]
        except InvalidArgumentError as error:
            problem = str(error)
        else:
            return _caller(key.name, key.roles, key.type, permissions=permissions)
        raise DevserverError(f"the workflow key {key.name} cannot be used: {problem}")

    def _add(self, token: Secret, caller: Caller) -> None:
        digest = hashlib.sha256(token.reveal_bytes()).digest()
        if any(hmac.compare_digest(digest, other) for other, _ in self._callers):
            raise DevserverError(
                f"the workflow key {caller.name} has another key's token; give each its own"
            )
        self._callers.append((digest, caller))

    def note(self, scope: Scope) -> None:
        """Write into a request's scope who sent it, before anything is decided."""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, credentials = given.partition(b" ")
        digest = hashlib.sha256(credentials.strip()).digest()
        found = ANONYMOUS
        # All of them, so that the time does not tell which it was.
        for other, caller in self._callers:
            if hmac.compare_digest(digest, other):
                found = caller
        if scheme.lower() != b"bearer":
            found = ANONYMOUS
        scope["state"]["caller"] = found


def caller_of(given: Request | Scope) -> Caller:
    """Return who sent a request."""
    scope = given.scope if isinstance(given, Request) else given
    caller: Caller = scope["state"]["caller"]
    return caller
