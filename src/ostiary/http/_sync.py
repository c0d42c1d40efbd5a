# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""The public pool: requests to one HTTP service, retried where they may be.

Follows no redirect and uses no proxy of the environment. Neighbours: `_io` sends one request
once; the domains are built on `call` and `call_events`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, final, overload

import msgspec
from msgspec import UNSET, UnsetType

from .._decoders import decoder_of
from .._io import blocking_http
from .._io.blocking_http import EventStream
from .._io.sockets import deadline_after
from .._retry import FIRST_CEILING, LAST_CEILING, RetryPolicy
from .._route import REPEATABLE, Route, encode_json, unreadable
from .._wire.http1 import Response
from .._wire.sse import EventDecoder
from .._wire.target import Target
from ..config import (
    IDLE_EXPIRY,
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_IDLE,
    MAX_RETRIES,
    TIMEOUT,
    AddressLike,
    Limits,
    timeout_seconds,
)
from ..errors import (
    ClientStateError,
    InvalidArgumentError,
    OstiaryError,
    ProtocolError,
    adopt,
)
from ..secret import Secret
from . import _given as given
from ._attempts._sync import Attempts, ResponseStream
from ._colours import Credentials, Family
from ._heads import ANYTHING, EVENTS, JSON, HeaderLines, Heads
from ._replies import is_events
from .connections import Connections
from .hooks import RequestInfo, ResponseInfo, RetryInfo
from .settings import Parser, PoolSettings

if TYPE_CHECKING:
    import ssl

    from .._wire.request import RequestHead
    from .._wire.target import Query

__all__ = ["Pool", "ResponseStream"]

T = TypeVar("T")

_MOST_PLANS: Final = 1024

# Accept, and whether the body is JSON: with the method, what a prebuilt head depends on.
_PLAIN: Final = (JSON, False)
_WITH_JSON: Final = (JSON, True)

_SUCCESS: Final[frozenset[int]] = frozenset()
_OR_UNCHANGED: Final = frozenset({304})
_OR_MISSING: Final = frozenset({404})

_SHARED: Final[Family] = MappingProxyType({})


@final
class _Plan:
    """A route as one pool calls it."""

    __slots__ = ("bare", "build", "fine", "json", "name", "target")

    def __init__(self, route: Route[Any], prefix: str, heads: Heads) -> None:
        target = Target(prefix + route.template) if prefix else route.target
        self.build = target.build
        self.target = None if target.fields else target.build()
        self.bare = heads.head(route.method, *_PLAIN)
        self.json = heads.head(route.method, *_WITH_JSON)
        self.fine = _OR_MISSING if route.missing else _SUCCESS
        self.name = f"{route.method} {route.template}"


class Pool:
    """Connections to one HTTP service, opened when they are needed (docs/http.md).

    Use it as a context manager, or call `close`. `timeout` bounds a whole call, retries
    included. Every error is an `OstiaryError`.
    """

    __slots__ = (
        "__weakref__",
        "_attempts",
        "_closed",
        "_connections",
        "_family",
        "_heads",
        "_leaf",
        "_lines",
        "_plans",
        "_settings",
        "_ssl_context",
        "_timeout",
    )

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str | Secret] | HeaderLines | None = None,
        credentials: Credentials | None = None,
        connections: Connections | None = None,
        user_agent: str | Callable[[], str] | None = None,
        timeout: float | None = TIMEOUT,
        idle_timeout: float | None = IDLE_TIMEOUT,
        total_timeout: float | None = None,
        pool_timeout: float | None = None,
        max_retries: int = MAX_RETRIES,
        backoff: float = FIRST_CEILING,
        max_connections: int = MAX_CONNECTIONS,
        max_idle: int = MAX_IDLE,
        idle_expiry: float = IDLE_EXPIRY,
        limits: Limits | None = None,
        parser: Parser | None = None,
        ssl_context: ssl.SSLContext | None = None,
        expected_uid: int | None = None,
        compression: bool | None = None,
        connect_to: AddressLike | None = None,
        adaptive: bool = False,
        on_request: Callable[[RequestInfo], object] | None = None,
        on_response: Callable[[ResponseInfo], object] | None = None,
        on_retry: Callable[[RetryInfo], object] | None = None,
        family: Family = _SHARED,
    ) -> None:
        """Describe a pool; nothing is opened.

        `base_url` is `http://host[:port][/prefix]`, `https://...`,
        `http+unix://<percent-encoded socket path>[/prefix]` or `unix:///path/to/socket`.

        `headers` go with every request; the value of one that is a `Secret`, or that is known
        to carry a key, stays hidden. `credentials` is called before every attempt and returns
        headers too, which win over all others. `connections` are shared with other pools.

        Times are seconds, None is no limit. `timeout` bounds a call, and a stream up to its
        head; `idle_timeout` the gap between the parts of a stream, `total_timeout` the whole
        of it; `pool_timeout` the wait for a connection when `max_connections` are in use.
        `max_idle` idle ones are kept for `idle_expiry`. Before the first retry it waits at most
        `backoff`, before each next one twice that, as chance will have it.

        `parser="h11"` has h11 read every response; left out, the variable
        `OSTIARY_HTTP_PARSER` decides. `ssl_context` takes the place of the default one, for
        https. `expected_uid` refuses a Unix socket whose server runs as somebody else.
        `compression` asks for compressed bodies; left out, over TCP only. `connect_to`, a host
        or `host:port`, is dialled in place of the URL's: its name still stands in Host, and in
        the certificate. `adaptive` has the process learn how many requests the server bears at
        once, and send no more (docs/limits.md).

        `on_request`, `on_response` and `on_retry` are plain functions that are called with
        what `ostiary.http.hooks` describes. `family` gives errors a domain's own classes.
        """
        # Hidden first: a traceback records the locals of every frame that raises.
        lines = HeaderLines()
        try:
            if isinstance(headers, HeaderLines):
                lines.take(headers)
            elif headers is not None:
                lines.add(headers)
        finally:
            del headers
        given.check_credentials(credentials, self.request)
        if connections is not None and not isinstance(connections, Connections):
            raise InvalidArgumentError("connections is an ostiary.http.Connections")
        given.check_hook("on_request", on_request)
        given.check_hook("on_response", on_response)
        given.check_hook("on_retry", on_retry)
        settings = PoolSettings.resolve(
            base_url,
            user_agent=user_agent,
            timeout=timeout,
            idle_timeout=idle_timeout,
            total_timeout=total_timeout,
            pool_timeout=pool_timeout,
            max_retries=max_retries,
            backoff=backoff,
            max_connections=max_connections,
            max_idle=max_idle,
            idle_expiry=idle_expiry,
            limits=limits,
            parser=parser,
            expected_uid=expected_uid,
            compression=compression,
            connect_to=connect_to,
            adaptive=adaptive,
        )
        if ssl_context is not None and not settings.base.tls:
            raise InvalidArgumentError(
                "ssl_context is given, but the base URL does not begin with https://"
            )
        self._configure(
            settings,
            lines,
            family,
            ssl_context=ssl_context,
            credentials=credentials,
            connections=connections,
            on_request=on_request,
            on_response=on_response,
            on_retry=on_retry,
        )

    def _configure(
        self,
        settings: PoolSettings,
        lines: HeaderLines,
        family: Family,
        *,
        ssl_context: ssl.SSLContext | None = None,
        credentials: Credentials | None = None,
        connections: Connections | None = None,
        on_request: Callable[[RequestInfo], object] | None = None,
        on_response: Callable[[ResponseInfo], object] | None = None,
        on_retry: Callable[[RetryInfo], object] | None = None,
    ) -> None:
        self._settings = settings
        self._lines = lines
        self._family = family
        self._timeout = settings.timeout
        self._heads = Heads(
            settings.base.host,
            lines,
            user_agent=settings.user_agent,
            compression=settings.compression,
        )
        self._attempts = Attempts(
            settings.base,
            self._heads,
            RetryPolicy(
                max_retries=settings.max_retries,
                first_ceiling=settings.backoff,
                last_ceiling=max(settings.backoff, LAST_CEILING),
            ),
            credentials,
            on_request,
            on_response,
            on_retry,
            settings.way(),
        )
        self._plans: dict[Route[Any], _Plan] = {}
        self._closed = False
        self._ssl_context = ssl_context
        self._connections = connections
        if connections is None:
            self._leaf = Connections.own(settings, ssl_context)
        else:
            self._leaf = connections.take(self, settings, ssl_context)

    @property
    def base_url(self) -> str:
        """Where this pool's requests go."""
        return str(self._settings.base)

    @property
    def settings(self) -> PoolSettings:
        """How this pool behaves; frozen, and without secrets."""
        return self._settings

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle and shared ones included."""
        return self._leaf.open_connections

    @property
    def idle_connections(self) -> int:
        """How many connections are open and unused."""
        return self._leaf.idle_connections

    @property
    def waiting(self) -> int:
        """How many calls wait for a connection, or for their turn under an adaptive limit."""
        way = self._attempts.way
        return self._leaf.waiting + (0 if way is None else way.waiting)

    @property
    def adaptive_limit(self) -> int | None:
        """How many requests may be under way to this server, from the whole process, as it is
        learned now; None without `adaptive`.
        """
        way = self._attempts.way
        return None if way is None else way.limit

    def __repr__(self) -> str:
        if not hasattr(self, "_leaf"):  # its constructor refused
            return f"<{type(self).__name__}, not configured>"
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {self.base_url}, {state}>"

    # A pool travels as its settings and the headers that are no secrets; credentials, hooks
    # and TLS context stay behind. It connects when it is used on the other side.
    def __reduce__(self) -> tuple[Callable[..., Pool], tuple[object, ...]]:
        return _restore, (
            type(self),
            self._settings,
            self._lines.public(),
            dict(self._family),
        )

    # --- closing

    def close(self) -> None:
        """Close every connection, those in use too; calls under way end with an error. Final.

        Connections that are shared are closed with the last pool that uses them.
        """
        closed, self._closed = self._closed, True
        if self._attempts.way is not None:
            self._attempts.way.close()
        if self._connections is None:
            self._leaf.close()
        elif not closed:
            self._leaf = self._connections.give_back(self, self._settings, self._ssl_context)

    def __enter__(self) -> Self:
        if self._closed:
            raise adopt(ClientStateError("the pool is closed; make another one"), self._family)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- requests

    def request(
        self,
        method: str,
        path: str | bytes,
        *,
        query: Query | None = None,
        json: object = UNSET,
        body: bytes | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
        check: bool = True,
    ) -> Response:
        """Send a request and return its whole response.

        `path` begins with `/`, stands behind the base URL's prefix and is percent-encoded
        already; `query` is encoded here. `json` is anything msgspec can encode; None is sent
        as `null`.

        GET, HEAD, PUT, DELETE and OPTIONS are sent again when the connection is lost or the
        status is 429, 502, 503 or 504; any other method only when nothing was sent, on 429,
        or with an `idempotency_key`: text of your own, or True for a new one.

        Raises the `APIError` of the status for anything but 2xx and 304. With `check=False`
        the last response is returned whatever its status.
        """
        try:
            return self._attempts.run(
                self._leaf.fetch,
                *self._prepared(method, path, query, json, body, ANYTHING),
                given.lines(headers, idempotency_key),
                self._deadline(timeout),
                method.upper() in REPEATABLE,
                given.shown(path),
                _OR_UNCHANGED,
                check,
                None,
            )
        except OstiaryError as error:
            # A traceback records the locals of the frames that raise.
            del path, query, json, body, headers, idempotency_key
            raise adopt(error, self._family) from error.__cause__

    def stream(
        self,
        method: str,
        path: str | bytes,
        *,
        query: Query | None = None,
        json: object = UNSET,
        body: bytes | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float | UnsetType | None = UNSET,
        idle_timeout: float | UnsetType | None = UNSET,
        total_timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
        check: bool = True,
    ) -> ResponseStream:
        """Send a request and return once the response's head has come; read the body from it.

        Use what it returns as a context manager, or close it. `timeout` ends with the head;
        each piece of the body is waited for at most `idle_timeout`, all of it `total_timeout`.
        Nothing is sent again once the head has come. Otherwise as `request`.
        """
        try:
            until = self._stream_deadline(total_timeout)
            idle = self._idle(idle_timeout)
            opened = self._attempts.run(
                self._leaf.open,
                *self._prepared(method, path, query, json, body, ANYTHING),
                given.lines(headers, idempotency_key),
                min(self._deadline(timeout), until),
                method.upper() in REPEATABLE,
                given.shown(path),
                _OR_UNCHANGED,
                check,
                None,
            )
            return ResponseStream(
                opened,
                idle,
                until,
                self._settings.limits.decompressed_body,
                self._family,
            )
        except OstiaryError as error:
            del path, query, json, body, headers, idempotency_key
            raise adopt(error, self._family) from error.__cause__

    @overload
    def events(
        self,
        method: str,
        path: str | bytes,
        *,
        type: None = None,
        terminator: bytes | None = None,
        last_event_id: str | None = None,
        query: Query | None = None,
        json: object = UNSET,
        body: bytes | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float | UnsetType | None = UNSET,
        idle_timeout: float | UnsetType | None = UNSET,
        total_timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> EventStream[str]: ...
    @overload
    def events(
        self,
        method: str,
        path: str | bytes,
        *,
        type: type[T],
        terminator: bytes | None = None,
        last_event_id: str | None = None,
        query: Query | None = None,
        json: object = UNSET,
        body: bytes | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float | UnsetType | None = UNSET,
        idle_timeout: float | UnsetType | None = UNSET,
        total_timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> EventStream[T]: ...
    def events(
        self,
        method: str,
        path: str | bytes,
        *,
        type: Any = None,
        terminator: bytes | None = None,
        last_event_id: str | None = None,
        query: Query | None = None,
        json: object = UNSET,
        body: bytes | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float | UnsetType | None = UNSET,
        idle_timeout: float | UnsetType | None = UNSET,
        total_timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> EventStream[Any]:
        """Send a request whose response is an event stream, and return its events.

        Use what it returns as a context manager, or close it. `type` is what each event's
        data is decoded to as JSON; without it, data is text. `terminator` is the data that
        ends the stream, such as `b"[DONE]"`; a response that ends without it raises
        `ConnectionLostError` then. `last_event_id` says where to resume.

        Raises `ProtocolError` when the response is no text/event-stream. The first event is
        waited for as long as any other, `idle_timeout`. Otherwise as `stream`.
        """
        try:
            until = self._stream_deadline(total_timeout)
            idle = self._idle(idle_timeout)
            opened = self._attempts.run(
                self._leaf.open,
                *self._prepared(method, path, query, json, body, EVENTS),
                given.lines(headers, idempotency_key, last_event_id),
                min(self._deadline(timeout), until),
                method.upper() in REPEATABLE,
                given.shown(path),
                _SUCCESS,
                True,
                None,
            )
            if not is_events(opened.headers):
                opened.close()
                raise ProtocolError(
                    f"{method} {given.shown(path)} was answered with something else than a "
                    "text/event-stream; read it with stream()",
                    sent=True,
                )
            decode = None if type is None else decoder_of(type).decode
            return self._events_of(opened, decode, terminator, idle, until)
        except OstiaryError as error:
            del path, query, json, body, headers, idempotency_key
            raise adopt(error, self._family) from error.__cause__

    # --- for the domains

    def call(
        self,
        route: Route[T],
        *ids: str | int,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> T:
        """Call `route` and return its decoded reply; `body` is encoded as JSON unless None.

        Raises what the route's `fail` makes of a reply that says no, and `ProtocolError` for
        one of the wrong shape.
        """
        try:
            plan = self._plans.get(route) or self._plan(route)
            response = self._attempts.run(
                self._leaf.fetch,
                plan.bare if body is None else plan.json,
                _PLAIN if body is None else _WITH_JSON,
                plan.build(*ids, query=query)
                if ids or query or plan.target is None
                else plan.target,
                None if body is None else encode_json(body, plan.name),
                None
                if headers is None and idempotency_key is None
                else given.lines(headers, idempotency_key),
                deadline_after(self._timeout) if timeout is UNSET else self._deadline(timeout),
                route.repeatable,
                route.template,
                plan.fine,
                True,
                route.fail,
            )
            decode = route.decode
            if decode is None or response.status == 404:
                return None  # type: ignore[return-value]  # as the route's own type says
            try:
                return decode(response.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                failure = unreadable(
                    f"the reply to {plan.name}", error, empty=len(response.body) == 0
                )
            # Outside the handler: its exception may hold the bytes it failed on.
            try:
                raise failure
            finally:
                del failure  # a frame that refers to what it raised is a circle
        except OstiaryError as error:
            # A traceback records the locals of the frames that raise.
            del ids, query, body, headers, idempotency_key
            raise adopt(error, self._family) from error.__cause__

    def call_events(
        self,
        route: Route[T],
        *ids: str | int,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str | Secret] | None = None,
        terminator: bytes | None = None,
        decoder: EventDecoder[T] | None = None,
        last_event_id: str | None = None,
        timeout: float | UnsetType | None = UNSET,
        idle_timeout: float | UnsetType | None = UNSET,
        total_timeout: float | UnsetType | None = UNSET,
        idempotency_key: str | bool | None = None,
    ) -> EventStream[T]:
        """Call `route` and return the events of its response, decoded as the route's reply.

        The response may name any content type: the domain knows what it asked for. Errors
        that come while the events are read are of the shared classes, not of the family.
        `decoder`, made for this call alone, takes the place of the one made from `terminator`
        and the route; its owner sees what the response's end left in it.
        """
        try:
            plan = self._plans.get(route) or self._plan(route)
            until = self._stream_deadline(total_timeout)
            idle = self._idle(idle_timeout)
            kind = (EVENTS, body is not None)
            opened = self._attempts.run(
                self._leaf.open,
                self._heads.head(route.method, *kind),
                kind,
                plan.build(*ids, query=query),
                None if body is None else encode_json(body, plan.name),
                given.lines(headers, idempotency_key, last_event_id),
                min(self._deadline(timeout), until),
                route.repeatable,
                route.template,
                _SUCCESS,
                True,
                route.fail,
            )
            if decoder is not None:
                return opened.events(decoder, idle, until)
            return self._events_of(opened, route.decode, terminator, idle, until)
        except OstiaryError as error:
            del ids, query, body, headers, idempotency_key
            raise adopt(error, self._family) from error.__cause__

    def _plan(self, route: Route[Any]) -> _Plan:
        if len(self._plans) >= _MOST_PLANS:  # routes that are made anew for every call
            self._plans.clear()
        plan = self._plans[route] = _Plan(route, self._settings.base.prefix, self._heads)
        return plan

    def _events_of(
        self,
        opened: blocking_http.ResponseStream,
        decode: Callable[[Any], Any] | None,
        terminator: bytes | None,
        idle_timeout: float,
        until: float,
    ) -> EventStream[Any]:
        limits = self._settings.limits
        decoder: EventDecoder[Any]
        if decode is None:
            decoder = EventDecoder(limits.sse_line, limits.sse_event, terminator=terminator)
        else:
            decoder = EventDecoder(
                limits.sse_line, limits.sse_event, decode=decode, terminator=terminator
            )
        return opened.events(decoder, idle_timeout, until)

    def _prepared(
        self,
        method: str,
        path: str | bytes,
        query: Query | None,
        json: object,
        body: bytes | None,
        accept: str,
    ) -> tuple[RequestHead, tuple[str, bool], bytes, bytes | None]:
        """Return head, kind, target and body of a request."""
        try:
            kind = (accept, json is not UNSET)
            return (
                self._heads.head(given.verb(method), *kind),
                kind,
                given.target(self._settings.base.prefix, path, query),
                given.body(json, body),
            )
        finally:
            # A traceback records the locals of the frames that raise.
            del path, query, json, body

    def _deadline(self, timeout: float | UnsetType | None) -> float:
        return deadline_after(self._timeout if timeout is UNSET else timeout_seconds(timeout))

    def _stream_deadline(self, timeout: float | UnsetType | None) -> float:
        return deadline_after(
            self._settings.total_timeout if timeout is UNSET else timeout_seconds(timeout)
        )

    def _idle(self, timeout: float | UnsetType | None) -> float:
        return self._settings.idle_timeout if timeout is UNSET else timeout_seconds(timeout)


def _restore(
    cls: type[Pool], settings: PoolSettings, headers: dict[str, str], family: Family
) -> Pool:
    pool = cls.__new__(cls)
    lines = HeaderLines()
    lines.add(headers)
    pool._configure(settings, lines, family)  # pyright: ignore[reportPrivateUsage]
    return pool
