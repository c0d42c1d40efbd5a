"""The Transaction Token: what this run may do. What it claims, and where it comes from.

It is forwarded byte for byte and never verified here: the gateway does that. Neighbour:
`spiffe`, which says who is asking.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast, final

import msgspec

from ..._decoders import convert, decoder_of
from ..._io.flight import SingleFlight
from ..._io.sockets import deadline_after, forget_after_fork
from ...config import BaseUrl, Limits, UnixAddress, parse_address
from ...errors import DeadlineError, InvalidArgumentError, OstiaryError
from ...secret import Secret
from ..errors import ConfigurationError, TraTAcquisitionError, TraTExpiredError
from .credentials import hidden_token
from .jwt import ReadFailure, decoded, parts, place_of
from .token_file import TokenFile

if TYPE_CHECKING:
    from ..._wire.http1 import Response

__all__ = [
    "AllowedModels",
    "RequesterContext",
    "TransactionContext",
    "TransactionToken",
    "TransactionTokenClient",
]

S = TypeVar("S", bound=msgspec.Struct)

TIMEOUT: Final = 10.0
"""How long the sidecar may take, retries included."""

# A token is renewed this long before its end, or when this share of its lifetime is left.
_MARGIN: Final = 60.0
_SHARE: Final = 0.2
_RETRY_LATER: Final = 5.0  # after a renewal that failed while the token was still good
_SAME_AGAIN: Final = 1.0  # a sidecar that gave a refused token is not asked again sooner

_TRAT: Final = "/trat"
_STUCK: Final = "it has been asked already and does not come to an end"

_LIMITS: Final = Limits(head=16 * 1024, body=64 * 1024, decompressed_body=64 * 1024)


class RequesterContext(msgspec.Struct, frozen=True, kw_only=True):
    """Who or what set the transaction off: the token's `rctx`."""

    trigger: str = ""
    pr_number: int | None = None
    actor: str = ""
    source_ip: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a decoded claim; unknown members are passed over, null is as if left out."""
        return _converted(data, cls)


class AllowedModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models a run may use, as `provider:model`, by category; preferred ones first."""

    triage: tuple[str, ...] = ()
    analysis: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a decoded claim; unknown categories are passed over, null is as if left out."""
        return _converted(data, cls)

    def has_any(self) -> bool:
        """Whether any category has a model."""
        return bool(self.triage or self.analysis or self.reasoning or self.embeddings)

    def to_dict(self) -> dict[str, list[str]]:
        """Return all four categories."""
        return {name: list(getattr(self, name)) for name in self.__struct_fields__}


class TransactionContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the transaction is about: the token's `tctx`.

    `allowed_tools` are the tools of each MCP server that the run may call.
    """

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
        """Read a decoded claim; unknown members are passed over, null is as if left out."""
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


_object: Final = decoder_of(dict[str, Any])


class TransactionToken(msgspec.Struct, frozen=True, kw_only=True):
    """A Transaction Token and what it claims (docs/identity.md).

    `raw` is what is sent; it shows in no repr, pickle or JSON. Times are seconds since the
    epoch; without an `exp` the token is past its time. `sub` is whom the transaction is for,
    `req_wl` the workload that may use it, `scope` what for, its words separated by blanks.
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
        """Read a compact JWT, without verifying it.

        Raises `TraTAcquisitionError` when it is none, or has no `txn`.
        """
        kept = hidden_token(token)
        del token
        try:
            members = decoded(parts(kept)[2], _object, "payload")
            claims = _converted(members, _Claims)
        except ReadFailure as failure:
            problem = str(failure)
        else:
            return cls(token=kept, **{x: getattr(claims, x) for x in claims.__struct_fields__})
        raise TraTAcquisitionError(f"the Transaction Token {problem}")

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
            raise TraTExpiredError(
                f"the Transaction Token is past its time by {time.time() - self.exp:.0f} "
                "seconds and there is no newer one; see that whatever renews it is running"
            )


def _converted(data: object, cls: type[S]) -> S:
    try:
        return convert(_without_nulls(data, 4), cls)
    except msgspec.ValidationError as error:
        problem = place_of(error)
    del data
    raise TraTAcquisitionError(
        f"the Transaction Token has claims of another shape than promised{problem}"
    )


def _without_nulls(value: object, depth: int) -> object:
    """Leave out members that are null, as deep as the claims go."""
    if depth and isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value)
        return {
            name: _without_nulls(each, depth - 1)
            for name, each in members.items()
            if each is not None
        }
    return value


@final
class TransactionTokenClient:
    """Where the current Transaction Token comes from: a file, else the auth sidecar.

    The file is read when it has changed. While it is missing, unreadable or past its time,
    and a little before that time is over, the sidecar is asked (`GET /trat`). Of many threads
    and tasks one asks; as long as the token there is serves, the others go on with it.
    """

    __slots__ = (
        "__weakref__",
        "_answered",
        "_file",
        "_file_problem",
        "_flights",
        "_held",
        "_in_file",
        "_lock",
        "_refresh_at",
        "_refused",
        "_sidecar",
        "_timeout",
        "_uid",
    )

    def __init__(
        self,
        trat_file: str | os.PathLike[str] | None = None,
        sidecar_socket: str | os.PathLike[str] | None = None,
        *,
        timeout: float = TIMEOUT,
        expected_uid: int | None = None,
    ) -> None:
        """Name the sources; nothing is read or asked yet.

        `timeout` bounds one renewal. `expected_uid` refuses a sidecar that runs as another
        user. Raises `ConfigurationError` for a socket's path that cannot be one.
        """
        self._file = TokenFile(trat_file) if trat_file else None
        self._file_problem = ""
        self._sidecar = _address(sidecar_socket) if sidecar_socket else None
        self._timeout = timeout
        self._uid = expected_uid
        self._held: TransactionToken | None = None
        self._in_file: TransactionToken | None = None
        self._refresh_at = 0.0
        self._refused: Secret | None = None
        self._answered = -math.inf  # when the sidecar answered last, on the monotonic clock
        self._flights: SingleFlight[TransactionToken] = SingleFlight()
        self.abandon()
        forget_after_fork(self)

    def abandon(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may hold the other."""
        self._lock = threading.Lock()

    @property
    def trat_file(self) -> Path | None:
        """The file, if there is one."""
        return None if self._file is None else self._file.path

    @property
    def sidecar_socket(self) -> str | None:
        """The path of the sidecar's socket, if there is one."""
        return None if self._sidecar is None else self._sidecar.path

    def get_token(self) -> TransactionToken:
        """Return a token whose time is not over.

        Raises `TraTAcquisitionError` when no source has one, `TraTExpiredError` when all that
        can be had is past its time.
        """
        serving = self._serving()
        if serving is not None:
            return serving
        try:
            return self._flights.run(self._renew, deadline_after(self._timeout))
        except DeadlineError:
            return self._last_resort(_STUCK)

    async def get_token_async(self) -> TransactionToken:
        """Return a token as `get_token` does, and do not block the loop meanwhile."""
        serving = self._serving()
        if serving is not None:
            return serving
        try:
            return await self._flights.run_async(self._renew_async, deadline_after(self._timeout))
        except DeadlineError:
            return self._last_resort(_STUCK)

    def invalidate(self, token: TransactionToken | None = None) -> None:
        """Forget what is held, as after a 401, so that the next call looks for another.

        Give the token that was refused: when another is held by now, it stays. A refused one
        is taken from the file again only when the sidecar has no other. A sidecar that gave
        the refused one once more is left in peace for a second.
        """
        with self._lock:
            held = self._held
            if held is None or (token is not None and held.token != token.token):
                return
            if held.token == self._refused and _since(self._answered) < _SAME_AGAIN:
                return
            self._held = None
            self._refused = held.token
            if self._file is not None:
                self._file.forget()

    # --- what is there, and whether it serves

    def _serving(self) -> TransactionToken | None:
        """Return a token that serves now; None when the sidecar is to be asked, or none is had."""
        if self._file is not None and self._file.changed():
            self._look(self._file)
        held, now = self._held, time.time()
        if held is None or now >= held.exp:
            return None
        return held if now < self._refresh_at or self._flights.busy else None

    def _look(self, file: TokenFile) -> None:
        """Take what the file has, unless it is past its time or was refused."""
        with self._lock:
            known, self._in_file = self._in_file, None
            try:
                content = file.read()
                if known is not None and known.token == content:
                    found = known  # a new file perhaps, and the same token
                else:
                    found = TransactionToken.from_jwt(content)
                self._in_file = found
            except ReadFailure as failure:
                self._file_problem = f"{file.path} {failure}"
                return
            except TraTAcquisitionError as error:
                self._file_problem = f"{file.path}: {error}"
                return
            self._file_problem = ""
            now, held = time.time(), self._held
            if found is known and held is not None and now < held.exp:
                return  # nothing new, and the sidecar's may be newer
            if now < found.exp and found.token != self._refused:
                self._hold(found)

    def _hold(self, token: TransactionToken) -> None:
        now = time.time()
        begin = token.iat if 0 < token.iat < now else now
        margin = min(_MARGIN, _SHARE * (token.exp - begin))
        # Spread, so that the processes of one run do not all ask at once.
        early = token.exp - margin * random.uniform(0.8, 1.2)
        self._refresh_at = max(early, now + (token.exp - now) / 2)
        self._held = token

    # --- renewal; one caller at a time is here

    def _renew(self) -> TransactionToken:
        renewed = self._renewed()
        if renewed is not None:
            return renewed
        if self._sidecar is None:
            return self._last_resort("")
        from ...http._sync import Pool

        try:
            with Pool(**self._pool_arguments(self._sidecar)) as pool:
                return self._take(pool.request("GET", _TRAT))
        except OstiaryError as error:
            problem, expired = error.message, isinstance(error, TraTExpiredError)
        return self._last_resort(problem, expired=expired)

    async def _renew_async(self) -> TransactionToken:
        renewed = self._renewed()
        if renewed is not None:
            return renewed
        if self._sidecar is None:
            return self._last_resort("")
        from ...http._async import AsyncPool

        try:
            async with AsyncPool(**self._pool_arguments(self._sidecar)) as pool:
                return self._take(await pool.request("GET", _TRAT))
        except OstiaryError as error:
            problem, expired = error.message, isinstance(error, TraTExpiredError)
        return self._last_resort(problem, expired=expired)

    def _renewed(self) -> TransactionToken | None:
        """Return what another caller got while this one was on its way here."""
        held, now = self._held, time.time()
        return held if held is not None and now < min(self._refresh_at, held.exp) else None

    def _pool_arguments(self, sidecar: UnixAddress) -> dict[str, Any]:
        held = self._held
        patience = self._timeout
        if held is not None:
            # There is time to ask once more before the one we have ends.
            patience = min(patience, max((held.exp - time.time()) / 2, 1.0))
        return {
            "base_url": str(BaseUrl(sidecar, "localhost")),
            "timeout": patience,
            "max_retries": 2,
            "max_connections": 1,
            "limits": _LIMITS,
            "expected_uid": self._uid,
        }

    def _take(self, response: Response) -> TransactionToken:
        """Hold what the sidecar answered."""
        if response.status != 200:
            raise TraTAcquisitionError(f"it answered with status {response.status}")
        found = TransactionToken.from_jwt(Secret(bytes(response.body).strip()))
        with self._lock:
            self._answered = time.monotonic()
            if time.time() >= found.exp:
                raise TraTExpiredError("it gave a token that is past its time")
            self._hold(found)
        return found

    def _last_resort(self, problem: str, *, expired: bool = False) -> TransactionToken:
        """Go on with what there is while it lasts, and ask again a little later."""
        now = time.time()
        with self._lock:
            for found in (self._held, self._in_file):
                if found is not None and now < found.exp:
                    self._held = found
                    self._refresh_at = now + min(_RETRY_LATER, (found.exp - now) / 2)
                    return found
            past = self._in_file  # else it would serve
        said = [self._file_problem] if self._file_problem else []
        if past is not None:
            said.append(f"the one in {self.trat_file} is past its time by {now - past.exp:.0f} s")
        if problem:
            said.append(f"the auth sidecar at {self.sidecar_socket}: {problem}")
        if self._file is None and self._sidecar is None:
            said.append("give trat_file or sidecar_socket, or set TRAT_FILE or AUTH_SIDECAR_SOCKET")
        # Past its time, when that is the last word of whom was asked last.
        kind = TraTExpiredError if expired or (past and not problem) else TraTAcquisitionError
        raise kind(f"there is no Transaction Token that serves: {'; '.join(said)}")

    def __repr__(self) -> str:
        file = None if self._file is None else str(self._file.path)
        return f"TransactionTokenClient({file!r}, {self.sidecar_socket!r})"

    # Only where the tokens are, for they are fetched anew on the other side.
    def __reduce__(self) -> tuple[Any, ...]:
        return _client, (self.trat_file, self.sidecar_socket, self._timeout, self._uid)


def _client(
    trat_file: Path | None, sidecar: str | None, timeout: float, expected_uid: int | None
) -> TransactionTokenClient:
    return TransactionTokenClient(trat_file, sidecar, timeout=timeout, expected_uid=expected_uid)


def _address(path: str | os.PathLike[str]) -> UnixAddress:
    try:
        found = parse_address(Path(os.path.expanduser(path)))
    except InvalidArgumentError as error:
        problem = str(error)
    else:
        assert isinstance(found, UnixAddress)
        return found
    raise ConfigurationError(f"the auth sidecar's socket cannot be used: {problem}")


def _since(moment: float) -> float:
    return time.monotonic() - moment
