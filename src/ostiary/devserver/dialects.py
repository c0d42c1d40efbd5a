"""The wire shapes: which method means what, in all three dialects and for the owner.

Each method is one row of a table: a params type, decoded strictly enough to be safe and
loosely enough for every known client, and a function that calls the vault and shapes the
answer. No rules live here. Neighbours: `vault` and `administration` decide, `listener`
carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from .._decoders import decoder_of
from ..secret import Secret
from . import administration, audit, faults
from .administration import Administration, decode_hex
from .clock import iso
from .policy import Conditions, Policy
from .sessions import Session
from .vault import Grant, Peer, Slow, Vault

__all__ = ["METHODS", "Call", "Request", "encode_error", "encode_result", "read_request"]

P = TypeVar("P")

Seconds = int | float | None

_EMPTY: Final = msgspec.Raw(b"{}")

_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, gc=False):
    """The request envelope, params left undecoded."""

    method: str
    id: int = 0
    params: msgspec.Raw = _EMPTY


_decode_request = decoder_of(Request).decode


class _Id(msgspec.Struct):
    id: int = 0


_decode_any = msgspec.json.Decoder().decode
_decode_id = decoder_of(_Id).decode


class Unreadable(Exception):
    """A frame that is not JSON: the stream cannot be trusted any further."""


def read_request(frame: bytes | memoryview) -> Request:
    """Decode an envelope; raises `Unreadable`, or `WrongShape` for JSON that is no request."""
    try:
        return _decode_request(frame)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable from None
    try:
        _decode_any(frame)  # a wrong type at the front says nothing of the rest
        raise WrongShape(_decode_id(frame).id)
    except msgspec.ValidationError:
        raise WrongShape(0) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable from None


class WrongShape(Exception):
    """JSON that is not a request; `id` is what to answer to."""

    def __init__(self, id: int) -> None:
        super().__init__("not a request")
        self.id = id


def encode_result(id: int, result: object) -> bytes:
    return b'{"id":%d,"result":%b}' % (id, _encode(result))


def encode_error(id: int, refusal: faults.Refusal, *, legacy: bool) -> bytes:
    body: object = refusal.message if legacy else refusal.body()
    return b'{"id":%d,"error":%b}' % (id, _encode(body))


class Call(Generic[P]):
    """One method: how to read its params, and what to do with them."""

    __slots__ = ("_decode", "_run", "owner_only")

    def __init__(
        self, params: type[P], run: Callable[[Vault, Peer, P], object], *, owner_only: bool = False
    ) -> None:
        self._decode = decoder_of(params).decode
        self._run = run
        self.owner_only = owner_only

    def __call__(self, vault: Vault, peer: Peer, raw: msgspec.Raw) -> object:
        try:
            params = self._decode(b"{}" if bytes(raw) in _NOTHING else raw)
        except msgspec.ValidationError as error:
            # msgspec names the field and the types it met, not its content.
            problem = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            problem = "not JSON"
        else:
            return self._run(vault, peer, params)
        raise faults.invalid(f"the params are not right: {problem}"[:300])


_NOTHING: Final = frozenset({b"null", b"", b"[]"})


# -- params -----------------------------------------------------------------


class _Nothing(msgspec.Struct, gc=False):
    pass


class _Sessioned(msgspec.Struct, gc=False, kw_only=True):
    session_id: str | None = None
    session_token: str | None = None

    def session(self, vault: Vault, peer: Peer) -> Session:
        id = self.session_id
        return vault.enter(peer, id if id is not None else self.session_token)


class _Authenticate(msgspec.Struct, gc=False):
    agent_name: str
    challenge_response: str | None = None


class _Response(_Sessioned):
    signature: str


class _Retrieve(_Sessioned):
    path: str | None = None
    ttl: Seconds = None
    lease_id: str | None = None
    max_accesses: int | None = None


class _Release(_Sessioned):
    lease_id: str


class _Use(_Sessioned):
    path: str
    operation: str
    params: msgspec.Raw = _EMPTY  # a union with None would not take anything else


class _Agent(msgspec.Struct, gc=False):
    agent: str


class _Verify(msgspec.Struct, gc=False):
    agent: str
    signature: str


# -- flat and note ----------------------------------------------------------


def _authenticate(vault: Vault, peer: Peer, params: _Authenticate) -> object:
    if params.challenge_response is not None:
        # The note dialect's second step.
        session = vault.verify(peer, params.challenge_response, agent=params.agent_name, note=True)
        return _opened(session)
    session_id, nonce = vault.challenge(peer, params.agent_name)
    return {"session_id": session_id, "challenge": nonce.hex()}


def _challenge_response(vault: Vault, peer: Peer, params: _Response) -> object:
    id = params.session_id if params.session_id is not None else params.session_token
    if id is None:
        raise faults.invalid("session_id is missing; send what authenticate answered")
    return _opened(vault.verify(peer, params.signature, session_id=id))


def _opened(session: Session) -> dict[str, object]:
    return {"authenticated": True, "session_id": session.id, "session_token": session.id}


def _grant(vault: Vault, peer: Peer, params: _Retrieve) -> Grant:
    session = params.session(vault, peer)
    if params.lease_id is not None:
        return vault.retrieve_again(session, params.path, params.lease_id)
    if params.path is None:
        raise faults.invalid("path is missing")
    return vault.retrieve(session, params.path, params.ttl, params.max_accesses)


def _retrieve(vault: Vault, peer: Peer, params: _Retrieve) -> object:
    grant = _grant(vault, peer, params)
    return _granted(grant, grant.value.hex())


def _granted(grant: Grant, value: str) -> dict[str, object]:
    lease = grant.lease
    return {
        "path": grant.path,
        "value": value,
        "lease_id": lease.id,
        "ttl": lease.ttl,
        "expires_at": iso(lease.expires_at),
    }


def _list(vault: Vault, peer: Peer, params: _Sessioned) -> object:
    session = params.session(vault, peer)
    return {"credentials": [administration.entry(found) for found in vault.visible(session)]}


def _release(vault: Vault, peer: Peer, params: _Release) -> object:
    vault.release(params.session(vault, peer), params.lease_id)
    return {}


def _use(vault: Vault, peer: Peer, params: _Use) -> object:
    session = params.session(vault, peer)
    result = vault.use(session, params.path, params.operation, params.params)
    if not session.note:
        return result
    return _after(result, _wrapped)


def _wrapped(result: Any) -> object:
    # The note wraps the result once more, and the checklist wants it bare: give both.
    return {**result, "result": result}


def _after(result: Mapping[str, object] | Slow, shape: Callable[[Any], object]) -> object:
    return Slow(result.run, shape) if isinstance(result, Slow) else shape(result)


def _lease_status(vault: Vault, peer: Peer, params: _Sessioned) -> object:
    session = params.session(vault, peer)
    leases = vault.lease_status(session)
    now = vault.clock.steady()
    return {"leases": [administration.lease_entry(lease, lease.deadline - now) for lease in leases]}


# -- dotted -----------------------------------------------------------------


def _auth_challenge(vault: Vault, peer: Peer, params: _Agent) -> object:
    _, nonce = vault.challenge(peer, params.agent)
    return {"challenge": nonce.hex()}


def _auth_verify(vault: Vault, peer: Peer, params: _Verify) -> object:
    return _opened(vault.verify(peer, params.signature, agent=params.agent))


def _credential_retrieve(vault: Vault, peer: Peer, params: _Retrieve) -> object:
    grant = _grant(vault, peer, params)
    try:
        return _granted(grant, grant.value.decode())
    except UnicodeDecodeError:
        return {**_granted(grant, grant.value.hex()), "encoding": "hex"}


def _credential_list(vault: Vault, peer: Peer, params: _Sessioned) -> object:
    session = params.session(vault, peer)
    return [administration.entry(found) for found in vault.visible(session)]


def _credential_use(vault: Vault, peer: Peer, params: _Use) -> object:
    session = params.session(vault, peer)
    result = vault.use(session, params.path, params.operation, params.params)
    return _after(result, _succeeded)


def _succeeded(result: object) -> object:
    return {"success": True, "output": result}


# -- the owner --------------------------------------------------------------


class _Path(msgspec.Struct, gc=False):
    path: str


class _Put(msgspec.Struct, kw_only=True):
    path: str
    value: str
    type: str = "api_key"
    description: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    overwrite: bool = True


class _Rotate(msgspec.Struct):
    path: str
    value: str


class _Filter(msgspec.Struct):
    type: str | None = None
    prefix: str | None = None


class _AgentAdd(msgspec.Struct, kw_only=True):
    name: str
    public_key: str
    description: str | None = None
    allow: list[str] | None = None


class _Name(msgspec.Struct):
    name: str


class _PolicyAdd(msgspec.Struct, kw_only=True):
    name: str
    principal: str
    resources: list[str]
    actions: list[str]
    max_ttl: int | None = None
    max_lease_ttl: int | None = None
    enabled: bool = True
    conditions: Conditions | None = None


class _Simulate(msgspec.Struct):
    agent: str
    resource: str
    action: str


class _Audit(msgspec.Struct, kw_only=True):
    limit: int = 100
    agent: str | None = None
    resource: str | None = None
    action: str | None = None
    denied: bool | None = None
    since: str | int | float | None = None


class _LeaseId(msgspec.Struct):
    lease_id: str


class _Unlock(msgspec.Struct):
    passphrase: str | None = None


def _admin_put(owner: Administration, params: _Put) -> object:
    return owner.put(
        params.path,
        decode_hex(params.value, "value"),
        type=params.type,
        description=params.description,
        tags=params.tags,
        metadata=params.metadata,
        overwrite=params.overwrite,
    )


def _admin_agent_add(owner: Administration, params: _AgentAdd) -> object:
    return owner.agent_add(
        params.name,
        decode_hex(params.public_key, "public_key"),
        description=params.description,
        allow=params.allow,
    )


def _admin_policy_add(owner: Administration, params: _PolicyAdd) -> object:
    ttl = params.max_ttl if params.max_ttl is not None else params.max_lease_ttl
    policy = Policy(
        name=params.name,
        principal=params.principal,
        resources=params.resources,
        actions=params.actions,
        enabled=params.enabled,
        conditions=params.conditions or Conditions(),
        **({} if ttl is None else {"max_ttl": ttl}),
    )
    return owner.policy_add(policy)


def _admin_audit(owner: Administration, params: _Audit) -> object:
    return owner.audit_read(
        audit.Query(
            limit=params.limit,
            agent=params.agent,
            resource=params.resource,
            action=params.action,
            # False asks for nothing in particular, like the flag it comes from.
            denied=params.denied or None,
            since=audit.read_since(params.since),
        )
    )


def _admin_unlock(owner: Administration, params: _Unlock) -> object:
    return owner.unlock(Secret(params.passphrase) if params.passphrase else None)


def _owned(params: type[P], run: Callable[[Administration, P], object]) -> Call[P]:
    # Administration is two words of state; one per call is cheaper than one to pass around.
    return Call(params, lambda vault, _, p: run(Administration(vault), p), owner_only=True)


METHODS: Final[dict[str, Call[Any]]] = {
    "authenticate": Call(_Authenticate, _authenticate),
    "challenge_response": Call(_Response, _challenge_response),
    "retrieve": Call(_Retrieve, _retrieve),
    "list": Call(_Sessioned, _list),
    "release_lease": Call(_Release, _release),
    "use": Call(_Use, _use),
    "lease_status": Call(_Sessioned, _lease_status),
    "auth.challenge": Call(_Agent, _auth_challenge),
    "auth.verify": Call(_Verify, _auth_verify),
    "credential.retrieve": Call(_Retrieve, _credential_retrieve),
    "credential.list": Call(_Sessioned, _credential_list),
    "credential.use": Call(_Use, _credential_use),
    "lease.release": Call(_Release, _release),
    "admin.status": _owned(_Nothing, lambda owner, _: owner.status()),
    "admin.put": _owned(_Put, _admin_put),
    "admin.get": _owned(_Path, lambda owner, p: owner.get(p.path)),
    "admin.list": _owned(_Filter, lambda owner, p: owner.credential_list(p.type, p.prefix)),
    "admin.remove": _owned(_Path, lambda owner, p: owner.remove(p.path)),
    "admin.rotate": _owned(
        _Rotate, lambda owner, p: owner.rotate(p.path, decode_hex(p.value, "value"))
    ),
    "admin.agent_add": _owned(_AgentAdd, _admin_agent_add),
    "admin.agent_list": _owned(_Nothing, lambda owner, _: owner.agent_list()),
    "admin.agent_remove": _owned(_Name, lambda owner, p: owner.agent_remove(p.name)),
    "admin.policy_add": _owned(_PolicyAdd, _admin_policy_add),
    "admin.policy_list": _owned(_Nothing, lambda owner, _: owner.policy_list()),
    "admin.policy_remove": _owned(_Name, lambda owner, p: owner.policy_remove(p.name)),
    "admin.policy_simulate": _owned(
        _Simulate, lambda owner, p: owner.policy_simulate(p.agent, p.resource, p.action)
    ),
    "admin.audit": _owned(_Audit, _admin_audit),
    "admin.audit_verify": _owned(_Nothing, lambda owner, _: owner.audit_verify()),
    "admin.lease_list": _owned(_Nothing, lambda owner, _: owner.lease_list()),
    "admin.lease_revoke": _owned(_LeaseId, lambda owner, p: owner.lease_revoke(p.lease_id)),
    "admin.lock": _owned(_Nothing, lambda owner, _: owner.lock()),
    "admin.unlock": _owned(_Unlock, _admin_unlock),
}
"""Every method the vault answers."""

KNOWN: Final = ", ".join(name for name in METHODS if not name.startswith("admin."))
BEFORE_SESSION: Final = frozenset(
    {"authenticate", "challenge_response", "auth.challenge", "auth.verify"}
)
