"""The vault client: authenticate, retrieve under a lease, use without retrieving, give back."""

from __future__ import annotations

import atexit
import builtins
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakSet

from .._api_key import hidden_text
from .._io.aio import AsyncChannel, run_slow
from .._io.sockets import deadline_after
from .._retry import RetryPolicy
from .._transport._async import AsyncFramedTransport
from ..config import AddressLike, Limits
from ..errors import OstiaryError
from ..secret import Secret
from . import _values as values
from . import keys
from ._leases import LeaseLedger, clock, expiry, lifetime
from ._routes import DIALECTS, Granted
from .errors import (
    FAMILY,
    AuthError,
    SessionExpired,
    VaultArgumentError,
    VaultError,
    VaultProtocolError,
)
from .models import (
    Ciphertext,
    Credential,
    HttpHeader,
    HttpResponse,
    LeaseInfo,
    Plaintext,
    Signature,
)
from .settings import VaultSettings, key_file

if TYPE_CHECKING:
    import ssl

    # unasync: skip
    from ._sync import VaultClient
    # unasync: end

__all__ = ["AsyncLease", "AsyncVaultClient"]

# A challenge that is too short can be replayed; one that is too long is something else that
# somebody wants signed.
_CHALLENGE_BYTES = range(16, 1025)
_RELEASE_SECONDS = 5.0
_EXIT_SECONDS = 2.0
_MANY = 512  # leases asked for or given back in one piece

_open_clients: WeakSet[AsyncVaultClient] = WeakSet()


class AsyncVaultClient:
    """A connection to a vault for one agent (docs/protocol.md).

    Use it as a context manager, or call `connect` and `close`. Every lease it was granted is
    given back by `close`. All methods take `timeout`, in seconds, for the whole call,
    retries included. Every error is a `VaultError`.
    """

    DEFAULT_SOCKET: ClassVar[str] = "~/.sanctum/vault.sock"
    DEFAULT_KEY_DIR: ClassVar[str] = "~/.sanctum/keys"

    def __init__(
        self,
        agent_name: str,
        *,
        socket_path: str | os.PathLike[str] | None = None,
        host: str | None = None,
        port: int | None = None,
        key_path: str | os.PathLike[str] | None = None,
        passphrase: str | Secret | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        max_connections: int | None = None,
        dialect: str = "flat",
        ssl_context: ssl.SSLContext | None = None,
        expected_uid: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Describe a client; nothing is opened or read.

        `socket_path` or `host` and `port` (7600 when left out) say where the vault is; without
        either, `OSTIARY_VAULT_ADDRESS`, then `$SANCTUM_VAULT_PATH/vault.sock`, then
        `~/.sanctum/vault.sock`. The key is `{agent_name}.key` in `$SANCTUM_VAULT_PATH/keys`
        or `~/.sanctum/keys`, or its `.enc` form with `passphrase`; `key_path` names another.
        `timeout` defaults to 30 seconds, `max_retries` to 2. `ssl_context` turns TLS on for a
        TCP address. `expected_uid` refuses a Unix socket whose server runs as somebody else.
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        kept, file = hidden_text(passphrase), key_file(key_path)
        del passphrase, key_path
        self._configure(
            VaultSettings.resolve(
                agent_name,
                socket_path=socket_path,
                host=host,
                port=port,
                key_path=file,
                passphrase=kept,
                timeout=timeout,
                max_retries=max_retries,
                max_connections=max_connections,
                dialect=dialect,
                expected_uid=expected_uid,
                limits=limits,
            ),
            ssl_context,
        )

    def _configure(self, settings: VaultSettings, ssl_context: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._ssl_context = ssl_context
        self._routes = DIALECTS[settings.dialect]
        self._key: keys.AgentKey | None = None
        self._leases = LeaseLedger()
        self._transport = AsyncFramedTransport(
            limits=settings.limits,
            ssl_context=ssl_context,
            expected_uid=settings.expected_uid,
            max_connections=settings.max_connections,
            timeout=settings.timeout,
            retry=RetryPolicy(max_retries=settings.max_retries),
            login=self._log_in,
            prepare=self._load_key,
            expired=SessionExpired,
            family=FAMILY,
        )

    @property
    def agent_name(self) -> str:
        """The name this client authenticates as."""
        return self._settings.agent_name

    def __repr__(self) -> str:
        if not hasattr(self, "_transport"):  # its constructor refused
            return f"<{type(self).__name__}, not configured>"
        state = "open" if self._transport.is_open else "closed"
        return f"<{type(self).__name__} {self.agent_name!r} at {self._settings.address}, {state}>"

    # A client travels as its settings, without passphrase or TLS context, and connects again
    # on its first call on the other side. Leases stay with the client that was granted them.
    def __reduce__(self) -> tuple[Callable[..., AsyncVaultClient], tuple[object, ...]]:
        return _restore, (type(self), self._settings.without_secrets(), self._transport.is_open)

    # --- opening and closing

    async def connect(
        self, target: AddressLike | None = None, *, timeout: float | None = None
    ) -> Self:
        """Connect and authenticate; return the client.

        `target` takes the place of the configured address: a socket path, `(host, port)`, or
        `{"host": ..., "port": ...}`. Called again, it closes what was open first.

        Raises `AuthError` when the vault refuses the agent, `KeyFileError` when its key
        cannot be used, `VaultConnectError` when there is no vault.
        """
        if self._transport.is_open:
            await self.close()
        if target is not None:
            self._settings = self._settings.aimed_at(target)
        self._open()
        try:
            await self._transport.warm(timeout)
        except BaseException:
            self._shut()
            raise
        return self

    def open(self) -> Self:
        """Allow calls without connecting yet, and return the client: the first call connects."""
        if not self._transport.is_open:
            self._open()
        return self

    # unasync: skip
    def for_threads(self) -> VaultClient:
        """Return a blocking client with the same settings, that connects with its first call.

        It is its owner's to close.
        """
        from ._sync import VaultClient

        client = VaultClient.__new__(VaultClient)
        client._configure(self._settings, self._ssl_context)  # pyright: ignore[reportPrivateUsage]
        return client.open()

    # unasync: end
    def _open(self) -> None:
        self._transport.open(self._settings.address)
        # unasync: skip
        self._transport.on_orphan = self._give_back
        # unasync: end
        _open_clients.add(self)

    def _shut(self) -> None:
        _open_clients.discard(self)
        self._transport.close()

    async def close(self, *, release_timeout: float = _RELEASE_SECONDS) -> None:
        """Give back every lease, in one pipelined piece, and disconnect. May be called twice.

        It never raises for a vault that is gone or refuses: what could not be given back
        within `release_timeout` seconds is logged, and ends with the connection or at its
        expiry.
        """
        if not self._transport.is_open:
            return
        lost = 0
        problem: OstiaryError | None = None
        try:
            lease_ids = self._leases.take()
            until = deadline_after(release_timeout)
            for start in range(0, len(lease_ids), _MANY):
                some = lease_ids[start : start + _MANY]
                params = [self._routes.release_params(lease_id) for lease_id in some]
                try:
                    results = await self._transport.call_open(
                        self._routes.release, params, _left(until)
                    )
                except OstiaryError as error:
                    problem = error
                    lost += len(lease_ids) - start
                    break
                if results is None:  # no connection is left, nor any lease that hung on it
                    lost += len(lease_ids) - start
                    break
                lost += sum(isinstance(one, OstiaryError) for one in results)
        finally:
            self._shut()
        if lost:
            _log().warning(
                "%d leases of agent %s were not given back (%s); they end with the connection "
                "or at their expiry",
                lost,
                self.agent_name,
                type(problem).__name__ if problem is not None else "the vault refused or was gone",
            )

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _at_exit(self) -> None:
        # Nobody waits for answers any more; the requests leave, and the sockets close.
        lease_ids = self._leases.take()
        params = [self._routes.release_params(lease_id) for lease_id in lease_ids]
        if params:
            self._transport.send_only(self._routes.release, params)
        self._transport.close()

    # --- authentication

    async def _load_key(self) -> None:
        # Before connecting, so that a missing key leaves no socket behind; once, since an
        # encrypted one costs 27 ms.
        if self._key is None:
            self._key = await run_slow(_find_and_load, self._settings)

    async def _log_in(self, channel: AsyncChannel, deadline: float) -> None:
        routes = self._routes
        challenge = await channel.call(
            routes.challenge, routes.challenge_params(self.agent_name), deadline
        )
        data = values.from_hex(challenge.challenge)
        if data is None or len(data) not in _CHALLENGE_BYTES:
            raise VaultProtocolError(
                "the vault's challenge is not 16 to 1024 bytes in hex; nothing was signed",
                sent=True,
            )
        assert self._key is not None
        verified = await channel.call(
            routes.verify,
            routes.verify_params(
                self.agent_name, challenge.session_id or "", self._key.sign(data).hex()
            ),
            deadline,
        )
        if not verified.authenticated:
            raise AuthError(
                f"the vault did not confirm agent {self.agent_name!r}; is this key the one it "
                "registered?"
            )
        channel.session = routes.session(challenge, verified)

    # --- retrieving

    async def retrieve(
        self, path: str, *, ttl: int | None = None, timeout: float | None = None
    ) -> str:
        """Return a credential's value as text; its lease is given back by `close`.

        `ttl` is the lease time asked for, in seconds; the vault may grant less. Raises
        `VaultArgumentError` when the value is not UTF-8: use `retrieve_bytes` then.
        """
        return self._as_text(await self._retrieve(path, ttl, timeout), path)

    async def retrieve_bytes(
        self, path: str, *, ttl: int | None = None, timeout: float | None = None
    ) -> bytes:
        """Return a credential's value as the bytes that were stored; otherwise as `retrieve`."""
        granted = await self._retrieve(path, ttl, timeout)
        return values.as_bytes(granted, self._routes.encoding)

    async def retrieve_raw(
        self, path: str, *, ttl: int | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        """Return the vault's whole answer: `value` (hex), `lease_id`, `ttl`, `expires_at`, ...

        Whichever of `ttl` and `expires_at` the vault left out is worked out from the other.
        """
        params = self._routes.retrieve_params(values.checked_path(path), values.checked_ttl(ttl))
        result = await self._transport.call(self._routes.retrieve_raw, params, timeout)
        lease_id, given, ends = (result.get(name) for name in ("lease_id", "ttl", "expires_at"))
        if not isinstance(lease_id, str):
            del result  # a traceback records the locals of the frame that raises
            raise VaultProtocolError("the vault's answer to retrieve has no lease_id", sent=True)
        given = given if isinstance(given, (int, float)) else None
        seconds = lifetime(given, ends)
        self._leases.add(lease_id, seconds)
        if given is None and seconds < math.inf:
            result["ttl"] = max(0, round(seconds))
        elif ends is None and (moment := expiry(given, None)) is not None:
            result["expires_at"] = moment.isoformat()
        return result

    async def retrieve_many(
        self, paths: Iterable[str], *, ttl: int | None = None, timeout: float | None = None
    ) -> dict[str, str]:
        """Return several values as text by path, asked for in one pipelined piece.

        Raises the first refusal, in the order of `paths`; what had been granted by then is
        given back first.
        """
        wanted = list(dict.fromkeys(paths))
        for path in wanted:
            values.checked_path(path)
        routes = self._routes
        until = self._transport.deadline(timeout)
        found: dict[str, str] = {}
        granted_ids: list[str] = []
        refusal: OstiaryError | None = None
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            params = [routes.retrieve_params(path, values.checked_ttl(ttl)) for path in some]
            results = await self._transport.call_many(routes.retrieve, params, _left(until))
            for path, result in zip(some, results, strict=True):
                if isinstance(result, OstiaryError):
                    refusal = refusal or result
                    continue
                self._leases.add(result.lease_id, lifetime(result.ttl, result.expires_at))
                granted_ids.append(result.lease_id)
                try:
                    found[path] = self._as_text(result, path)
                except VaultError as error:
                    refusal = refusal or error
            if refusal is not None:
                break
        if refusal is not None:
            found.clear()
            try:
                await self._release_many(granted_ids, until)
            except VaultError:
                pass  # still in the ledger: close tries again
            raise refusal
        return found

    def lease(
        self, path: str, *, ttl: int | None = None, timeout: float | None = None
    ) -> AsyncLease:
        """Return a lease to enter: it retrieves on the way in and gives back on the way out.

        For example::

            async with client.lease("openai/api_key") as lease:
                use(lease.value.reveal())
        """
        return AsyncLease(self, values.checked_path(path), values.checked_ttl(ttl), timeout)

    def _as_text(self, granted: Granted, path: str) -> str:
        text = values.as_text(granted, self._routes.encoding)
        if text is None:
            raise VaultArgumentError(
                f"the credential at {path!r} is not UTF-8 text; use retrieve_bytes()"
            )
        return text

    async def _retrieve(self, path: str, ttl: int | None, timeout: float | None) -> Granted:
        params = self._routes.retrieve_params(values.checked_path(path), values.checked_ttl(ttl))
        granted = await self._transport.call(self._routes.retrieve, params, timeout)
        self._leases.add(granted.lease_id, lifetime(granted.ttl, granted.expires_at))
        return granted

    # --- leases

    async def release_lease(self, lease_id: str, *, timeout: float | None = None) -> None:
        """Give a lease back now. One that has ended already, or is unknown, is no error."""
        if not isinstance(lease_id, str) or not lease_id:
            raise VaultArgumentError("lease_id must be the text that retrieve_raw returned")
        await self._transport.call(
            self._routes.release, self._routes.release_params(lease_id), timeout
        )
        self._leases.forget(lease_id)

    async def lease_status(self, *, timeout: float | None = None) -> builtins.list[LeaseInfo]:
        """Return the leases that the vault counts as running for this agent."""
        result = await self._transport.call(
            self._routes.lease_status, self._routes.list_params(), timeout
        )
        return result if isinstance(result, list) else result.leases or []

    async def _release_many(self, lease_ids: Sequence[str], until: float) -> None:
        for start in range(0, len(lease_ids), _MANY):
            some = lease_ids[start : start + _MANY]
            params = [self._routes.release_params(lease_id) for lease_id in some]
            results = await self._transport.call_many(self._routes.release, params, _left(until))
            for lease_id, result in zip(some, results, strict=True):
                if not isinstance(result, OstiaryError):
                    self._leases.forget(lease_id)

    # unasync: skip
    def _give_back(self, channel: AsyncChannel, result: object) -> None:
        """Release a grant whose caller was cancelled or timed out before it arrived."""
        lease_id = values.lease_id_of(result)
        if lease_id is not None and not channel.closed:
            channel.post(
                self._routes.release,
                self._routes.release_params(lease_id),
                time.monotonic() + _RELEASE_SECONDS,
            )

    # unasync: end
    # --- listing and using

    async def list(self, *, timeout: float | None = None) -> builtins.list[Credential]:
        """Return what this agent may see: entries that read as attributes and as mappings."""
        result = await self._transport.call(
            self._routes.listing, self._routes.list_params(), timeout
        )
        return result if isinstance(result, list) else result.credentials or []

    async def use(
        self,
        path: str,
        operation: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Have the vault do something with a credential that never leaves it.

        Operations: `http_request`, `http_header`, `sign`, `encrypt`, `decrypt`; see the
        methods of those names for typed results. Returns the operation's own result.
        """
        if not isinstance(operation, str) or not operation:
            raise VaultArgumentError("operation must be a name such as 'sign' or 'http_header'")
        routes = self._routes
        result = await self._transport.call(
            routes.use(operation),
            routes.use_params(
                values.checked_path(path), operation, None if params is None else dict(params)
            ),
            timeout,
        )
        return routes.use_result(result)

    async def use_credential(
        self,
        path: str,
        operation: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Do what `use` does; the name it has in release 0.4 of the original."""
        return await self.use(path, operation, params, timeout=timeout)

    async def http_request(
        self,
        path: str,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        header_type: str | None = None,
        header_name: str | None = None,
        timeout: float | None = None,
    ) -> HttpResponse:
        """Have the vault send an HTTP request with the credential in a header.

        `header_type` is `bearer` (default), `api_key`, `basic`, or `custom` with
        `header_name`. It is never repeated by this client, since it may have run.
        """
        params: dict[str, Any] = {"method": method, "url": url}
        if headers is not None:
            params["headers"] = dict(headers)
        values.fill(params, body=body, header_type=header_type, header_name=header_name)
        return HttpResponse.from_result(
            await self.use(path, "http_request", params, timeout=timeout)
        )

    async def http_header(
        self,
        path: str,
        *,
        header_type: str | None = None,
        header_name: str | None = None,
        timeout: float | None = None,
    ) -> HttpHeader:
        """Return the header that carries the credential; `header_type` as in `http_request`."""
        params: dict[str, Any] = {}
        values.fill(params, header_type=header_type, header_name=header_name)
        return HttpHeader.from_result(await self.use(path, "http_header", params, timeout=timeout))

    async def sign(
        self,
        path: str,
        data: str,
        *,
        algorithm: str = "hmac-sha256",
        timeout: float | None = None,
    ) -> Signature:
        """Sign the UTF-8 bytes of `data` with the credential as key."""
        params = {"algorithm": algorithm, "data": data}
        return Signature.from_result(await self.use(path, "sign", params, timeout=timeout))

    async def encrypt(self, path: str, data: str, *, timeout: float | None = None) -> Ciphertext:
        """Seal `data` under the credential; the result is opaque and opens only there."""
        return Ciphertext.from_result(
            await self.use(path, "encrypt", {"data": data}, timeout=timeout)
        )

    async def decrypt(
        self, path: str, data: str | Ciphertext, *, timeout: float | None = None
    ) -> Plaintext:
        """Open what `encrypt` returned; raises `VaultError` when it was tampered with."""
        text = data.ciphertext if isinstance(data, Ciphertext) else data
        return Plaintext.from_result(
            await self.use(path, "decrypt", {"data": text}, timeout=timeout)
        )


class AsyncLease:
    """One credential, held for a while.

    Entering retrieves it; leaving gives it back and wipes `value`, also when the block was
    cancelled. `acquire` and `release` do the same without a block.
    """

    def __init__(
        self, client: AsyncVaultClient, path: str, ttl: int | None, timeout: float | None
    ) -> None:
        self.path = path
        self.lease_id: str = ""
        self.ttl: float | None = None
        """Seconds granted; None when the vault did not say."""
        self.expires_at: datetime | None = None
        self._client = client
        self._asked = ttl
        self._timeout = timeout
        self._value: Secret | None = None
        self._ends = math.inf

    @property
    def value(self) -> Secret:
        """The credential. Raises `VaultArgumentError` before `acquire` and after `release`."""
        if self._value is None:
            raise VaultArgumentError(f"no lease on {self.path!r} is held now; enter it first")
        return self._value

    @property
    def remaining(self) -> float:
        """Seconds until the vault ends the lease; 0 when it has, or when none is held."""
        return max(0.0, self._ends - clock()) if self._value is not None else 0.0

    @property
    def expired(self) -> bool:
        """Whether the lease has ended by time."""
        return self.remaining == 0.0

    async def acquire(self) -> Self:
        """Retrieve the credential; return the lease."""
        if self._value is not None:
            raise VaultArgumentError(f"the lease on {self.path!r} is held already")
        client = self._client
        granted = await client._retrieve(self.path, self._asked, self._timeout)  # pyright: ignore[reportPrivateUsage]
        seconds = lifetime(granted.ttl, granted.expires_at)
        self.lease_id = granted.lease_id
        self.ttl = granted.ttl if granted.ttl is not None or seconds == math.inf else seconds
        self.expires_at = expiry(granted.ttl, granted.expires_at)
        self._ends = clock() + seconds
        self._value = Secret(values.as_bytes(granted, client._routes.encoding))  # pyright: ignore[reportPrivateUsage]
        return self

    async def release(self, *, timeout: float | None = None) -> None:
        """Give it back and wipe `value`. One that is not held is no error."""
        value, self._value = self._value, None
        if value is not None:
            value.wipe()
            await self._client.release_lease(self.lease_id, timeout=timeout)

    async def __aenter__(self) -> Self:
        return await self.acquire()

    async def __aexit__(self, exc_type: object, exc: object, traceback: object) -> None:
        try:
            await self.release()
        except VaultError:
            # The block's own error is the one to see; the lease ends with the connection.
            if exc is None:
                raise

    def __repr__(self) -> str:
        held = f"{self.remaining:.0f} s left" if self._value is not None else "not held"
        return f"<{type(self).__name__} {self.path!r}, {held}>"


def _restore(
    cls: type[AsyncVaultClient], settings: VaultSettings, was_open: bool
) -> AsyncVaultClient:
    client = cls.__new__(cls)
    client._configure(settings, None)  # pyright: ignore[reportPrivateUsage]
    if was_open:
        client._open()  # pyright: ignore[reportPrivateUsage]
    return client


def _find_and_load(settings: VaultSettings) -> keys.AgentKey:
    path = keys.find(
        settings.agent_name,
        directory=settings.key_directory,
        key_path=settings.key_path,
        passphrase=settings.passphrase,
    )
    return keys.load(path, passphrase=settings.passphrase)


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)


def _log() -> Any:
    # logging is imported when there is something to say.
    import logging

    logger = logging.getLogger("ostiary.vault")
    if not logging.getLogger("ostiary").handlers:
        logging.getLogger("ostiary").addHandler(logging.NullHandler())
    return logger


@atexit.register
def _close_at_exit() -> None:
    # A vault that does not answer may hold up the end of a process, but not client by client.
    until = time.monotonic() + _EXIT_SECONDS
    for client in list(_open_clients):
        if time.monotonic() < until:
            client._at_exit()  # pyright: ignore[reportPrivateUsage]
