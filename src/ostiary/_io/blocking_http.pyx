"""HTTP/1.1 without an event loop: one exchange per call, or a body read as it comes.

`_wire/http1` reads the responses and `blocking_pool` lends the connections; retries and
credentials are above. Twin of `aio_http`, same names.

Law: a connection goes back to the pool only when the response was read to its end and said
that another may follow; whatever else happened, it is closed.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY

from .._wire.http1 cimport HEAD, NEED, PIECE, WHOLE, Response, ResponseReader
from .._wire.request cimport RequestHead
from .._wire.slab cimport borrow, unpinned
from .._wire.sse cimport EventDecoder
from .blocking_pool cimport ChannelPool
from .sockets cimport now, too_quiet, wait
from .stream cimport Stream

from ..errors import (
    ClientStateError,
    ConnectionLostError,
    DeadlineError,
    OstiaryError,
    SizeLimitError,
    TransportError,
)

cdef enum:
    # Below this a copy costs less than a second place to send from.
    JOINED = 8 * 1024

# How long the end of a response may come behind the event that ended its stream.
cdef double LAST_CHUNK = 0.005
# How long a peer that stopped reading is listened to: it may have answered before that.
cdef double LAST_WORDS = 1.0


@cython.final
cdef class HttpConnection(Stream):
    def __init__(self):
        raise TypeError("a pool makes its connections")

    cdef Response fetch(self, RequestHead head, bytes target, bytes body, extra, double deadline):
        cdef Response response
        self.enter()
        try:
            self.ask(head, target, body, extra, False, deadline)
            response = self._reader.claim()
            self._doomed = self._doomed or not self._reader.reusable
            if response.coded:
                response.undo_coding(self._max_plain)
            return response
        finally:
            self.leave()

    cdef int ask(
        self, RequestHead head, bytes target, bytes body, extra, bint streams, double deadline
    ) except -1:
        """Send a request and read up to its first outcome: WHOLE, or HEAD when it streams."""
        cdef int outcome
        head.write(
            self._out, target, -1 if body is None else PyBytes_GET_SIZE(body), extra
        )
        doomed = self._doomed
        self._doomed = True
        try:
            self._reader.ask(head.verb, streams)
            outcome = self._push(body, deadline)
            while outcome == NEED:
                outcome = self.pull(deadline)
        except TransportError as error:
            error.sent = error.sent or self._sent
            raise
        if self._out.end == 0:      # all of the request has left
            self._doomed = doomed
        return outcome

    cdef int _push(self, bytes body, double deadline) except -1:
        """Send the request; return NEED, or what a peer that did not wait for it answered.

        The outbox is empty afterwards if everything has left.
        """
        cdef:
            const char *out
            const char *more = NULL
            Py_ssize_t size, more_size = 0, count, sent = 0
            bytes records
            int outcome
        if body is not None:
            if PyBytes_GET_SIZE(body) <= JOINED or self._tls is not None:
                self._out.append(body)
            else:
                more = PyBytes_AS_STRING(body)
                more_size = PyBytes_GET_SIZE(body)
        out = self._out.data
        size = self._out.end
        if self._tls is not None:
            records = self._tls.encrypt(PyBytes_FromStringAndSize(out, size))
            out = PyBytes_AS_STRING(records)
            size = PyBytes_GET_SIZE(records)
        while sent < size + more_size:
            try:
                if sent < size:
                    count = self.send_both_now(out + sent, size - sent, more, more_size)
                else:
                    count = self.send_now(more + (sent - size), size + more_size - sent)
            except ConnectionLostError:
                outcome = self._heard(min(deadline, now() + LAST_WORDS))
                if outcome == NEED:
                    raise
                return outcome
            sent += count
            if count == 0:
                wait(self._fd, True, True, deadline)
                outcome = self._heard(0)
                if outcome != NEED:
                    return outcome
        self._out.clear()
        return NEED

    cdef int _heard(self, double deadline) except -1:
        """Read what a peer says before it has the whole request; with a deadline, wait for it."""
        cdef int outcome
        if self._slab is None:
            self._slab = borrow()
        self._slab = unpinned(self._slab)
        if deadline == 0:
            if self.receive_now(self._slab, INFINITY) == 0:
                return NEED
            return self._reader.advance(self._slab)
        try:
            outcome = NEED
            while outcome == NEED:
                outcome = self.pull(deadline)
            return outcome
        except TransportError:
            return NEED

    cdef int pull(self, double deadline) except -1:
        """Receive once and read on."""
        if self._slab is None:
            self._slab = borrow()
        else:
            self._slab = unpinned(self._slab)
        try:
            self.receive(self._slab, deadline)
        except ConnectionLostError:
            if not self._ended or not self._reader.begun(self._slab):
                raise
        else:
            return self._reader.advance(self._slab)
        return self._reader.end(self._slab)


@cython.final
@cython.internal
cdef class _Opener:
    """Opens connections for a pool. Not the HttpPool itself, which would be a cycle."""
    cdef object address, ssl_context, expected_uid, limits
    cdef str parser

    def __call__(self, double deadline):
        cdef HttpConnection connection = HttpConnection.__new__(HttpConnection)
        connection.establish(self.address, deadline, self.ssl_context, self.expected_uid)
        connection._reader = ResponseReader(
            head=self.limits.head,
            header_count=self.limits.header_count,
            body=self.limits.body,
            parser=self.parser,
        )
        connection._max_plain = self.limits.decompressed_body
        return connection


@cython.final
cdef class HttpPool:
    def __init__(
        self,
        address,
        *,
        limits,
        str parser="strict",
        ssl_context=None,
        expected_uid=None,
        Py_ssize_t max_connections,
        Py_ssize_t max_idle,
        double idle_expiry,
        pool_timeout=None,
    ):
        cdef _Opener opener = _Opener.__new__(_Opener)
        opener.address = address
        opener.limits = limits
        opener.parser = parser
        opener.ssl_context = ssl_context
        opener.expected_uid = expected_uid
        ResponseReader(parser=parser)       # refuses a parser that is not known
        self._max_plain = limits.decompressed_body
        self._pool = ChannelPool(
            opener, max_connections, max_idle=max_idle, expiry=idle_expiry, patience=pool_timeout
        )

    @property
    def open_connections(self):
        return self._pool.counts[0]

    @property
    def idle_connections(self):
        return self._pool.counts[1]

    @property
    def waiting(self):
        return self._pool.counts[2]

    def fetch(
        self, RequestHead head not None, bytes target not None, bytes body, extra,
        double deadline, /
    ):
        cdef HttpConnection connection = <HttpConnection>self._pool.take(deadline)
        try:
            return connection.fetch(head, target, body, extra, deadline)
        finally:
            self._pool.give(connection)

    def open(
        self, RequestHead head not None, bytes target not None, bytes body, extra,
        double deadline, /
    ):
        cdef:
            HttpConnection connection = <HttpConnection>self._pool.take(deadline)
            ResponseStream stream = ResponseStream.__new__(ResponseStream)
            int outcome
        try:
            connection.enter()
        except BaseException:
            self._pool.give(connection)
            raise
        stream._pool = self._pool
        try:
            outcome = connection.ask(head, target, body, extra, True, deadline)
        except BaseException:
            # Not always the end of it: a head that was refused left nothing on it.
            connection.leave()
            self._pool.give(connection)
            raise
        stream._connection = connection
        try:
            stream._response = connection._reader.response
            if stream._response.coded:
                from .._wire.coding import ContentDecoder

                stream._plain = ContentDecoder(
                    stream._response.headers["content-encoding"], limit=self._max_plain
                )
        except BaseException:
            stream._give_up()
            raise
        if outcome == WHOLE:
            stream._finish()
        return stream

    def close(self):
        self._pool.close()

    def abandon(self):
        self._pool.abandon()


@cython.final
cdef class ResponseStream:
    def __init__(self):
        raise TypeError("open one with a pool")

    def __del__(self):
        self._give_up()

    @property
    def status(self):
        return self._response.status

    @property
    def headers(self):
        return self._response.headers

    @property
    def trailers(self):
        return self._response.trailers

    @property
    def informational(self):
        return self._response.informational

    @property
    def closed(self):
        return self._connection is None

    cdef int advance(self, double deadline) except -1:
        """Read on to a PIECE, or to WHOLE; the connection is given back then, or on an error."""
        cdef:
            HttpConnection connection = self._connection
            int outcome
        if connection is None:
            return WHOLE
        if self._reading:
            raise ClientStateError("another thread is reading this response")
        self._reading = True
        try:
            outcome = connection._reader.advance(connection._slab)
            while outcome == NEED or outcome == HEAD:
                outcome = connection.pull(deadline)
        except BaseException as error:
            self._reading = False
            if isinstance(error, TransportError):
                error.sent = True
            self._give_up()
            raise
        self._reading = False
        if outcome == WHOLE:
            self._finish()
        return outcome

    cdef int _finish(self) except -1:
        """The body was read to its end."""
        cdef HttpConnection connection = self._connection
        self._connection = None
        connection._reader.claim()
        connection._doomed = connection._doomed or not connection._reader.reusable
        connection.leave()
        self._pool.give(connection)
        return 0

    cdef int _give_up(self) except -1:
        cdef HttpConnection connection = self._connection
        if connection is not None:
            self._connection = None
            connection._doomed = True
            connection.leave()
            self._pool.give(connection)
        return 0

    def next_piece(self, double deadline, /):
        cdef HttpConnection connection
        cdef int outcome
        while True:
            if self._parts is not None:
                part = self.next_part()
                if part is not None:
                    return part
            if self._connection is None:
                return None
            outcome = self.advance(deadline)
            if outcome == WHOLE:
                if self._plain is not None:
                    self._plain.finish()
                return None
            connection = self._connection
            piece = connection._reader.take(connection._slab)
            if self._plain is None:
                return piece
            self._parts = self._plain.feed(piece)

    cdef object next_part(self):
        """Return more of what the last piece decodes to, or None."""
        try:
            part = next(self._parts, None)
        except BaseException:
            self._give_up()
            raise
        if part is None:
            self._parts = None
        return part

    def read(self, Py_ssize_t limit, double deadline, /):
        cdef list pieces = []
        cdef Py_ssize_t size = 0
        while True:
            piece = self.next_piece(deadline)
            if piece is None:
                return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
            size += len(piece)
            if size > limit:
                self._give_up()
                raise SizeLimitError(
                    f"the body is longer than {limit} bytes; the connection is closed", sent=True
                )
            pieces.append(piece)

    def events(self, EventDecoder decoder not None, double idle_timeout, double deadline, /):
        cdef EventStream events = EventStream.__new__(EventStream)
        events._stream = self
        events._decoder = decoder
        events._ready = []
        events._idle_timeout = idle_timeout
        events._deadline = deadline
        return events

    def finish(self, double grace=LAST_CHUNK):
        cdef:
            HttpConnection connection = self._connection
            double deadline = now() + grace
            int outcome
        if connection is None:
            return
        if self._reading:
            connection.close()      # its reader ends with an error, and gives it back
            return
        try:
            outcome = connection._reader.advance(connection._slab)
            if outcome == NEED and grace <= 0:
                outcome = connection._heard(0)
            while outcome == PIECE or (outcome == NEED and now() < deadline):
                if outcome == PIECE:
                    outcome = connection._reader.advance(connection._slab)
                else:
                    outcome = connection.pull(deadline)
            if outcome == WHOLE:
                self._finish()
                return
        except OstiaryError:
            pass
        self._give_up()

    def close(self):
        # A body whose last bytes are here already costs nobody a connection.
        self.finish(0)


@cython.final
cdef class EventStream:
    def __init__(self):
        raise TypeError("a response makes its events")

    @property
    def status(self):
        return self._stream.status

    @property
    def headers(self):
        return self._stream.headers

    @property
    def last_event_id(self):
        return self._decoder.last_event_id

    @property
    def retry(self):
        return self._decoder.retry

    @property
    def comments(self):
        return self._decoder.comments

    @property
    def done(self):
        return self._decoder.done

    @property
    def closed(self):
        return self._stream.closed

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        if self._at == len(self._ready):
            self._fill()
            if self._at == len(self._ready):
                if self._failure is not None:
                    failure, self._failure = self._failure, None
                    raise failure
                raise StopIteration
        event = self._ready[self._at]
        self._at += 1
        return event

    cdef int _fill(self) except -1:
        """Read on until an event is ready or there are no more."""
        cdef:
            double given = min(self._deadline, now() + self._idle_timeout)
            int outcome
        self._ready.clear()
        self._at = 0
        while not self._ready and not self._over:
            try:
                if self._stream._parts is not None:
                    part = self._stream.next_part()
                    if part is not None:
                        self._decoder.feed(part, self._ready)
                        self._end_if_done()
                    continue
                # Fixed once, so that comments do not move it.
                outcome = self._stream.advance(given)
                self._take(outcome)
            except DeadlineError:
                self._over = True
                self._failure = too_quiet(given < self._deadline, self._idle_timeout)
            except OstiaryError as error:
                self._over = True
                self._failure = error
                self._stream.close()
        return 0

    cdef int _end_if_done(self) except -1:
        if self._decoder.done:
            self._over = True
            self._stream.finish(LAST_CHUNK)
        return 0

    cdef int _take(self, int outcome) except -1:
        cdef HttpConnection connection
        if outcome == PIECE:
            connection = self._stream._connection
            if self._stream._plain is None:
                self._decoder.take(
                    connection._reader.piece, connection._reader.piece_size, self._ready
                )
                self._end_if_done()
            else:
                self._stream._parts = self._stream._plain.feed(
                    connection._reader.take(connection._slab)
                )
        else:
            self._over = True
            if self._stream._plain is not None:
                self._stream._plain.finish()
            if self._decoder._terminator is not None and not self._decoder.done:
                raise ConnectionLostError(
                    "the event stream ended without its end mark; what came may not be all",
                    sent=True,
                )
        return 0

    def close(self):
        self.finish(0)

    def finish(self, double grace=LAST_CHUNK):
        self._over = True
        self._failure = None
        self._ready.clear()
        self._at = 0
        self._stream.finish(grace)
