"""Who asks, and whether the run may do it: the checks before a request is worked on.

Their order and their codes are those of docs/protocol.md, so that a client is told of
the first thing it has to put right. Decisions only, no I/O. Neighbours: `trust` reads the
tokens, `endpoints` asks here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, final

import msgspec

from ..http.refusals import HttpRefusal
from .trust import TrustDomain

__all__ = ["CHAT", "EMBEDDINGS", "Caller", "Gate"]

CHAT: Final = ("triage", "analysis", "reasoning")
EMBEDDINGS: Final = ("embeddings",)
_MODEL: Final = re.compile(r"[A-Za-z0-9][\w.:/@-]{0,127}", re.ASCII)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A workload that proved who it is, in a run that proved what it may do."""

    subject: str
    run_id: str
    org_id: str
    txn: str
    scope: frozenset[str]
    allowed_models: dict[str, list[str]]
    allowed_providers: list[str]
    allowed_tools: dict[str, list[str]]


@final
class Gate:
    """The checks of one gateway."""

    def __init__(self, trust: TrustDomain, *, required_scope: str) -> None:
        self._trust = trust
        self._required_scope = required_scope

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return who sent these headers, by both tokens; else raise the 401 or 403."""
        authorization: bytes | None = None
        tokens: list[bytes] = []
        for name, value in headers:
            if name == b"authorization":
                authorization = value
            elif name == b"txn-token":
                tokens.append(value)
        subject = self._trust.verify_svid(_bearer(authorization))
        if len(tokens) > 1 or any(b"," in token for token in tokens):
            raise HttpRefusal(
                401, "txn_token_multiple", "the request has several Txn-Tokens; send one"
            )
        if not tokens or not tokens[0].strip():
            raise HttpRefusal(
                401, "txn_token_missing", "the request has no Txn-Token; send the run's"
            )
        trat = self._trust.verify_trat(tokens[0].decode("latin-1").strip())
        context = trat.tctx
        grant = self._trust.grants.get(subject)
        if trat.req_wl != subject:
            raise _stranger("the transaction token was issued to another workload")
        if grant is None:
            raise _stranger("this workload belongs to no run that is known here")
        if (context.run_id, context.org_id) != (grant.run_id, grant.org_id):
            raise _stranger("the transaction token is for another run or organisation")
        return Caller(
            subject=subject,
            run_id=context.run_id,
            org_id=context.org_id,
            txn=trat.txn,
            scope=frozenset(trat.scope.split()),
            allowed_models=context.allowed_models,
            allowed_providers=context.allowed_providers,
            allowed_tools=context.allowed_tools,
        )

    def check_provider(self, caller: Caller, provider: str) -> None:
        """Raise the 403 of a provider that the run may not use; an empty list allows none."""
        if not provider:
            raise HttpRefusal(
                403,
                "provider_not_allowed",
                "the request names no provider; send X-Provider",
                details={"param": "X-Provider"},
            )
        if provider not in caller.allowed_providers:
            raise HttpRefusal(
                403,
                "provider_not_allowed",
                "this run may not use the provider that X-Provider names; its token lists those "
                "it may",
                details={"param": "X-Provider"},
            )

    def check_model(
        self, caller: Caller, provider: str, model: str, categories: Iterable[str]
    ) -> None:
        """Raise the 403 of a model that stands in none of the categories."""
        wanted = f"{provider}:{model}"
        if any(wanted in caller.allowed_models.get(name, ()) for name in categories):
            return
        raise HttpRefusal(
            403,
            "model_not_allowed",
            f"{_shown(wanted)} is not in this run's allowlist; its token lists what is",
            details={"param": "model"},
        )

    def check_scope(self, caller: Caller) -> None:
        """Raise the 403 of a run whose purpose is another."""
        if self._required_scope not in caller.scope:
            raise HttpRefusal(
                403,
                "scope_not_authorized",
                f"this run's token lacks the scope {self._required_scope}; start the run with it",
            )


def _bearer(authorization: bytes | None) -> str:
    if authorization is None or not authorization.strip():
        raise _unproved("svid_missing", "the request has no JWT-SVID; send it as a Bearer token")
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise _unproved("svid_malformed", "the Authorization header is not 'Bearer <JWT-SVID>'")
    return credentials.decode("latin-1").strip()


def _unproved(code: str, message: str) -> HttpRefusal:
    return HttpRefusal(401, code, message, headers=((b"www-authenticate", b"Bearer"),))


def _shown(name: str) -> str:
    """The caller's own text goes back only when it looks like what it should be."""
    return f"model {name}" if _MODEL.fullmatch(name) else "the model"


def _stranger(message: str) -> HttpRefusal:
    return HttpRefusal(403, "identity_mismatch", f"{message}; use the two tokens of one run")
