"""The vault's wire contract: one line per method, once for each dialect.

The flat dialect is the guide's; the dotted one differs in names, in sending no session, and
in how results are wrapped (docs/protocol.md, Methods).
"""

# ruff: noqa: E501 - the contract is a table, read across

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from .._wire.rpc import Method
from .errors import VaultAPIError, VaultProtocolError, fault
from .models import Credential, LeaseInfo, Time

__all__ = ["DIALECTS", "FLAT", "Granted", "Routes"]

_DEFAULT_TTL: Final = 300


class Challenge(msgspec.Struct, gc=False):
    challenge: str
    session_id: str | None = None
    session_token: str | None = None


class Verified(msgspec.Struct, gc=False):
    authenticated: bool | None = None
    session_id: str | None = None
    session_token: str | None = None


class Granted(msgspec.Struct, gc=False):
    """A lease and the value that comes with it."""

    lease_id: str
    value: Any
    ttl: float | None = None
    expires_at: Time | None = None
    encoding: str | None = None

    def __repr__(self) -> str:
        return f"Granted(lease_id={self.lease_id!r}, value=**********)"


class Listing(msgspec.Struct, gc=False):
    credentials: list[Credential] | None = None


class Leases(msgspec.Struct, gc=False):
    leases: list[LeaseInfo] | None = None


class Wrapped(msgspec.Struct, gc=False):
    success: bool | None = None
    output: Any = None
    error: Any = None


class _AgentName(msgspec.Struct, gc=False):
    agent_name: str


class _Answer(msgspec.Struct, gc=False):
    session_id: str
    signature: str


class _Retrieve(msgspec.Struct, gc=False, omit_defaults=True):
    session_id: str
    path: str
    ttl: int | None = None


class _Session(msgspec.Struct, gc=False):
    session_id: str


class _Release(msgspec.Struct, gc=False):
    lease_id: str


class _Use(msgspec.Struct, gc=False, omit_defaults=True):
    session_id: str
    path: str
    operation: str
    params: dict[str, Any] | None = None


class _DottedAgent(msgspec.Struct, gc=False):
    agent: str


class _DottedAnswer(msgspec.Struct, gc=False):
    agent: str
    signature: str


class _DottedRetrieve(msgspec.Struct, gc=False):
    path: str
    ttl: int


class _DottedUse(msgspec.Struct, gc=False):
    path: str
    operation: str
    params: dict[str, Any]


class _Nothing(msgspec.Struct, gc=False):
    pass


# Repeating `retrieve` after a lost connection is harmless: the server ends the leases of a
# connection that died. Of the operations of `use`, only a proxied request acts on the world.
# fmt: off
AUTHENTICATE       = Method("authenticate", Challenge, repeatable=True, fail=fault)
CHALLENGE_RESPONSE = Method("challenge_response", Verified, fail=fault)
RETRIEVE           = Method("retrieve", Granted, repeatable=True, session=True, grants=True, fail=fault)
RETRIEVE_RAW       = Method("retrieve", dict[str, Any], repeatable=True, session=True, grants=True, fail=fault)
LIST: Method[Listing | list[Credential]] = Method("list", Listing | list[Credential], repeatable=True, session=True, fail=fault)
RELEASE_LEASE      = Method("release_lease", object, repeatable=True, fail=fault)
LEASE_STATUS: Method[Leases | list[LeaseInfo]] = Method("lease_status", Leases | list[LeaseInfo], repeatable=True, session=True, fail=fault)
USE: Method[dict[str, Any] | None] = Method("use", dict[str, Any] | None, session=True, fail=fault)
USE_PURE: Method[dict[str, Any] | None] = Method("use", dict[str, Any] | None, repeatable=True, session=True, fail=fault)

AUTH_CHALLENGE          = Method("auth.challenge", Challenge, repeatable=True, fail=fault)
AUTH_VERIFY             = Method("auth.verify", Verified, fail=fault)
CREDENTIAL_RETRIEVE     = Method("credential.retrieve", Granted, repeatable=True, grants=True, fail=fault)
CREDENTIAL_RETRIEVE_RAW = Method("credential.retrieve", dict[str, Any], repeatable=True, grants=True, fail=fault)
CREDENTIAL_LIST: Method[Listing | list[Credential]] = Method("credential.list", Listing | list[Credential], repeatable=True, fail=fault)
CREDENTIAL_LEASES: Method[Leases | list[LeaseInfo]] = Method("lease_status", Leases | list[LeaseInfo], repeatable=True, fail=fault)
LEASE_RELEASE           = Method("lease.release", object, repeatable=True, fail=fault)
CREDENTIAL_USE          = Method("credential.use", Wrapped, fail=fault)
CREDENTIAL_USE_PURE     = Method("credential.use", Wrapped, repeatable=True, fail=fault)
# fmt: on

PURE_OPERATIONS: Final = frozenset({"http_header", "sign", "sign_payload", "encrypt", "decrypt"})


class Routes:
    """The flat dialect: which method, with which params, and how its result reads."""

    challenge: Method[Challenge] = AUTHENTICATE
    verify: Method[Verified] = CHALLENGE_RESPONSE
    retrieve: Method[Granted] = RETRIEVE
    retrieve_raw: Method[dict[str, Any]] = RETRIEVE_RAW
    listing: Method[Listing | list[Credential]] = LIST
    release: Method[object] = RELEASE_LEASE
    lease_status: Method[Leases | list[LeaseInfo]] = LEASE_STATUS
    encoding: str = "hex"

    def challenge_params(self, agent_name: str) -> object:
        return _AgentName(agent_name)

    def verify_params(self, agent_name: str, session: str, signature: str) -> object:
        return _Answer(session, signature)

    def session(self, challenge: Challenge, verified: Verified | None) -> str:
        """Return the session's id; every later call repeats it."""
        for reply in (verified, challenge):
            if reply is not None and (found := reply.session_id or reply.session_token):
                return found
        raise VaultProtocolError("the vault answered authenticate without a session_id", sent=True)

    def retrieve_params(self, path: str, ttl: int | None) -> object:
        return _Retrieve("", path, ttl)

    def list_params(self) -> object:
        return _Session("")

    def release_params(self, lease_id: str) -> object:
        return _Release(lease_id)

    def use(self, operation: str) -> Method[Any]:
        return USE_PURE if operation in PURE_OPERATIONS else USE

    def use_params(self, path: str, operation: str, params: dict[str, Any] | None) -> object:
        return _Use("", path, operation, params or None)

    def use_result(self, result: Any) -> dict[str, Any]:
        return result if result is not None else {}


class DottedRoutes(Routes):
    """The dotted dialect: authentication belongs to the connection, results are wrapped."""

    challenge = AUTH_CHALLENGE
    verify = AUTH_VERIFY
    retrieve = CREDENTIAL_RETRIEVE
    retrieve_raw = CREDENTIAL_RETRIEVE_RAW
    listing = CREDENTIAL_LIST
    release = LEASE_RELEASE
    lease_status = CREDENTIAL_LEASES
    encoding = "utf-8"

    def challenge_params(self, agent_name: str) -> object:
        return _DottedAgent(agent_name)

    def verify_params(self, agent_name: str, session: str, signature: str) -> object:
        return _DottedAnswer(agent_name, signature)

    def session(self, challenge: Challenge, verified: Verified | None) -> str:
        return ""  # the connection is the session

    def retrieve_params(self, path: str, ttl: int | None) -> object:
        return _DottedRetrieve(path, _DEFAULT_TTL if ttl is None else ttl)

    def list_params(self) -> object:
        return _Nothing()

    def use(self, operation: str) -> Method[Any]:
        return CREDENTIAL_USE_PURE if operation in PURE_OPERATIONS else CREDENTIAL_USE

    def use_params(self, path: str, operation: str, params: dict[str, Any] | None) -> object:
        return _DottedUse(path, operation, params or {})

    def use_result(self, result: Any) -> dict[str, Any]:
        if not result.success:
            if result.error is not None:
                raise fault(result.error)
            raise VaultAPIError("the vault reports that the operation did not succeed")
        output = result.output
        if output is None:
            return {}
        if not isinstance(output, dict):
            raise VaultProtocolError("the output of credential.use is not an object", sent=True)
        return cast("dict[str, Any]", output)


FLAT: Final = Routes()
DIALECTS: Final = {"flat": FLAT, "dotted": DottedRoutes()}
