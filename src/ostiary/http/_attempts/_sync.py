# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""One call, any number of attempts: what is sent again, with what, and until when.

Knows no route and no base URL's prefix. Neighbours: `_io` makes one attempt; `_retry` decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, final

from ... import telemetry
from ..._io import blocking, blocking_http
from ..._io.sockets import deadline_after
from ..._retry import RetryBudget, RetryPolicy
from ..._wire.http1 import Response
from ...errors import OstiaryError, SizeLimitError, adopt, error_for_status
from .. import _given as given
from .._colours import Credentials, Family, HeldKey, Send
from .._heads import HeaderLines, Heads, traced
from .._replies import MAX_BODY, RETRYABLE, refusal, retry_after
from ..hooks import RequestInfo, ResponseInfo, RetryInfo

if TYPE_CHECKING:
    from ..._io.gate import Turn, Way
    from ..._route import Fail
    from ..._wire.headers import Headers
    from ..._wire.request import RequestHead
    from ..._wire.slab import View
    from ...config import BaseUrl

__all__ = ["Attempts", "ResponseStream"]

R = TypeVar("R", Response, blocking_http.ResponseStream)

# What is still read of a stream that was refused, whatever time its call has left.
_DRAIN_SECONDS: Final = 10.0


@final
class Attempts:
    """The attempts of one pool: their budget, credentials and hooks."""

    __slots__ = (
        "_base",
        "_budget",
        "_credentials",
        "_heads",
        "_held",
        "_on_request",
        "_on_response",
        "_on_retry",
        "_retry",
        "way",
    )

    def __init__(
        self,
        base: BaseUrl,
        heads: Heads,
        retry: RetryPolicy,
        credentials: Credentials | None,
        on_request: Callable[[RequestInfo], object] | None,
        on_response: Callable[[ResponseInfo], object] | None,
        on_retry: Callable[[RetryInfo], object] | None,
        way: Way | None,
    ) -> None:
        """`credentials` are asked before each attempt, `way` is that through an adaptive limit.

        The rest is as `Pool` has it.
        """
        self._base = base
        self._heads = heads
        self._retry = retry
        self._budget = RetryBudget()
        self._credentials: Callable[..., Any] | None
        self._held: HeldKey | None
        if credentials is None or callable(credentials):
            self._credentials, self._held = credentials, None
        else:
            self._credentials, self._held = credentials.headers, credentials
        self._on_request = on_request
        self._on_response = on_response
        self._on_retry = on_retry
        self.way = way

    def run(
        self,
        send: Send[R],
        head: RequestHead,
        kind: tuple[str, bool],
        target: bytes,
        body: bytes | None,
        lines: HeaderLines | None,
        deadline: float,
        repeatable: bool,
        path: str,
        fine: frozenset[int],
        check: bool,
        fail: Fail | None,
    ) -> R:
        """Send until there is a response worth returning, or an error worth raising.

        `fine` are the statuses that are returned beside 2xx. With `check` false all are, but
        those that may be tried again only when no attempt is left.
        """
        attempt = renewed = 0
        shown: HeaderLines | None = None
        while True:
            extra = lines
            if self._credentials is not None:
                shown = extra = self._shown(deadline)
                if lines is not None:
                    extra = lines.copied()
                    extra.take(shown)
            trace = telemetry.trace_headers
            if trace is not None:
                extra = traced(extra, trace())
            if extra is not None:
                if extra.lasting:
                    head = self._heads.whole(head.method, *kind, extra)
                    extra = None
                else:
                    head = self._heads.head(head.method, *kind, extra)
            if self._on_request is not None:
                self._on_request(RequestInfo(head.method, path, attempt + 1))
            started = 0.0 if self._on_response is None else time.monotonic()
            result: R | None = None
            again = False
            failure: OstiaryError
            try:
                if self.way is None:
                    result = send(head, target, body, extra, deadline)
                else:
                    result = self._in_turn(send, head, target, body, extra, deadline, path)
            except OstiaryError as error:
                failure = error
            else:
                status = result.status
                if self._on_response is not None:
                    self._tell(result, head.method, path, attempt, time.monotonic() - started)
                if 200 <= status < 300 or status in fine:
                    self._budget.earn()
                    return result
                # Refused before anything was done, so whatever it was may be sent again.
                if status == 401 and self._held is not None and shown is not None and not renewed:
                    again = self._held.renewed(shown, deadline)
                if check:
                    failure = refusal(
                        status,
                        result.headers,
                        self._body_of(result, deadline),
                        f"{head.method} {path}",
                        self._base,
                        fail,
                    )
                elif again or status in RETRYABLE:
                    failure = error_for_status(status)(
                        status=status, retry_after=retry_after(result.headers)
                    )
                else:
                    return result
            delay: float | None = 0.0
            if again:
                renewed = 1
            else:
                delay = self._retry.delay(
                    failure,
                    attempt - renewed,
                    deadline - time.monotonic(),
                    self._budget,
                    repeatable=repeatable or given.keyed(lines),
                )
            if delay is None:
                if result is not None and not check:
                    return result
                if attempt:
                    failure.attempts = attempt + 1
                # Neither may stand in the locals that a traceback records, nor a circle.
                del target, body, lines, extra, shown
                try:
                    raise failure
                finally:
                    del failure
            if result is not None and not isinstance(result, Response):
                result.close()
            if self._on_retry is not None:
                self._on_retry(
                    RetryInfo(
                        head.method,
                        path,
                        attempt + 1,
                        type(failure).__name__,
                        None if result is None else result.status,
                        delay,
                    )
                )
            del failure
            attempt += 1
            blocking.sleep(delay)

    def _in_turn(
        self,
        send: Send[R],
        head: RequestHead,
        target: bytes,
        body: bytes | None,
        extra: HeaderLines | None,
        deadline: float,
        path: str,
    ) -> R:
        """Make an attempt when the limit lets it through, and tell the limit how it went."""
        assert self.way is not None
        turn: Turn | None = None
        status: int | None = None
        started = 0.0
        try:
            turn = self.way.enter(f"{head.method} {path}", deadline)
            started = time.monotonic()
            result = send(head, target, body, extra, deadline)
            status = result.status
            return result
        finally:
            del target, body, extra  # a traceback records the locals
            if turn is not None:
                turn.answered(time.monotonic() - started, status)

    def _shown(self, deadline: float) -> HeaderLines:
        """Return the headers that show who is asking."""
        ask: Any = self._credentials
        found = ask() if self._held is None else ask(deadline)
        try:
            if isinstance(found, HeaderLines):
                return found  # a domain's, made once for as long as its credentials last
            lines = HeaderLines()
            lines.add(found)
            return lines
        finally:
            del found  # as plain text, perhaps: a traceback records the locals

    def _tell(self, result: R, method: str, path: str, attempt: int, seconds: float) -> None:
        assert self._on_response is not None
        try:
            self._on_response(
                ResponseInfo(
                    method,
                    path,
                    attempt + 1,
                    result.status,
                    seconds,
                    len(result.body) if isinstance(result, Response) else None,
                )
            )
        except BaseException:
            if not isinstance(result, Response):
                result.close()
            raise

    def _body_of(self, result: R, deadline: float) -> bytes:
        """Return what is kept of a failed response's body, and be done with the response."""
        if isinstance(result, Response):
            return bytes(memoryview(result.body)[:MAX_BODY])
        kept = bytearray()
        until = min(deadline, deadline_after(_DRAIN_SECONDS))
        try:
            while len(kept) < MAX_BODY:
                piece = result.next_piece(until)
                if piece is None:
                    break
                kept += memoryview(piece)[: MAX_BODY - len(kept)]
        except OstiaryError:
            pass  # the status is what counts
        finally:
            result.close()
        return bytes(kept)


@final
class ResponseStream:
    """A response whose body is read as it comes.

    Iterate over it for the pieces, or `read` the rest at once. It holds a connection until
    its body ended or it is closed; closed before the end, it closes the connection too.
    """

    __slots__ = ("_family", "_idle_timeout", "_leaf", "_limit", "_until")

    def __init__(
        self,
        leaf: blocking_http.ResponseStream,
        idle_timeout: float,
        until: float,
        limit: int,
        family: Family,
    ) -> None:
        """A pool's `stream` makes them."""
        self._leaf = leaf
        self._idle_timeout = idle_timeout
        self._until = until
        self._limit = limit
        self._family = family

    @property
    def status(self) -> int:
        """The response's status."""
        return self._leaf.status

    @property
    def headers(self) -> Headers:
        """The response's headers."""
        return self._leaf.headers

    @property
    def informational(self) -> tuple[Response, ...]:
        """The 1xx responses that came before this one."""
        return self._leaf.informational

    @property
    def trailers(self) -> Headers:
        """What followed a chunked body; empty before its end."""
        return self._leaf.trailers

    @property
    def closed(self) -> bool:
        """Whether the connection was given back or closed."""
        return self._leaf.closed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}, {'closed' if self.closed else 'open'}>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes | View:
        """Return the next bytes of the body, its content coding undone."""
        try:
            piece = self._leaf.next_piece(min(self._until, deadline_after(self._idle_timeout)))
        except OstiaryError as error:
            raise adopt(error, self._family) from error.__cause__
        if piece is None:
            raise StopIteration
        return piece

    def read(self, limit: int | None = None) -> bytes:
        """Return the rest of the body; `SizeLimitError` when it is longer than `limit` bytes.

        Unless given, `limit` is the pool's `Limits.decompressed_body`.
        """
        most = self._limit if limit is None else limit
        pieces: list[bytes | View] = []
        size = 0
        for piece in self:
            size += len(piece)
            if size > most:
                self._leaf.close()
                error = SizeLimitError(f"the body is longer than {most} bytes", sent=True)
                raise adopt(error, self._family)
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the connection at once, unless the body has ended."""
        self._leaf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._leaf.close()
