"""The owner's half of the vault: credentials, agents, policies, audit, leases, lock.

Only `listener` decides who the owner is; everything here trusts that it did. Every change
is recorded and committed before it is answered. Neighbours: `vault` holds the state,
`admin` is the client.
"""

from __future__ import annotations

import re
from typing import Any, Final, final

import msgspec
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from ..errors import OstiaryError
from ..secret import Secret
from . import audit, faults, seal
from .audit import Event
from .clock import iso
from .leases import Lease
from .options import VALUE_LIMIT
from .policy import Policy
from .store import About, Agent, Credential
from .vault import PATH_LIMIT, Slow, Vault

__all__ = ["Administration", "entry"]

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


def entry(credential: Credential) -> dict[str, object]:
    """Return a credential's metadata as it is listed; never its value."""
    about = credential.about
    found: dict[str, object] = {"path": credential.path, "type": about.type, "tags": about.tags}
    if about.description is not None:
        found["description"] = about.description
    if about.metadata:
        found["metadata"] = about.metadata
    found["created_at"] = iso(about.created_at)
    found["updated_at"] = iso(about.updated_at)
    if about.rotated_at is not None:
        found["rotated_at"] = iso(about.rotated_at)
    found["access_count"] = credential.access_count
    if credential.last_accessed_at is not None:
        found["last_accessed_by"] = credential.last_accessed_by
        found["last_accessed_at"] = iso(credential.last_accessed_at)
    return found


def lease_entry(lease: Lease, remaining: float) -> dict[str, object]:
    """Return a lease as it is listed."""
    return {
        "lease_id": lease.id,
        "agent_name": lease.agent,
        "path": lease.path,
        "ttl": lease.ttl,
        "remaining": round(max(remaining, 0.0), 3),
        "created_at": iso(lease.granted_at),
        "expires_at": iso(lease.expires_at),
        "accesses": lease.accesses,
        "max_accesses": lease.max_accesses,
    }


def _agent_entry(agent: Agent) -> dict[str, object]:
    return {
        "name": agent.name,
        "public_key": agent.public_key.hex(),
        "description": agent.description,
        "created_at": iso(agent.created_at),
    }


def decode_hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    raise faults.invalid(f"{what} is not hexadecimal")


@final
class Administration:
    """What the owner may ask, one method for each `admin.` method of the wire."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def status(self) -> dict[str, object]:
        from ostiary import __version__

        vault = self._vault
        vault.expire()
        return {
            "version": __version__,
            "locked": vault.locked,
            "started_at": iso(vault.started_at),
            "agents": len(vault.agents),
            "credentials": len(vault.credentials),
            "leases": len(vault.leases),
            "leases_granted": vault.leases.granted,
            "sessions": len(vault.sessions),
            "home": str(vault.home.path),
            "addresses": vault.addresses,
        }

    # -- credentials --------------------------------------------------------

    def put(
        self,
        path: str,
        value: bytes,
        *,
        type: str = "api_key",
        description: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        overwrite: bool = True,
    ) -> dict[str, object]:
        """Store a credential; an existing one keeps its history and gets a new value."""
        vault = self._vault
        keyring = vault.require_open()
        if not path or len(path) > PATH_LIMIT or not path.isprintable() or path != path.strip():
            raise faults.invalid(f"a path has 1 to {PATH_LIMIT} printable characters")
        self._check_value(value)
        now = vault.clock.wall()
        old = vault.credentials.get(path)
        if old is not None and not overwrite:
            raise _exists("credential", path)
        about = About(
            type=type,
            description=description,
            tags=tags or [],
            metadata=metadata or {},
            created_at=old.about.created_at if old else now,
            updated_at=now,
            rotated_at=old.about.rotated_at if old else None,
        )
        made = Credential(path, keyring.seal(path, value), about)
        if old is not None:
            made.access_count = old.access_count
            made.last_accessed_by = old.last_accessed_by
            made.last_accessed_at = old.last_accessed_at
        vault.put_credential(made)
        vault.record(Event("credential.store", "store", resource=path))
        return entry(made)

    def _check_value(self, value: bytes) -> None:
        if not value:
            raise faults.invalid("the value is empty; remove the credential instead")
        if len(value) > VALUE_LIMIT:
            raise faults.invalid(f"the value is longer than {VALUE_LIMIT} bytes")

    def get(self, path: str) -> dict[str, object]:
        vault = self._vault
        vault.require_open()
        credential = self._credential(path)
        value = vault.open_secret(credential)
        vault.record(Event("credential.retrieve", "retrieve", resource=path, reason="by the owner"))
        return {**entry(credential), "value": value.hex()}

    def credential_list(self, type: str | None, prefix: str | None) -> dict[str, object]:
        self._vault.require_known()
        return {
            "credentials": [
                entry(credential)
                for path, credential in sorted(self._vault.credentials.items())
                if (type is None or credential.about.type == type)
                and (prefix is None or path.startswith(prefix))
            ]
        }

    def remove(self, path: str) -> dict[str, object]:
        self._vault.require_open()
        self._credential(path)
        self._vault.remove_credential(path)
        self._vault.record(Event("credential.delete", "delete", resource=path))
        return {}

    def rotate(self, path: str, value: bytes) -> dict[str, object]:
        """Replace a value; every lease on the old one ends."""
        vault = self._vault
        keyring = vault.require_open()
        credential = self._credential(path)
        self._check_value(value)
        now = vault.clock.wall()
        credential = msgspec.structs.replace(
            credential,
            sealed=keyring.seal(path, value),
            about=msgspec.structs.replace(credential.about, updated_at=now, rotated_at=now),
        )
        vault.put_credential(credential)
        for lease in vault.leases.of_path(path):
            vault.end_lease(lease, "lease.revoke", "the credential was rotated")
        vault.record(Event("credential.rotate", "rotate", resource=path))
        return entry(credential)

    def _credential(self, path: str) -> Credential:
        found = self._vault.credentials.get(path)
        if found is None:
            raise faults.not_found(path)
        return found

    # -- agents -------------------------------------------------------------

    def agent_add(
        self,
        name: str,
        public_key: bytes,
        *,
        description: str | None = None,
        allow: list[str] | None = None,
    ) -> dict[str, object]:
        """Register an agent; `allow` also makes the policy `agent-NAME`.

        Repeating the same registration is fine; another key for a known name is not.
        """
        vault = self._vault
        vault.require_open()
        if not NAME.fullmatch(name) or name in {".", ".."}:
            raise faults.invalid("an agent's name has 1 to 200 letters, digits, dots, - and _")
        if len(public_key) != 32:
            raise faults.invalid("public_key is 32 bytes, 64 hex digits")
        known = vault.agents.get(name)
        if known is not None and known.public_key != public_key:
            raise _exists("agent", name)
        policy: Policy | None = None
        if allow:
            policy = Policy(
                name=f"agent-{name}",
                principal=f"agent:{name}",  # a name holds no glob characters
                resources=allow,
                actions=["retrieve", "list", "use"],
                max_ttl=3600,
            )
        if known is None:
            known = Agent(
                name=name,
                public_key=public_key,
                description=description,
                created_at=vault.clock.wall(),
            )
            _check_key(public_key)
            vault.put_agent(known)
            vault.record(Event("agent.register", "register", name))
        if policy is not None:
            self._put_policy(policy)
        return _agent_entry(known)

    def agent_list(self) -> dict[str, object]:
        self._vault.require_known()
        return {"agents": [_agent_entry(a) for _, a in sorted(self._vault.agents.items())]}

    def agent_remove(self, name: str) -> dict[str, object]:
        """Forget an agent and the policy made for it; its leases and sessions end."""
        vault = self._vault
        vault.require_open()
        if name not in vault.agents:
            raise _missing("agent", name)
        vault.remove_agent(name)
        vault.record(Event("agent.remove", "remove", name))
        if f"agent-{name}" in vault.book:
            self.policy_remove(f"agent-{name}")
        return {}

    # -- policies -----------------------------------------------------------

    def policy_add(self, policy: Policy) -> dict[str, object]:
        self._vault.require_open()
        self._put_policy(policy)
        found: dict[str, object] = msgspec.to_builtins(policy)
        return found

    def _put_policy(self, policy: Policy) -> None:
        vault = self._vault
        vault.put_policy(policy)
        vault.record(Event("policy.create", "create", policy=policy.name))

    def policy_list(self) -> dict[str, object]:
        self._vault.require_known()
        found = sorted(self._vault.book.policies(), key=lambda policy: policy.name)
        return {"policies": msgspec.to_builtins(found)}

    def policy_remove(self, name: str) -> dict[str, object]:
        vault = self._vault
        vault.require_open()
        if name not in vault.book:
            raise _missing("policy", name)
        vault.remove_policy(name)
        vault.record(Event("policy.delete", "delete", policy=name))
        return {}

    def policy_simulate(self, agent: str, resource: str, action: str) -> dict[str, object]:
        """Say what would be decided; counts nothing."""
        vault = self._vault
        vault.require_known()
        clock = vault.clock
        decision = vault.book.decide(
            agent.removeprefix("agent:"),
            resource,
            action,
            clock.steady(),
            clock.wall(),
            count=False,
        )
        refusal = decision.refusal
        return {
            "allowed": refusal is None,
            "policy_name": decision.policy or None,
            "lease_ttl": decision.ttl if refusal is None else None,
            "reason": None if refusal is None else refusal.detail or refusal.message,
        }

    # -- audit --------------------------------------------------------------

    def audit_read(self, query: audit.Query) -> Slow:
        vault = self._vault
        vault.require_known()
        vault.flush()
        database = vault.store.path
        return Slow(lambda: {"entries": audit.read(database, query)})

    def audit_verify(self) -> Slow:
        vault = self._vault
        keyring, log = vault.require_known()
        key, head = keyring.audit_key, log.head()
        vault.flush()
        database = vault.store.path
        return Slow(lambda: audit.verify(database, key, head))

    # -- leases, lock -------------------------------------------------------

    def lease_list(self) -> dict[str, object]:
        vault = self._vault
        vault.require_known()
        vault.expire()
        now = vault.clock.steady()
        leases = sorted(vault.leases.all(), key=lambda lease: lease.deadline)
        return {"leases": [lease_entry(lease, lease.deadline - now) for lease in leases]}

    def lease_revoke(self, lease_id: str) -> dict[str, object]:
        vault = self._vault
        vault.require_known()
        vault.expire()
        lease = vault.leases.find(lease_id)
        if lease is None:
            raise faults.lease_expired()
        vault.end_lease(lease, "lease.revoke", "by the owner")
        return {}

    def lock(self) -> dict[str, object]:
        if not self._vault.locked:
            self._vault.lock()
        return {}

    def unlock(self, passphrase: Secret | None) -> Slow:
        """Open the vault again; argon2 takes its time, so not on the vault's thread."""
        vault = self._vault

        def run() -> object:
            try:
                return seal.unwrap(vault.home, vault.wrapping, passphrase)
            except OstiaryError as error:
                problem = error.message
            raise faults.unlock_refused(problem)

        def finish(keyring: object) -> object:
            assert isinstance(keyring, seal.Keyring)
            if vault.locked:
                vault.unlock(keyring)
            return {}

        return Slow(run, finish)


def _check_key(public_key: bytes) -> None:
    try:
        VerifyKey(public_key)
        return
    except (CryptoError, ValueError):
        pass
    raise faults.invalid("public_key is not an Ed25519 public key")


def _exists(what: str, name: str) -> faults.Refusal:
    return faults.Refusal(
        "ALREADY_EXISTS",
        f"the {what} {name} exists already",
        "use it, or remove it first",
        context={"name": name},
    )


def _missing(what: str, name: str) -> faults.Refusal:
    return faults.Refusal(
        "NOT_FOUND",
        f"there is no {what} {name}",
        f"`ostiary vault {what} ls` shows what there is",
        context={"name": name},
    )
