"""The two proofs that go with every request, hidden from all but the request itself."""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, SupportsIndex, final

from ...errors import SecretExposureError
from ...secret import Secret
from ..errors import AuthError, SpiffeAuthError, TraTAcquisitionError

__all__ = ["GatewayCredentials", "hidden_token"]

# What may stand in a header as a token: RFC 6750's b64token. No CR, no LF, no blank.
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_LONGEST: Final = 64 * 1024


@final
class GatewayCredentials:
    """A JWT-SVID and a Transaction Token (docs/identity.md).

    Nothing but the two attributes and the two methods shows them: repr, str, format, `vars`,
    `asdict` and pickle do not. An empty one is left out of the headers. Raises
    `SpiffeAuthError` or `TraTAcquisitionError` for what cannot be a token.
    """

    __slots__ = ("_headers", "_spiffe_jwt", "_trat")

    _headers: dict[str, Secret]
    _spiffe_jwt: Secret
    _trat: Secret

    def __init__(self, spiffe_jwt: str | Secret, trat: str | Secret) -> None:
        # Hidden first: a traceback records the locals of every frame that raises.
        one = hidden_token(spiffe_jwt)
        two = hidden_token(trat)
        del spiffe_jwt, trat
        _check(one, "the JWT-SVID", SpiffeAuthError)
        _check(two, "the Transaction Token", TraTAcquisitionError)
        object.__setattr__(self, "_spiffe_jwt", one)
        object.__setattr__(self, "_trat", two)
        headers: dict[str, Secret] = {}
        if one:
            headers["Authorization"] = Secret(b"Bearer " + one.reveal_bytes())
        if two:
            headers["Txn-Token"] = two
        object.__setattr__(self, "_headers", headers)

    @property
    def spiffe_jwt(self) -> str:
        """The JWT-SVID as text; empty when there is none."""
        return self._spiffe_jwt.reveal()

    @property
    def trat(self) -> str:
        """The Transaction Token as text; empty when there is none."""
        return self._trat.reveal()

    def auth_headers(self) -> dict[str, str]:
        """Return `Authorization` and `Txn-Token` as plain text; `hidden_headers` hides them."""
        return {name: value.reveal() for name, value in self._headers.items()}

    def hidden_headers(self) -> dict[str, Secret]:
        """Return `Authorization` and `Txn-Token` as what a pool sends and nothing shows."""
        return self._headers.copy()

    def same_svid(self, other: GatewayCredentials) -> bool:
        """Whether both have the same JWT-SVID."""
        return self._spiffe_jwt == other._spiffe_jwt

    def same_trat(self, other: GatewayCredentials) -> bool:
        """Whether both have the same Transaction Token."""
        return self._trat == other._trat

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"credentials are not changed; make others ({name})")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"credentials are not changed; make others ({name})")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GatewayCredentials):
            return NotImplemented
        return self.same_svid(other) and self.same_trat(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if not hasattr(self, "_trat"):  # its constructor refused
            return "<GatewayCredentials, refused>"
        shown = ", ".join(
            f"{name}={'<hidden>' if value else '<none>'}"
            for name, value in (("spiffe_jwt", self._spiffe_jwt), ("trat", self._trat))
        )
        return f"GatewayCredentials({shown})"

    def __copy__(self) -> GatewayCredentials:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GatewayCredentials:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise SecretExposureError(
            "credentials are not pickled; send the access object, which gets its own there"
        )


def hidden_token(value: object) -> Secret:
    """Return a token as a Secret, whatever it holds; raise `AuthError` for what is no text."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        # What cannot be encoded is refused where it can no longer be seen.
        return Secret(value.encode("utf-8", "surrogatepass"))
    kind = type(value).__name__
    del value
    raise AuthError(f"a token is text or a Secret, not {kind}")


def _check(token: Secret, what: str, error: type[AuthError]) -> None:
    content = token.reveal_bytes()
    fits = not content or (len(content) <= _LONGEST and _TOKEN.fullmatch(content) is not None)
    del content  # a traceback records the locals of the frame that raises
    if not fits:
        raise error(
            f"{what} is longer than {_LONGEST} bytes or holds characters that no token has, a "
            "line break perhaps; write the file again without them"
        )
