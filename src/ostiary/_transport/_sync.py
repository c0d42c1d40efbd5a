# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""Call methods on a framed peer: open channels, log in, retry what may be, translate errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from .._io.blocking import Channel, Done, Lock, connect, holding, sleep
from .._io.blocking_pool import ChannelPool
from .._io.sockets import deadline_after, forget_after_fork
from .._retry import RetryBudget, RetryPolicy
from .._wire.rpc import Method
from ..config import Address, Limits, timeout_seconds
from ..errors import APIError, ClientStateError, OstiaryError, TransportError, adopt

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")


class Login(Protocol):
    """Make a fresh channel usable: authenticate on it and set its `session`."""

    def __call__(self, channel: Channel, deadline: float, /) -> Done: ...


class FramedTransport:
    """One peer, any number of calls. Each call is bounded by one deadline, retries included."""

    def __init__(
        self,
        *,
        limits: Limits,
        ssl_context: ssl.SSLContext | None,
        expected_uid: int | None,
        max_connections: int,
        timeout: float,
        retry: RetryPolicy,
        login: Login,
        prepare: Callable[[], Done],
        expired: type[APIError],
        family: Mapping[type[OstiaryError], type[OstiaryError]],
    ) -> None:
        """`prepare` runs before a socket is opened; `expired` asks for a new login."""
        self._limits = limits
        self._ssl_context = ssl_context
        self._expected_uid = expected_uid
        self._max_connections = max_connections
        self._timeout = timeout
        self._retry = retry
        self._budget = RetryBudget()
        self._login = login
        self._prepare = prepare
        self._expired = expired
        self._family = family
        self._address: Address | None = None
        self._pool: ChannelPool | None = None
        forget_after_fork(self)

    @property
    def is_open(self) -> bool:
        """Whether calls may be made; says nothing about the peer."""
        return self._pool is not None

    def open(self, address: Address) -> None:
        """Allow calls to `address`; the first one connects."""
        self._address = address
        self._renewing = Lock()
        self._pool = ChannelPool(self._open_channel, self._max_connections)

    def deadline(self, timeout: float | None) -> float:
        """Return the monotonic time at which a call that begins now is over."""
        if timeout is None:
            return deadline_after(self._timeout)
        if isinstance(timeout, int | float) and timeout <= 0:
            return deadline_after(0.0)  # what is left of somebody's time: it is over
        try:
            return deadline_after(timeout_seconds(timeout))
        except OstiaryError as error:
            self._raise(error)

    def warm(self, timeout: float | None = None) -> None:
        """Connect and log in now, so that a failure shows here and not in the first call."""
        pool = self._open_pool()
        deadline = self.deadline(timeout)
        attempt = 0
        while True:
            try:
                channel = pool.ready() or pool.open(deadline)
            except OstiaryError as error:
                left = deadline - time.monotonic()
                delay = self._retry.delay(error, attempt, left, self._budget, repeatable=True)
                if delay is None:
                    self._raise(error)
                attempt += 1
            else:
                pool.release(channel)
                return
            sleep(delay)

    def call(self, method: Method[T], params: object, timeout: float | None = None) -> T:
        """Call `method` and return its result; `timeout` bounds all attempts together."""
        pool = self._open_pool()
        deadline = self.deadline(timeout)
        attempt = 0
        renewed = False
        delay: float | None
        while True:
            channel = None
            try:
                channel = pool.ready() or pool.open(deadline)
                logins = channel.logins
                call = channel.obtain if method.grants else channel.call
                try:
                    result = call(method, params, deadline)
                except self._expired:
                    # Refused before it ran, so any method may be sent again; but once only.
                    if renewed:
                        raise
                    renewed = True
                    self._renew(channel, logins, deadline)
                    result = call(method, params, deadline)
            except OstiaryError as error:
                left = deadline - time.monotonic()
                delay = self._retry.delay(
                    error, attempt, left, self._budget, repeatable=method.repeatable
                )
                if delay is None:
                    self._raise(error)
                attempt += 1
            else:
                self._budget.earn()
                return result
            finally:
                if channel is not None:
                    pool.release(channel)
            sleep(delay)

    def call_many(
        self, method: Method[T], params: Sequence[object], timeout: float | None = None
    ) -> list[T | OstiaryError]:
        """Call `method` once per params in one pipelined piece; results or refusals, in order."""
        pool = self._open_pool()
        deadline = self.deadline(timeout)
        channel = None
        try:
            channel = pool.ready() or pool.open(deadline)
            logins = channel.logins
            results = channel.call_many(method, params, deadline)
            again = [i for i, one in enumerate(results) if isinstance(one, self._expired)]
            if again:
                self._repeat(channel, logins, method, params, results, again, deadline)
        except OstiaryError as error:
            self._raise(error)
        finally:
            if channel is not None:
                pool.release(channel)
        return [self._adopted(one) if isinstance(one, OstiaryError) else one for one in results]

    def _repeat(
        self,
        channel: Channel,
        logins: int,
        method: Method[T],
        params: Sequence[object],
        results: list[T | OstiaryError],
        again: Sequence[int],
        deadline: float,
    ) -> None:
        """Call once more, after a new login, what the old session was refused."""
        refused = [params[i] for i in again]
        try:
            self._renew(channel, logins, deadline)
            repeated = channel.call_many(method, refused, deadline)
        except OstiaryError as error:
            for i in again:
                results[i] = error
            return
        except BaseException:
            # Cancelled: what the others were granted reaches nobody.
            channel.disown(method, results)
            raise
        for i, one in zip(again, repeated, strict=True):
            results[i] = one

    def call_open(
        self, method: Method[T], params: Sequence[object], timeout: float
    ) -> list[T | OstiaryError] | None:
        """Like `call_many` on a channel that is open already; None when there is none."""
        pool = self._open_pool()
        try:
            channel = pool.ready()
            if channel is None:
                return None
            try:
                return channel.call_many(method, params, deadline_after(timeout))
            finally:
                pool.release(channel)
        except OstiaryError as error:
            self._raise(error)

    def send_only(self, method: Method[object], params: Sequence[object]) -> bool:
        """Send without waiting for replies, on any open channel; for the end of a process."""
        for channel in self._pool.channels() if self._pool is not None else ():
            try:
                channel.send_only(method, params)
            except OstiaryError:
                continue
            return True
        return False

    def close(self) -> None:
        """Close every channel; `open` may follow."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def abandon(self) -> None:
        """In a forked child: forget a lock that a thread of the parent may hold."""
        if self._pool is not None:
            self._renewing = Lock()

    def _open_channel(self, deadline: float) -> Channel:
        self._prepare()
        assert self._address is not None
        channel = connect(
            self._address,
            deadline=deadline,
            limits=self._limits,
            ssl_context=self._ssl_context,
            expected_uid=self._expected_uid,
        )
        try:
            self._log_in(channel, deadline)
        except BaseException:
            channel.close()
            raise
        return channel

    def _renew(self, channel: Channel, logins: int, deadline: float) -> None:
        """Log in again on the same channel, so that what hangs on the connection lives on."""
        with holding(self._renewing, deadline):
            if channel.logins == logins:
                self._log_in(channel, deadline)

    def _log_in(self, channel: Channel, deadline: float) -> None:
        try:
            self._login(channel, deadline)
        except TransportError as error:
            # What was sent is the login's: the call itself has not left, or was refused.
            error.sent = False
            raise
        channel.logins += 1

    def _open_pool(self) -> ChannelPool:
        if self._pool is None:
            self._raise(ClientStateError("not connected: call connect() first, or use `with`"))
        return self._pool

    def _adopted(self, error: OstiaryError) -> OstiaryError:
        return adopt(error, self._family)

    def _raise(self, error: OstiaryError) -> NoReturn:
        adopted = adopt(error, self._family)
        if adopted is error:
            raise error
        raise adopted from error.__cause__
