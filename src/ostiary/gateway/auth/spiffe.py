"""The JWT-SVID: who this workload is. From a file, or from the SPIFFE Workload API.

Signatures are not verified here; the gateway holds the trust bundle. What no gateway could
accept is refused before it is sent. Neighbour: `trat`, which says what the run may do.
"""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, final, runtime_checkable

import msgspec

from ..._decoders import decoder_of
from ..._io.flight import SingleFlight
from ..._io.sockets import deadline_after, forget_after_fork
from ...errors import DeadlineError
from ...secret import Secret
from ..errors import ConfigurationError, SpiffeAuthError
from .jwt import ReadFailure, decoded, parts
from .token_file import TokenFile

__all__ = ["ALGORITHMS", "JWTSource", "Svid", "SvidSource", "WorkloadJWTSource", "read_svid"]

ALGORITHMS: Final = frozenset(
    family + size for family in ("RS", "ES", "PS") for size in ("256", "384", "512")
)
"""What a JWT-SVID may be signed with (JWT-SVID, 2.1)."""

BUFFER: Final = 300.0
"""How long before its end an SVID is looked at as ending, in seconds; see `_buffer`."""

TIMEOUT: Final = 10.0
"""How long the Workload API may take."""

_SHARE: Final = 0.2
_SKEW: Final = 60.0  # how far the issuer's clock may be ahead of ours

_SPIFFE_ID: Final = re.compile(
    r"spiffe://([a-z0-9._-]{1,255})((?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)*)"
)
_LONGEST_ID: Final = 2048


class Svid(msgspec.Struct, frozen=True, kw_only=True):
    """What a JWT-SVID says, without the token; times are seconds since the epoch."""

    spiffe_id: str
    audience: tuple[str, ...]
    expires_at: float
    issued_at: float | None = None

    @property
    def trust_domain(self) -> str:
        """The domain whose bundle verifies it."""
        return self.spiffe_id.removeprefix("spiffe://").partition("/")[0]


class _Claims(msgspec.Struct):
    sub: str
    aud: str | tuple[str, ...]
    exp: float
    iat: float | None = None
    nbf: float | None = None


_claims: Final = decoder_of(_Claims)


def read_svid(
    token: Secret, *, audience: str | None = None, trust_domain: str | None = None
) -> Svid:
    """Return what a JWT-SVID says; raise `ReadFailure` for what is none.

    `audience` and `trust_domain`, where given, must be those of the token. Its end is not
    compared with the clock.
    """
    algorithm, kind, payload = parts(token)
    if algorithm not in ALGORITHMS:
        raise ReadFailure(
            "is signed by an algorithm that no JWT-SVID may have; these are RS, ES and PS with "
            "256, 384 or 512"
        )
    if kind is not None and kind not in {"JWT", "JOSE"}:
        raise ReadFailure("is a JWT of another type; perhaps the two token files are swapped")
    claims = decoded(payload, _claims, "payload")
    named = _SPIFFE_ID.fullmatch(claims.sub) if len(claims.sub) <= _LONGEST_ID else None
    if named is None:
        raise ReadFailure("has a subject that is no SPIFFE ID (spiffe://trust-domain/path)")
    found = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if not any(found):
        raise ReadFailure("names no audience")
    if audience is not None and audience not in found:
        raise ReadFailure(f"is not meant for the audience {audience}")
    if trust_domain is not None and named[1] != trust_domain:
        raise ReadFailure(f"is of the trust domain {named[1]} and not of {trust_domain}")
    if claims.nbf is not None and claims.nbf > time.time() + _SKEW:
        raise ReadFailure("is not valid yet; compare the clocks")
    return Svid(spiffe_id=claims.sub, audience=found, expires_at=claims.exp, issued_at=claims.iat)


class _Held(NamedTuple):
    token: Secret
    svid: Svid
    refresh_at: float


def _buffer(svid: Svid, now: float) -> float:
    """Return how long before its end an SVID is renewed.

    Never more than a share of its lifetime: an SVID of five minutes would else be at its end
    from the beginning.
    """
    begin = now if svid.issued_at is None else min(svid.issued_at, now)
    return min(BUFFER, _SHARE * max(svid.expires_at - begin, 0.0))


def _hold(token: Secret, svid: Svid, now: float) -> _Held:
    return _Held(token, svid, svid.expires_at - _buffer(svid, now))


@runtime_checkable
class SvidSource(Protocol):
    """Where JWT-SVIDs come from.

    Async calls use a `get_token_async`, where there is one.
    """

    def get_token(self) -> str:
        """Return an SVID that is not expired; raise `SpiffeAuthError` when there is none."""
        ...

    def is_expired(self) -> bool:
        """Whether it is time to look for another."""
        ...

    def invalidate(self) -> None:
        """Forget what is held."""
        ...


@final
class JWTSource:
    """The JWT-SVID in a file that somebody else renews (docs/identity.md).

    The file is read when it has changed, and what is held serves on while what is there cannot
    be read. Safe to use from many threads. `audience` and `trust_domain`, where given, must be
    those of the SVID.
    """

    __slots__ = ("__weakref__", "_audience", "_file", "_held", "_lock", "_trust_domain")

    def __init__(
        self,
        jwt_path: str | os.PathLike[str],
        *,
        audience: str | None = None,
        trust_domain: str | None = None,
    ) -> None:
        """Name the file; it is read by the first `get_token`."""
        self._file = TokenFile(jwt_path)
        self._audience = audience
        self._trust_domain = trust_domain
        self._held: _Held | None = None
        self.abandon()
        forget_after_fork(self)

    def abandon(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may hold the other."""
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def get_token(self) -> str:
        """Return an SVID that is not expired; raise `SpiffeAuthError` when there is none."""
        return self._current().token.reveal()

    def get_secret(self) -> Secret:
        """Return what `get_token` does, hidden; the same object as long as it is the same SVID."""
        return self._current().token

    def get_svid(self) -> Svid:
        """Return what the SVID says, without the token; errors are those of `get_token`."""
        return self._current().svid

    def is_expired(self) -> bool:
        """Whether nothing is held, or what is held ends within the buffer of 300 seconds.

        The buffer is at most a fifth of the SVID's lifetime.
        """
        held = self._held
        return held is None or time.time() >= held.refresh_at

    def invalidate(self) -> None:
        """Forget what is held, so that the next call reads the file."""
        with self._lock:
            self._held = None
            self._file.forget()

    def _current(self) -> _Held:
        held = self._held
        if held is not None and not self._file.changed() and time.time() < held.svid.expires_at:
            return held
        with self._lock:
            return self._renewed()

    def _renewed(self) -> _Held:
        held, now = self._held, time.time()
        serves = held is not None and now < held.svid.expires_at
        if held is not None and serves and not self._file.changed():
            return held  # another thread was quicker
        try:
            token = self._file.read()
            if held is not None and serves and held.token == token:
                return held  # a new file perhaps, and the same token
            svid = read_svid(token, audience=self._audience, trust_domain=self._trust_domain)
        except ReadFailure as failure:
            problem = str(failure)
        else:
            if now < svid.expires_at:
                self._held = found = _hold(token, svid, now)
                return found
            problem = (
                f"is past its time by {now - svid.expires_at:.0f} seconds; see that whatever "
                "renews it is running"
            )
        if held is not None and serves:
            return held
        raise SpiffeAuthError(f"the JWT-SVID in {self.path} {problem}")

    def __repr__(self) -> str:
        return f"JWTSource({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _source, (str(self.path), self._audience, self._trust_domain)


def _source(path: str, audience: str | None, trust_domain: str | None) -> JWTSource:
    return JWTSource(path, audience=audience, trust_domain=trust_domain)


@final
class WorkloadJWTSource:
    """JWT-SVIDs for one audience from the SPIFFE Workload API; extra `spiffe`.

    `socket` is the API's endpoint (`unix:/path`), None for `SPIFFE_ENDPOINT_SOCKET`.
    `spiffe_id` chooses among several identities. An SVID is renewed before its end, by one of
    the callers while the others go on with the one there is. `timeout` bounds one request.
    """

    __slots__ = (
        "__weakref__",
        "_audience",
        "_flights",
        "_held",
        "_socket",
        "_spiffe_id",
        "_timeout",
    )

    def __init__(
        self,
        audience: str,
        *,
        socket: str | None = None,
        spiffe_id: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Describe the source; the API is asked by the first `get_token`.

        Raises `ConfigurationError` when the extra is missing, or there is no endpoint.
        """
        from importlib.util import find_spec

        if not audience:
            raise ConfigurationError("a JWT-SVID is for an audience; give the gateway's")
        if find_spec("spiffe") is None:
            raise ConfigurationError(
                "the SPIFFE Workload API needs an extra; run: pip install 'ostiary[spiffe]'"
            )
        endpoint = socket or os.environ.get("SPIFFE_ENDPOINT_SOCKET")
        if not endpoint:
            raise ConfigurationError(
                "there is no SPIFFE Workload API; give socket, or set SPIFFE_ENDPOINT_SOCKET"
            )
        self._audience = audience
        # A bare path is what people write; the specification's form is unix:/path.
        self._socket = f"unix:{endpoint}" if endpoint.startswith("/") else endpoint
        self._spiffe_id = spiffe_id
        self._timeout = timeout
        self._held: _Held | None = None
        self._flights: SingleFlight[_Held] = SingleFlight()

    @property
    def endpoint(self) -> str:
        """Where the Workload API is."""
        return self._socket

    def get_token(self) -> str:
        """Return an SVID that is not expired; raise `SpiffeAuthError` when there is none."""
        return self._current().token.reveal()

    def get_secret(self) -> Secret:
        """Return what `get_token` does, hidden; the same object as long as it is the same SVID."""
        return self._current().token

    def get_svid(self) -> Svid:
        """Return what the SVID says, without the token; errors are those of `get_token`."""
        return self._current().svid

    async def get_token_async(self) -> str:
        """Return what `get_token` does, and do not block the loop meanwhile."""
        return (await self.get_secret_async()).reveal()

    async def get_secret_async(self) -> Secret:
        """Return what `get_secret` does, and do not block the loop meanwhile."""
        held = self._serving()
        if held is None:
            from ..._io.aio import run_slow

            async def fetched() -> _Held:
                return await run_slow(self._fetched)  # gRPC blocks

            try:
                held = await self._flights.run_async(fetched, deadline_after(self._timeout * 2))
            except DeadlineError:
                held = self._last_resort("did not answer in time")
        return held.token

    def is_expired(self) -> bool:
        """Whether nothing is held, or what is held is due to be renewed."""
        held = self._held
        return held is None or time.time() >= held.refresh_at

    def invalidate(self) -> None:
        """Forget what is held, so that the next call asks the Workload API."""
        self._held = None

    def _current(self) -> _Held:
        held = self._serving()
        if held is not None:
            return held
        try:
            return self._flights.run(self._fetched, deadline_after(self._timeout * 2))
        except DeadlineError:
            return self._last_resort("did not answer in time")

    def _serving(self) -> _Held | None:
        """Return what is held if that will do now; None when the API is to be asked."""
        held, now = self._held, time.time()
        if held is None or now >= held.svid.expires_at:
            return None
        return held if now < held.refresh_at or self._flights.busy else None

    def _fetched(self) -> _Held:
        if (held := self._serving_alone()) is not None:
            return held  # renewed while this caller was on its way here
        try:
            from .workload import fetch

            token = fetch(self._socket, self._audience, self._spiffe_id, self._timeout)
            svid = read_svid(token, audience=self._audience)
        except ReadFailure as failure:
            problem = str(failure)
        else:
            now = time.time()
            if now < svid.expires_at:
                self._held = found = _hold(token, svid, now)
                return found
            problem = "gave a token that is past its time; compare the clocks"
        return self._last_resort(problem)

    def _serving_alone(self) -> _Held | None:
        held = self._held
        return held if held is not None and time.time() < held.refresh_at else None

    def _last_resort(self, problem: str) -> _Held:
        """Go on with what is held while it lasts, and ask again a little later."""
        held, now = self._held, time.time()
        if held is not None and now < held.svid.expires_at:
            left = held.svid.expires_at - now
            self._held = later = held._replace(refresh_at=now + min(5.0, left / 2))
            return later
        raise SpiffeAuthError(f"the SPIFFE Workload API at {self._socket} {problem}")

    def __repr__(self) -> str:
        return f"WorkloadJWTSource({self._audience!r}, socket={self._socket!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _workload_source, (self._audience, self._socket, self._spiffe_id, self._timeout)


def _workload_source(
    audience: str, socket: str, spiffe_id: str | None, timeout: float
) -> WorkloadJWTSource:
    return WorkloadJWTSource(audience, socket=socket, spiffe_id=spiffe_id, timeout=timeout)
