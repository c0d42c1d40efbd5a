"""The Transaction Token: what this run may do. Its claims, and where it comes from.

It is forwarded byte for byte and never verified here: the gateway does that. Neighbour:
`spiffe`, which says who is asking.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from ...secret import Secret
from ..errors import TraTAcquisitionError, TraTExpiredError
from .credentials import hidden_token
from .jwt import ReadFailure, decoded, parts

__all__ = [
    "AllowedModels",
    "RequesterContext",
    "TransactionContext",
    "TransactionToken",
    "TransactionTokenClient",
]


class RequesterContext(msgspec.Struct, frozen=True, kw_only=True):
    """Who or what set the transaction off: the token's `rctx`."""

    trigger: str = ""
    pr_number: int | None = None
    actor: str = ""
    source_ip: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from a decoded claim; unknown members are passed over."""
        return _converted(data, cls)


class AllowedModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models a run may use, as `provider:model`, by category; preferred ones first."""

    triage: tuple[str, ...] = ()
    analysis: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from a decoded claim; unknown members are passed over."""
        return _converted(data, cls)

    def has_any(self) -> bool:
        """Whether any category has a model."""
        return bool(self.triage or self.analysis or self.reasoning or self.embeddings)

    def to_dict(self) -> dict[str, list[str]]:
        """Return all four categories."""
        return {name: list(getattr(self, name)) for name in self.__struct_fields__}


class TransactionContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the transaction is about: the token's `tctx`."""

    run_id: str = ""
    org_id: str = ""
    repo_url: str = ""
    agent_type: str = ""
    agent_mode: str = ""
    allowed_models: AllowedModels = AllowedModels()
    allowed_providers: tuple[str, ...] = ()
    allowed_tools: dict[str, tuple[str, ...]] = {}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from a decoded claim; unknown members are passed over."""
        return _converted(data, cls)


class _Claims(msgspec.Struct, kw_only=True):
    txn: str
    sub: str = ""
    scope: str = ""
    req_wl: str = ""
    iat: float = 0.0
    exp: float = 0.0
    aud: str | tuple[str, ...] = ""
    iss: str = ""
    tctx: TransactionContext = TransactionContext()
    rctx: RequesterContext = RequesterContext()


_claims: Final = msgspec.json.Decoder(_Claims)


class TransactionToken(msgspec.Struct, frozen=True, kw_only=True):
    """A Transaction Token and what it claims; `raw` is what is sent (docs/gateway.md, Identity).

    Times are seconds since the epoch. `raw` shows in no repr and goes into no JSON.
    """

    txn: str
    sub: str = ""
    scope: str = ""
    req_wl: str = ""
    iat: float = 0.0
    exp: float = 0.0
    aud: str | tuple[str, ...] = ""
    iss: str = ""
    tctx: TransactionContext = TransactionContext()
    rctx: RequesterContext = RequesterContext()
    token: Secret

    @classmethod
    def from_jwt(cls, token: str | Secret) -> Self:
        """Read a compact JWT; raise `TraTAcquisitionError` when it is no Transaction Token."""
        kept = hidden_token(token)
        del token
        try:
            claims = decoded(parts(kept)[2], _claims, "payload")
        except ReadFailure as problem:
            said = str(problem)
        else:
            return cls(token=kept, **{x: getattr(claims, x) for x in claims.__struct_fields__})
        raise TraTAcquisitionError(f"the Transaction Token {said}")

    @property
    def raw(self) -> str:
        """The token as it came."""
        return self.token.reveal()

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return time.time() >= self.exp

    def check_not_expired(self) -> None:
        """Raise `TraTExpiredError` when its time is over."""
        if self.is_expired:
            raise TraTExpiredError(f"Transaction Token {self.txn} is past its time")


class TransactionTokenClient:
    """Where the current Transaction Token comes from: a file, else the auth sidecar."""

    def __init__(
        self,
        trat_file: str | os.PathLike[str] | None = None,
        sidecar_socket: str | os.PathLike[str] | None = None,
    ) -> None:
        self._file = trat_file
        self._sidecar = sidecar_socket

    def get_token(self) -> TransactionToken:
        """Return a token that is not expired; `TraTAcquisitionError` when there is none."""
        if self._file is None:
            raise TraTAcquisitionError("no TRAT_FILE")
        with open(self._file, "rb") as file:
            return TransactionToken.from_jwt(Secret(file.read().strip()))

    async def get_token_async(self) -> TransactionToken:
        """The same, without blocking the loop."""
        return self.get_token()

    def invalidate(self, token: TransactionToken | None = None) -> None:
        """Forget the token, or only that one, so that the next call looks for another."""


def _converted(data: object, cls: type[Any]) -> Any:
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        place = str(error).partition(" - at ")[2]
    raise TraTAcquisitionError(f"a claim of the Transaction Token has another shape at {place}")
