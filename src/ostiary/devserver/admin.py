"""The owner's client: administration of a running vault over its Unix socket.

The server allows it to processes of its own user and to nobody else; there is nothing to
log in with. Neighbour: `administration` answers; the command line calls this.
"""

from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar, final

import msgspec

from .._decoders import decode_as
from .._io.blocking import Channel, connect
from .._io.sockets import forget_after_fork
from .._wire.rpc import Method
from ..config import Limits, UnixAddress, parse_address
from ..errors import OstiaryError, TransportError, adopt
from ..secret import Secret
from ..vault.errors import FAMILY, fault
from ..vault.models import Credential, Time
from .audit import Entry, Verdict

__all__ = [
    "AdminClient",
    "AgentEntry",
    "Entry",
    "LeaseEntry",
    "PolicyEntry",
    "Revealed",
    "Simulation",
    "Status",
    "Verdict",
]

T = TypeVar("T")

_TIMEOUT: Final = 30.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a running vault says of itself."""

    version: str
    locked: bool
    started_at: Time
    agents: int
    credentials: int
    leases: int
    sessions: int
    home: str
    addresses: builtins.list[str]
    leases_granted: int = 0


class AgentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One registered agent; `public_key` in hex."""

    name: str
    public_key: str
    description: str | None = None
    created_at: Time | None = None


class PolicyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One policy as the vault holds it."""

    name: str
    principal: str
    resources: builtins.list[str]
    actions: builtins.list[str]
    max_ttl: int
    enabled: bool = True
    conditions: dict[str, Any] = {}


class LeaseEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One lease in force; `remaining` in seconds."""

    lease_id: str
    agent_name: str
    path: str
    ttl: int
    remaining: float
    created_at: Time
    expires_at: Time
    accesses: int = 1
    max_accesses: int | None = None


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies would decide."""

    allowed: bool
    policy_name: str | None = None
    lease_ttl: int | None = None
    reason: str | None = None


class Revealed(msgspec.Struct, frozen=True):
    """A credential with its value."""

    entry: Credential
    value: Secret


class _WithValue(msgspec.Struct, frozen=True):
    value: str


class _Credentials(msgspec.Struct):
    credentials: builtins.list[Credential]


class _Agents(msgspec.Struct):
    agents: builtins.list[AgentEntry]


class _Policies(msgspec.Struct):
    policies: builtins.list[PolicyEntry]


class _Entries(msgspec.Struct):
    entries: builtins.list[Entry]


class _Leases(msgspec.Struct):
    leases: builtins.list[LeaseEntry]


_Done = dict[str, Any]

# fmt: off
_STATUS          = Method("admin.status", Status, fail=fault)
_PUT             = Method("admin.put", Credential, fail=fault)
_GET             = Method("admin.get", msgspec.Raw, fail=fault)
_LIST            = Method("admin.list", _Credentials, fail=fault)
_REMOVE          = Method("admin.remove", _Done, fail=fault)
_ROTATE          = Method("admin.rotate", Credential, fail=fault)
_AGENT_ADD       = Method("admin.agent_add", AgentEntry, fail=fault)
_AGENT_LIST      = Method("admin.agent_list", _Agents, fail=fault)
_AGENT_REMOVE    = Method("admin.agent_remove", _Done, fail=fault)
_POLICY_ADD      = Method("admin.policy_add", PolicyEntry, fail=fault)
_POLICY_LIST     = Method("admin.policy_list", _Policies, fail=fault)
_POLICY_REMOVE   = Method("admin.policy_remove", _Done, fail=fault)
_POLICY_SIMULATE = Method("admin.policy_simulate", Simulation, fail=fault)
_AUDIT           = Method("admin.audit", _Entries, fail=fault)
_AUDIT_VERIFY    = Method("admin.audit_verify", Verdict, fail=fault)
_LEASE_LIST      = Method("admin.lease_list", _Leases, fail=fault)
_LEASE_REVOKE    = Method("admin.lease_revoke", _Done, fail=fault)
_LOCK            = Method("admin.lock", _Done, fail=fault)
_UNLOCK          = Method("admin.unlock", _Done, fail=fault)
# fmt: on


@final
class AdminClient:
    """Administration of the vault that listens on `socket_path`.

    Connects at the first call; may be shared by threads, one call at a time. Raises the
    vault's errors (`ostiary.vault`): ACCESS_DENIED when the server is another user's.
    """

    def __init__(self, socket_path: str | os.PathLike[str], *, timeout: float = _TIMEOUT) -> None:
        address = parse_address(os.fspath(socket_path))
        assert isinstance(address, UnixAddress) or not address.tls
        self._address = address
        self._timeout = timeout
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        forget_after_fork(self)

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    def abandon(self) -> None:
        """Forget the parent's connection in a forked child."""
        self._lock = threading.Lock()
        self._channel = None

    def _call(self, method: Method[T], params: object) -> T:
        deadline = time.monotonic() + self._timeout
        try:
            with self._lock:
                channel = self._channel
                if channel is None or channel.closed or channel.stale():
                    # The vault serves its owner alone, so it runs as us: whoever else
                    # listens there is not to be handed a secret.
                    channel = self._channel = connect(
                        self._address,
                        deadline=deadline,
                        limits=Limits(),
                        expected_uid=os.geteuid(),
                    )
                return channel.call(method, params, deadline)
        except TransportError as error:
            failure: OstiaryError = adopt(error, FAMILY)
        raise failure

    def status(self) -> Status:
        """Return what the vault says of itself; also answered while it is locked."""
        return self._call(_STATUS, {})

    # -- credentials --------------------------------------------------------

    def put(
        self,
        path: str,
        value: Secret | str | bytes,
        *,
        type: str = "api_key",
        description: str | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = True,
    ) -> Credential:
        """Store a credential. Without `overwrite`, ALREADY_EXISTS for a known path."""
        return self._call(
            _PUT,
            {
                "path": path,
                "value": _hex(value),
                "type": type,
                "description": description,
                "tags": None if tags is None else builtins.list(tags),
                "metadata": metadata,
                "overwrite": overwrite,
            },
        )

    def get(self, path: str) -> Revealed:
        """Return a credential and its value."""
        raw = self._call(_GET, {"path": path})
        return Revealed(
            decode_as(raw, Credential),
            Secret(bytes.fromhex(decode_as(raw, _WithValue).value)),
        )

    def list(
        self, *, type: str | None = None, prefix: str | None = None
    ) -> builtins.list[Credential]:
        """Return the credentials' metadata by path."""
        return self._call(_LIST, {"type": type, "prefix": prefix}).credentials

    def remove(self, path: str) -> None:
        """Remove a credential; its leases end."""
        self._call(_REMOVE, {"path": path})

    def rotate(self, path: str, value: Secret | str | bytes) -> Credential:
        """Replace a value; the leases on the old one end."""
        return self._call(_ROTATE, {"path": path, "value": _hex(value)})

    # -- agents -------------------------------------------------------------

    def agent_add(
        self,
        name: str,
        public_key: str,
        *,
        description: str | None = None,
        allow: Sequence[str] | None = None,
    ) -> AgentEntry:
        """Register an agent by its public key in hex.

        `allow` are globs of the paths it may retrieve, list and use; they become the
        policy `agent-NAME`. Repeating a registration is fine; another key for a known
        name is ALREADY_EXISTS.
        """
        return self._call(
            _AGENT_ADD,
            {
                "name": name,
                "public_key": public_key,
                "description": description,
                "allow": None if allow is None else builtins.list(allow),
            },
        )

    def agent_list(self) -> builtins.list[AgentEntry]:
        """Return the registered agents by name."""
        return self._call(_AGENT_LIST, {}).agents

    def agent_remove(self, name: str) -> None:
        """Forget an agent; its sessions and leases end at once."""
        self._call(_AGENT_REMOVE, {"name": name})

    # -- policies -----------------------------------------------------------

    def policy_add(
        self,
        name: str,
        *,
        principal: str,
        resources: Sequence[str],
        actions: Sequence[str],
        max_ttl: int | None = None,
        enabled: bool = True,
        conditions: Mapping[str, object] | None = None,
    ) -> PolicyEntry:
        """Add or replace a policy; `max_ttl` None is the vault's default, 300 seconds."""
        return self._call(
            _POLICY_ADD,
            {
                "name": name,
                "principal": principal,
                "resources": builtins.list(resources),
                "actions": builtins.list(actions),
                "max_ttl": max_ttl,
                "enabled": enabled,
                "conditions": conditions,
            },
        )

    def policy_list(self) -> builtins.list[PolicyEntry]:
        """Return the policies by name."""
        return self._call(_POLICY_LIST, {}).policies

    def policy_remove(self, name: str) -> None:
        """Remove a policy."""
        self._call(_POLICY_REMOVE, {"name": name})

    def policy_simulate(self, agent: str, resource: str, action: str) -> Simulation:
        """Return what the policies would decide; nothing is counted or done."""
        return self._call(
            _POLICY_SIMULATE, {"agent": agent, "resource": resource, "action": action}
        )

    # -- audit, leases, lock ------------------------------------------------

    def audit(
        self,
        *,
        limit: int = 100,
        agent: str | None = None,
        resource: str | None = None,
        action: str | None = None,
        denied: bool | None = None,
        since: Time | None = None,
    ) -> builtins.list[Entry]:
        """Return the newest matching entries, oldest of them first.

        `denied` True asks for refusals alone; `since` is ISO-8601 text or Unix seconds.
        """
        return self._call(
            _AUDIT,
            {
                "limit": limit,
                "agent": agent,
                "resource": resource,
                "action": action,
                "denied": denied,
                "since": since,
            },
        ).entries

    def audit_verify(self) -> Verdict:
        """Check the whole audit log against its chain and its authenticated end."""
        return self._call(_AUDIT_VERIFY, {})

    def lease_list(self) -> builtins.list[LeaseEntry]:
        """Return the leases in force, the next to end first."""
        return self._call(_LEASE_LIST, {}).leases

    def lease_revoke(self, lease_id: str) -> None:
        """End a lease; LEASE_EXPIRED when it has ended already."""
        self._call(_LEASE_REVOKE, {"lease_id": lease_id})

    def lock(self) -> None:
        """Lock the vault: no secret can be read, and every lease ends."""
        self._call(_LOCK, {})

    def unlock(self, passphrase: Secret | str | None = None) -> None:
        """Open the vault again; one sealed by a key file needs no passphrase."""
        self._call(
            _UNLOCK,
            {"passphrase": passphrase.reveal() if isinstance(passphrase, Secret) else passphrase},
        )


def _hex(value: Secret | str | bytes) -> str:
    if isinstance(value, Secret):
        return value.reveal_bytes().hex()
    return (value.encode() if isinstance(value, str) else value).hex()
