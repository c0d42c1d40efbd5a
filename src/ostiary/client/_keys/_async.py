"""API keys by reference: fetched by lease when a request needs them, and had anew in time.

One lease per path, however many clients send what lies there. Nothing is stored: what a lease
grants is held in memory, hidden, until the lease ends, the vault grants another, or `aclose`.
Neighbours: `http` asks for the headers before each attempt; `vault` grants and takes back.
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, final

import msgspec

from ..._api_key import Reference, key_problem
from ..._decoders import decoder_of
from ..._io.flight import SingleFlight
from ..._io.sockets import forget_after_fork, seconds_left
from ...errors import ClientStateError, InvalidArgumentError, OstiaryError
from ...http._heads import HeaderLines
from ...secret import Secret

if TYPE_CHECKING:
    from ...vault._async import AsyncLease, AsyncVaultClient

    # unasync: skip
    from ...vault._sync import VaultClient
    from ._sync import VaultKeys
    # unasync: end

__all__ = ["AsyncVaultKeys"]

# A lease is renewed when this part of its time is left: at a moment of its own in each process,
# so that a fleet which began together does not ask the vault together.
_EARLY: Final = (0.2, 0.35)
# What a request may spend on a renewal that could still wait, and on giving a lease back.
_PATIENCE: Final = 5.0
# A key that is refused, and that the vault has no other for, is not asked about again so soon.
_CALM: Final = 5.0

_ENDED: Final = "the keys were given back already; make another object"

_members: Final = decoder_of(dict[str, Any]).decode


class AsyncVaultKeys:
    """The API keys that clients refer to as `vault:path`, by lease (docs/credentials.md).

    Give it to clients as `keys`. It serves any number of clients, which share one lease per
    path; a forked child fetches its own.
    """

    def __init__(
        self, vault: AsyncVaultClient | Callable[[], AsyncVaultClient], *, ttl: int | None = None
    ) -> None:
        """Take a vault client, or a function that returns it when the first key is needed.

        The vault client is not closed here. `ttl` is the lease time asked for, in seconds; None
        leaves it to the vault.
        """
        self._vault = vault
        self._ttl = ttl
        self._closed = False
        self._paths: dict[str, AsyncHeldPath] = {}
        # unasync: skip
        self._blocking: tuple[VaultKeys, VaultClient] | None = None
        # unasync: end

    def header(self, reference: Reference | str, name: str, prefix: str = "") -> AsyncHeldHeader:
        """Return a pool's `credentials`: the header of that name, `prefix` before the key.

        `reference` is `vault:path` or `vault:path#field`; nothing is fetched yet.
        """
        found = Reference.read(reference) if isinstance(reference, str) else reference
        if found is None or key_problem(found):
            raise InvalidArgumentError("a reference is vault:path, or vault:path#field")
        held = self._paths.get(found.path)
        if held is None:
            # Of two threads that come here together, one makes the path that is kept.
            held = self._paths.setdefault(found.path, AsyncHeldPath(found.path, self._lease))
        return AsyncHeldHeader(held, found, name, prefix)

    def _lease(self, path: str, timeout: float) -> AsyncLease:
        if self._closed:
            raise ClientStateError(_ENDED)
        vault = self._vault() if callable(self._vault) else self._vault
        return vault.lease(path, ttl=self._ttl, timeout=timeout)

    # unasync: skip
    def for_threads(self) -> VaultKeys:
        """Return the same keys for blocking clients, by leases of their own; closed with these."""
        if self._blocking is None:
            from ._sync import VaultKeys

            vault = self._vault() if callable(self._vault) else self._vault
            blocking = vault.for_threads()
            self._blocking = VaultKeys(blocking, ttl=self._ttl), blocking
        return self._blocking[0]

    # unasync: end
    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._paths)} paths>"

    async def aclose(self) -> None:
        """Forget every key and give its lease back. Final.

        It never raises for a vault that is gone: leases end with their time.
        """
        self._closed = True
        for held in list(self._paths.values()):  # a client that is made meanwhile may add one
            await held.give_back()
        # unasync: skip
        from ..._io.aio import run_slow

        blocking, self._blocking = self._blocking, None
        for one in blocking or ():
            await run_slow(one.close)
        # unasync: end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


@final
class _Grant:
    """A value and its lease. Another grant replaces it: nobody's value is wiped while in use."""

    __slots__ = ("lease", "value")

    def __init__(self, lease: AsyncLease) -> None:
        self.lease = lease
        self.value = Secret(lease.value)


@final
class AsyncHeldPath:
    """What lies at one path of the vault, for as long as its lease lasts."""

    __slots__ = ("__weakref__", "_calm", "_early", "_ended", "_flight", "_grant", "_lease", "_path")

    def __init__(self, path: str, lease: Callable[[str, float], AsyncLease]) -> None:
        """Hold nothing yet; `lease` makes one of a path and a timeout."""
        self._path = path
        self._lease = lease
        self._ended = False
        self._flight: SingleFlight[_Grant] = SingleFlight()
        self.abandon()
        forget_after_fork(self)

    def abandon(self) -> None:
        """Forget, in a forked child, what is the parent's to give back."""
        self._grant: _Grant | None = None
        self._early = self._calm = 0.0

    async def grant(self, deadline: float) -> _Grant:
        """Return what may be used now; whoever is first fetches it for all."""
        held = self._grant
        left = 0.0 if held is None else held.lease.remaining
        if held is None or left <= 0.0:
            return await self._flight.run_async(partial(self._fetch, held, deadline), deadline)
        if left > self._early or self._flight.busy:
            return held
        # It still serves: nobody waits long for the next, nor fails where there is none.
        until = time.monotonic() + min(_PATIENCE, seconds_left(deadline) / 2)
        try:
            return await self._flight.run_async(partial(self._fetch, held, until), until)
        except OstiaryError:
            if self._grant is not held or held.lease.expired:
                raise
        self._early = held.lease.remaining / 2
        return held

    async def _fetch(self, before: _Grant | None, deadline: float) -> _Grant:
        held = self._grant
        if held is not None and held is not before:  # somebody was quicker
            return held
        lease = self._lease(self._path, seconds_left(deadline))
        found = _Grant(await lease.acquire())
        if self._ended:  # while the vault was asked
            await _give_back(found)
            raise ClientStateError(_ENDED)
        left = lease.remaining
        self._early = 0.0 if left == math.inf else left * random.uniform(*_EARLY)
        self._grant = found
        if before is not None:
            await _give_back(before)
        return found

    async def renewed(self, refused: _Grant, deadline: float) -> bool:
        """Fetch another in place of one that was refused; return whether it is another."""
        first = self._grant is refused
        if first:
            if time.monotonic() < self._calm:
                return False
            self._grant = None
        try:
            found = await self.grant(deadline)
        except OstiaryError:
            return False  # the refusal says more
        finally:
            if first:
                await _give_back(refused)
        if found.value == refused.value:
            self._calm = time.monotonic() + _CALM
            return False
        return True

    async def give_back(self) -> None:
        """Give the lease back, if one is held, and have none from now on."""
        self._ended = True
        held, self._grant = self._grant, None
        if held is not None:
            await _give_back(held)


async def _give_back(grant: _Grant) -> None:
    try:
        await grant.lease.release(timeout=_PATIENCE)
    except OstiaryError:
        pass  # it ends with its time


@final
class AsyncHeldHeader:
    """The header that carries a key; the same lines for as long as it is the same key."""

    __slots__ = ("_name", "_path", "_prefix", "_reference", "_shown")

    def __init__(self, path: AsyncHeldPath, reference: Reference, name: str, prefix: str) -> None:
        self._path = path
        self._reference = reference
        self._name = name
        self._prefix = prefix
        self._shown: tuple[_Grant, HeaderLines] | None = None

    async def headers(self, deadline: float, /) -> HeaderLines:
        """Return the header, hidden; raise why there is no key for it."""
        try:
            grant = await self._path.grant(deadline)
            shown = self._shown
            if shown is None or shown[0] is not grant:
                shown = self._shown = grant, self._lines(grant)
            return shown[1]
        except OstiaryError as error:
            failure = copy.copy(error)
        failure.args = (
            f"the API key that {self._reference} refers to cannot be had: {failure.message}",
        )
        try:
            raise failure
        finally:
            del failure  # a frame that refers to what it raised is a circle

    async def renewed(self, shown: HeaderLines, deadline: float, /) -> bool:
        """Fetch another key in place of the one in `shown`; return whether it is another."""
        last = self._shown
        if last is None or last[1] is not shown:
            return True  # it was replaced meanwhile
        return await self._path.renewed(last[0], deadline)

    def _lines(self, grant: _Grant) -> HeaderLines:
        key = _member(grant.value, self._reference.field)
        if key is None:
            raise InvalidArgumentError(
                "what lies there is no JSON object whose member of that name is text"
            )
        if problem := key_problem(key):
            raise InvalidArgumentError(f"what lies there {problem}")
        lines = HeaderLines(lasting=True)
        lines.add({self._name: Secret(self._prefix.encode() + key.reveal_bytes())})
        return lines

    def __repr__(self) -> str:
        return f"<{self._name} of {self._reference}>"


def _member(value: Secret, field: str | None) -> Secret | None:
    """Return the key in what the vault keeps, without the white space around it."""
    if field is None:
        return Secret(value.reveal_bytes().strip())
    try:
        found = _members(value.reveal_bytes()).get(field)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    try:
        return Secret(found.strip()) if isinstance(found, str) else None
    finally:
        del found  # a traceback records the locals
