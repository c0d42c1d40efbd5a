"""The vault itself: what each agent-facing call does, and the state it does it to.

No sockets and no wire shapes. One thread; slow work is handed back as `Slow` for another to
run. Everything that changes something is in the audit log before the caller is answered:
`flush` commits it. Neighbours: `dialects` calls this, `administration` is the owner's half.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final, final

import msgspec
from nacl.exceptions import CryptoError

from . import audit, faults, outbound, seal
from .audit import Audit, Event
from .faults import DevserverError, Refusal
from .home import Home
from .leases import Lease, Leases
from .operations import prepare
from .options import Options
from .policy import DEFAULT_TTL, Book, Decision, Policy, Use
from .sessions import Bucket, Failures, Handshake, Registry, Session
from .store import Agent, Credential, Store

__all__ = ["Peer", "Slow", "Vault"]

_log = logging.getLogger(__name__)

PATH_LIMIT: Final = 512
NAME_LIMIT: Final = 256


@final
class Peer:
    """One connection as the vault knows it; `owner` when it may administer."""

    __slots__ = ("handshake", "number", "owner", "session")

    def __init__(self, number: int, *, owner: bool) -> None:
        self.number = number
        self.owner = owner
        self.session: Session | None = None
        self.handshake = Handshake()


class Slow(msgspec.Struct, frozen=True):
    """Work for another thread; `finish` takes its result back on the vault's own."""

    run: Callable[[], object]
    finish: Callable[[object], object] | None = None


class Grant(msgspec.Struct, frozen=True):
    """A secret and the lease it is lent under; never shown, never stored."""

    path: str
    value: bytes
    lease: Lease

    def __repr__(self) -> str:
        return f"Grant({self.path!r})"


@final
class Vault:
    """State and rules of one running vault."""

    def __init__(self, home: Home, options: Options) -> None:
        self.home = home
        self.options = options
        self.clock = options.clock
        self.started_at = self.clock.wall()
        self.addresses: list[str] = []
        self.store = Store(home.database)
        try:
            self._load()
        except BaseException:
            self.store.abandon()
            raise

    def _load(self) -> None:
        store = self.store
        self.leases = Leases()
        self.registry = Registry()
        try:
            self.credentials = {c.path: c for c in store.credentials()}
            self.agents = {a.name: a for a in store.agents()}
            self.book = Book(store.policies())
            for agent in self.agents.values():
                self.registry.put(agent.name, agent.public_key)
        except (msgspec.DecodeError, sqlite3.DatabaseError, Refusal, TypeError, ValueError):
            raise DevserverError(f"{store.path} is damaged; restore it from a backup") from None
        self.sessions: dict[str, Peer] = {}
        self._failures = Failures(self.options.auth_failures_per_minute)
        self._buckets: dict[str, Bucket] = {}
        self._touched: dict[str, Credential] = {}
        self._counts_due = False
        self._audit: Audit | None = None
        self.keyring: seal.Keyring | None = None
        self.failed = False
        self.http = outbound.Limits(
            self.options.http_timeout,
            self.options.http_body_limit,
            self.options.http_allow,
            self.options.http_tls,
        )
        wrapping = store.wrapping()
        if wrapping is None:
            if self.credentials:
                raise DevserverError(f"{store.path} has lost its key record; restore a backup")
            keyring, wrapping = seal.create(self.home, self.options.passphrase)
            store.set_wrapping(wrapping)
            self._open(keyring, Event("vault.init", "init"))
        elif wrapping.kdf == "argon2id" and self.options.passphrase is None:
            _log.info("the vault is sealed with a passphrase and starts locked")
        else:
            self._open(seal.unwrap(self.home, wrapping, self.options.passphrase))
        self.wrapping = wrapping

    def _open(self, keyring: seal.Keyring, *events: Event) -> None:
        """Begin to serve with the keys of this vault, and to record."""
        self.keyring = keyring
        if self._audit is not None:
            return
        head = self.store.head()
        problem = audit.check_start(self.store.connection, keyring.audit_key, head)
        if problem is not None:
            _log.warning("the audit log was tampered with: %s", problem)
        self._audit = audit.resume(self.store.connection, keyring.audit_key, head)
        for event in events:
            self.record(event)
        self.record(Event("vault.start", "start", reason=problem or ""))

    def unlock(self, keyring: seal.Keyring) -> None:
        if self.keyring is not None:
            self.keyring.reopen(keyring)
        else:
            self._open(keyring)
        self.record(Event("vault.unlock", "unlock"))

    def lock(self) -> None:
        """Forget the credential key; every lease ends."""
        keyring = self.require_open()
        for lease in self.leases.all():
            self.end_lease(lease, "lease.end", "the vault was locked")
        keyring.lock()
        self.record(Event("vault.lock", "lock"))

    @property
    def locked(self) -> bool:
        return self.keyring is None or self.keyring.locked

    def require_open(self) -> seal.Keyring:
        keyring = self.keyring
        if self.failed:
            raise faults.internal()
        if keyring is None or keyring.locked:
            raise faults.locked()
        return keyring

    def require_known(self) -> tuple[seal.Keyring, Audit]:
        """Return the keys and the log, locked or not; refuses before the first unlock."""
        if self.keyring is None or self._audit is None:
            raise faults.locked()
        return self.keyring, self._audit

    # -- the record ---------------------------------------------------------

    def record(self, event: Event) -> None:
        if self._audit is not None:
            self._audit.add(event, self.clock.wall())

    def flush(self) -> None:
        """Commit everything since the last flush; call before any answer is sent.

        After a failure the vault refuses all further calls: what it remembers and what it
        recorded are no longer the same. Nothing is written any more, so that the file
        stays as it was when it was last right.
        """
        if self.failed:
            return
        try:
            if self._audit is not None:
                rows = self._audit.take()
                if rows:
                    self.store.log(rows, self._audit.head())
            if self._counts_due:
                self._counts_due = False
                if self._touched:
                    self.store.touch(list(self._touched.values()))
                    self._touched.clear()
            self.store.commit()
        except BaseException:
            self.failed = True
            raise

    def save_counts(self) -> None:
        """Have access counts written with the next flush.

        Now and then is enough: the audit log, which misses nothing, has every access.
        """
        self._counts_due = True

    def close(self) -> None:
        """End every lease, record the stop, and close the file."""
        if self.failed:
            # The file ends with the last thing that was recorded, and answered, whole.
            self.store.abandon()
            return
        for lease in self.leases.all():
            self.end_lease(lease, "lease.end", "the vault stopped")
        self.record(Event("vault.stop", "stop"))
        try:
            self.save_counts()
            self.flush()
        finally:
            self.store.close()

    # -- authentication -----------------------------------------------------

    def challenge(self, peer: Peer, agent: str) -> tuple[str, bytes]:
        """Return the session id to be and the bytes to sign, for any name."""
        self.require_open()
        if not agent or len(agent) > NAME_LIMIT:
            raise faults.invalid(f"an agent's name has 1 to {NAME_LIMIT} characters")
        now = self.clock.steady()
        self._failures.check(agent, now)
        return peer.handshake.challenge(agent, now + self.options.challenge_ttl)

    def verify(
        self,
        peer: Peer,
        signature: str,
        *,
        session_id: str | None = None,
        agent: str | None = None,
        note: bool = False,
    ) -> Session:
        """Answer a challenge; on success the connection belongs to its agent."""
        self.require_open()
        now = self.clock.steady()
        challenge = peer.handshake.take(now, session_id=session_id, agent=agent)
        if challenge is None:
            if agent is not None:
                self._failures.check(agent, now)
            raise faults.auth_failed()
        name = challenge.agent
        self._failures.check(name, now)
        try:
            raw = bytes.fromhex(signature) if len(signature) == 128 else b""
        except ValueError:
            raw = b""
        if not self.registry.verify(name, challenge.nonce, raw or bytes(64)):
            self._failures.add(name, now)
            self.record(
                Event("agent.authenticate", "authenticate", name, allowed=False, reason="refused")
            )
            raise faults.auth_failed()
        self._failures.clear(name)
        if peer.session is not None:
            self._leave(peer, keep=name)
        session = Session(challenge.session_id, name, now + self.options.session_ttl, note)
        peer.session = session
        self.sessions[session.id] = peer
        self.record(Event("agent.authenticate", "authenticate", name))
        return session

    def enter(self, peer: Peer, session_id: str | None) -> Session:
        """Return the connection's session; the guard in front of every agent's call."""
        session = peer.session
        if session is None:
            raise faults.not_authenticated()
        now = self.clock.steady()
        if now >= session.deadline or session.id not in self.sessions:
            raise faults.session_expired()
        if session_id is not None and session_id != session.id:
            raise faults.session_expired()
        rate = self.options.calls_per_second
        if rate is not None:
            bucket = self._buckets.get(session.agent)
            if bucket is None:
                bucket = self._buckets[session.agent] = Bucket(rate, now)
            bucket.take(now)
        self.require_open()
        return session

    def _leave(self, peer: Peer, *, keep: str | None = None) -> None:
        session = peer.session
        if session is None:
            return
        self.sessions.pop(session.id, None)
        if session.agent != keep and not self.options.leases_outlive_connection:
            self._end_connection_leases(peer)

    def disconnected(self, peer: Peer) -> bool:
        """End what belonged to a connection; True when that is to be recorded."""
        self.expire()
        self._leave(peer)
        peer.session = None
        return bool(self._audit is not None and self._audit.waiting)

    def _end_connection_leases(self, peer: Peer) -> None:
        for lease in self.leases.of_connection(peer.number):
            self.end_lease(lease, "lease.end", "the connection ended")

    def end_sessions(self, agent: str) -> None:
        """End every session of an agent; its connections may authenticate again."""
        for id, peer in list(self.sessions.items()):
            if peer.session is not None and peer.session.agent == agent:
                del self.sessions[id]
        self._buckets.pop(agent, None)

    # -- leases -------------------------------------------------------------

    def expire(self) -> None:
        """End the leases whose time is up; cheap when there are none."""
        for lease in self.leases.expire(self.clock.steady()):
            self.record(Event("lease.expire", "expire", lease.agent, lease.path))

    def end_lease(self, lease: Lease, kind: str, reason: str) -> None:
        if self.leases.end(lease.id) is not None:
            action = kind.partition(".")[2]
            self.record(Event(kind, action, lease.agent, lease.path, reason=reason))

    def release(self, session: Session, lease_id: str) -> None:
        """End one of the agent's own leases; ended and unknown ones are fine."""
        self.expire()
        lease = self.leases.find(lease_id)
        if lease is None:
            return
        if lease.agent != session.agent:
            self.record(
                Event(
                    "policy.deny",
                    "release",
                    session.agent,
                    lease.path,
                    allowed=False,
                    reason="another agent's lease",
                )
            )
            raise faults.denied("release", "another agent's lease")
        self.leases.end(lease_id)
        self.record(Event("lease.release", "release", lease.agent, lease.path))

    def lease_status(self, session: Session) -> list[Lease]:
        """Return the agent's own leases, the next to end first."""
        self.expire()
        return self.leases.of_agent(session.agent)

    # -- credentials --------------------------------------------------------

    def _decide(self, session: Session, path: str, action: str, use: Use | None = None) -> Decision:
        """Ask the policies, record a refusal, and raise it."""
        if not path or len(path) > PATH_LIMIT:
            raise faults.invalid(f"a path has 1 to {PATH_LIMIT} characters")
        clock = self.clock
        decision = self.book.decide(
            session.agent, path, action, clock.steady(), clock.wall(), use=use
        )
        if decision.refusal is not None:
            self.record(
                Event(
                    "policy.deny",
                    action,
                    session.agent,
                    path,
                    allowed=False,
                    reason=decision.refusal.detail or decision.refusal.message,
                    metadata=None if use is None else {"operation": use.operation},
                )
            )
            raise decision.refusal
        return decision

    def _credential(self, path: str) -> Credential:
        found = self.credentials.get(path)
        if found is None:
            raise faults.not_found(path)
        return found

    def open_secret(self, credential: Credential) -> bytes:
        try:
            return self.require_open().open(credential.path, credential.sealed)
        except CryptoError:
            pass
        raise faults.crypto(
            "the stored credential is damaged",
            "have the vault's owner store it again",
        )

    def _accessed(self, credential: Credential, agent: str) -> None:
        credential.access_count += 1
        credential.last_accessed_by = agent
        credential.last_accessed_at = self.clock.wall()
        self._touched[credential.path] = credential

    def retrieve(
        self, session: Session, path: str, ttl: float | None, max_accesses: int | None
    ) -> Grant:
        """Lend a secret: a new lease."""
        if not self.options.raw_retrieval:
            raise faults.denied("retrieve", path, "this vault lends secrets to `use` only")
        if ttl is not None and ttl < 0:
            raise faults.invalid("ttl is a number of seconds, 0 or none for the vault's default")
        if max_accesses is not None and max_accesses < 1:
            raise faults.invalid("max_accesses is at least 1")
        self.expire()
        decision = self._decide(session, path, "retrieve")
        credential = self._credential(path)
        now = self.clock.steady()
        agent = session.agent
        if self.leases.count(agent) >= self.options.max_leases:
            soonest = self.leases.of_agent(agent)[0].deadline
            raise faults.rate_limited("leases", soonest - now)
        value = self.open_secret(credential)
        granted = min(int(ttl) if ttl and ttl >= 1 else (1 if ttl else DEFAULT_TTL), decision.ttl)
        number = self.sessions[session.id].number
        lease = self.leases.grant(
            agent, path, number, granted, now, self.clock.wall(), max_accesses
        )
        self._accessed(credential, agent)
        self.record(Event("credential.retrieve", "retrieve", agent, path, decision.policy))
        return Grant(path, value, lease)

    def retrieve_again(self, session: Session, path: str | None, lease_id: str) -> Grant:
        """Read a secret once more under a lease that is still alive."""
        self.expire()
        lease = self.leases.find(lease_id)
        if lease is None or lease.agent != session.agent or path not in {None, lease.path}:
            raise faults.lease_expired()
        if lease.max_accesses is not None and lease.accesses >= lease.max_accesses:
            raise faults.lease_exhausted()
        credential = self._credential(lease.path)
        value = self.open_secret(credential)
        lease.accesses += 1
        self._accessed(credential, session.agent)
        self.record(Event("credential.retrieve", "retrieve", session.agent, lease.path))
        return Grant(lease.path, value, lease)

    def visible(self, session: Session) -> list[Credential]:
        """Return the credentials the agent may list."""
        clock = self.clock
        steady, wall = clock.steady(), clock.wall()
        agent = session.agent
        decide = self.book.decide
        found = [
            credential
            for path, credential in self.credentials.items()
            if decide(agent, path, "list", steady, wall, count=False).refusal is None
        ]
        self.record(Event("credential.list", "list", agent))
        return found

    def use(
        self, session: Session, path: str, operation: str, params: msgspec.Raw
    ) -> Mapping[str, object] | Slow:
        """Do something with a secret on the agent's behalf."""
        prepared = prepare(operation, params, self.http)
        use = prepared.use
        decision = self._decide(session, path, "use", use)
        credential = self._credential(path)
        secret = self.open_secret(credential)
        self._accessed(credential, session.agent)
        about: dict[str, object] = {"operation": use.operation}
        if use.domain is not None:
            about["domain"] = use.domain
        self.record(
            Event("credential.use", "use", session.agent, path, decision.policy, metadata=about)
        )
        if prepared.slow:
            return Slow(lambda: prepared.run(secret))
        return prepared.run(secret)

    # -- what the owner changes ---------------------------------------------
    # The record first: when it refuses, memory still says what it says.

    def put_credential(self, credential: Credential) -> None:
        self.store.put_credential(credential)
        if credential.path in self.credentials:
            self.credentials[credential.path] = credential
        else:
            # Kept in the order they are listed in.
            ordered = sorted([*self.credentials.items(), (credential.path, credential)])
            self.credentials = dict(ordered)
        self._touched.pop(credential.path, None)

    def remove_credential(self, path: str) -> None:
        self.store.remove_credential(path)
        del self.credentials[path]
        self._touched.pop(path, None)
        for lease in self.leases.of_path(path):
            self.end_lease(lease, "lease.revoke", "the credential was removed")

    def put_agent(self, agent: Agent) -> None:
        self.store.put_agent(agent)
        self.agents[agent.name] = agent
        self.registry.put(agent.name, agent.public_key)

    def remove_agent(self, name: str) -> None:
        """Forget an agent; its sessions and leases end at once."""
        self.store.remove_agent(name)
        del self.agents[name]
        self.registry.remove(name)
        self.end_sessions(name)
        for lease in self.leases.of_agent(name):
            self.end_lease(lease, "lease.revoke", "the agent was removed")
        self.book.forget(name)

    def put_policy(self, policy: Policy) -> None:
        rule = self.book.prepare(policy)
        self.store.put_policy(policy)
        self.book.put(rule)

    def remove_policy(self, name: str) -> None:
        self.store.remove_policy(name)
        self.book.remove(name)
