"""HTTP/1.1 on an event loop: one exchange at a time per connection, many connections.

A request that finds no idle connection waits as data, not as a task: whichever connection is
free first sends it, in the callback that read the last response. Twin of `blocking_http`,
same names.

Law: a connection goes back to the pool only when the response was read to its end and said
that another may follow; whatever else happened, a cancelled call included, it is closed.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.math cimport INFINITY
from libc.string cimport memcpy

from .._pool cimport Roster, Ticket
from .._wire.http1 cimport HEAD, NEED, PIECE, Response, ResponseReader
from .._wire.outbox cimport Outbox
from .._wire.request cimport RequestHead
from .._wire.slab cimport Slab, borrow, give_back, unpinned
from .._wire.sse cimport EventDecoder
from .aio cimport another_loop
from .readers cimport Reader, Readers
from .sockets cimport (
    fork_count,
    lost,
    now,
    out_of_time,
    say_farewell,
    sys_peek,
    sys_recv,
    sys_send,
    sys_send_both,
    too_quiet,
)

from collections import deque
from weakref import ref

from ..errors import (
    ClientStateError,
    ConnectionLostError,
    DeadlineError,
    OstiaryError,
    ProtocolError,
    SizeLimitError,
    TransportError,
)
from .aio_connect import establish
from .sockets import forget_after_fork

cdef enum:
    READ_BYTES = 16 * 1024
    # Below this a copy costs less than a second place to send from.
    JOINED = 8 * 1024
    # A reader that is this far behind is waited for.
    BUFFERED = 256 * 1024

# Deadlines are checked together, at most this often.
cdef double SWEEP_EVERY = 0.005
# How long the end of a response may come behind the event that ended its stream.
cdef double LAST_CHUNK = 0.5

cdef object get_running_loop = None


cdef object _running_loop():
    """Import asyncio with the first asynchronous client: it costs 30 ms."""
    global get_running_loop
    if get_running_loop is None:
        import asyncio

        get_running_loop = asyncio.get_running_loop
    return get_running_loop()


@cython.final
cdef class _Exchange(Ticket):
    cdef int fail(self, error) except -1:
        """End it with an error, behind what has come of a stream."""
        if self.future is not None:
            if not self.future.done():
                self.future.set_exception(error)
        elif not self.over:
            self.failure = error
            self.over = True
            self.wake()
        return 0

    cdef int wake(self) except -1:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        return 0

    def abort(self):
        """Nobody waits for it any more."""
        cdef AsyncHttpConnection connection = self.connection
        if self.drains:
            return
        self.over = True
        if connection is not None:
            self.connection = None
            connection._exchange = None
            connection.shut()
        elif self.queued:
            self.pool._roster.withdraw(self)
        else:
            self.pool._bound.pop(self, None)

    cdef int finish(self, double grace) except -1:
        """Nobody reads any more; give the response's end that many seconds to come."""
        if self.connection is None or grace <= 0:
            self.abort()
        elif not self.drains:
            self.over = self.drains = True
            self.connection.deadline = now() + grace
            self.pool.watch(self.connection.deadline)
            self.connection.resume()
        return 0

    cdef int give(self, ResponseReader reader, Slab slab) except -1:
        """Take the piece that the reader has."""
        if self.drains:
            return 0
        self.buffered += reader.piece_size
        if self.decoder is None:
            self.pieces.append(reader.take(slab))
        else:
            self.decoder.take(reader.piece, reader.piece_size, self.events)
            if self.decoder.done:
                self.finish(LAST_CHUNK)
        return 0

    cdef object next_part(self):
        """Return more of what the pieces decode to; None when more have to come first.

        A piece is decoded when its reader gets there: it may hold a thousand times its size.
        """
        try:
            while True:
                if self.parts is None:
                    if self.pieces:
                        self.parts = self.plain.feed(self.pieces.popleft())
                    elif self.over and self.failure is None and not self.plain_ended:
                        self.plain_ended = True
                        self.plain.finish()
                        return None
                    else:
                        return None
                part = next(self.parts, None)
                if part is not None:
                    return part
                self.parts = None
        except BaseException as error:
            self.parts = None
            self.abort()
            self.pieces.clear()
            self.plain_ended = True
            self.failure = error
            return None

    def decode(self, EventDecoder decoder):
        """Read the body as events from here on."""
        self.decoder = decoder
        self.events = []
        try:
            for piece in self.pieces:
                decoder.feed(piece, self.events)
        except OstiaryError as error:
            self.abort()
            self.failure = error
        self.pieces.clear()
        if decoder.done and not self.over:
            self.finish(LAST_CHUNK)


@cython.final
cdef class AsyncHttpConnection(Reader):
    def __init__(self):
        raise TypeError("a pool makes its connections")

    cdef bint is_stale(self) noexcept:
        """Whether this idle connection is closed, or holds bytes nobody asked for."""
        return self._fd < 0 or sys_peek(self._fd) >= 0 or errno != EAGAIN

    cdef int start(self, _Exchange exchange) except -1:
        """Send a request. A request that cannot be sent raises, and the connection is as before."""
        cdef bytes body = exchange.body
        exchange.head.write(
            self._out, exchange.target, -1 if body is None else PyBytes_GET_SIZE(body),
            exchange.extra,
        )
        self._reader.ask(exchange.head.verb, exchange.streams)
        self._exchange = exchange
        exchange.connection = self
        self.deadline = exchange.deadline
        self._sent = False
        self._push(body)
        return 0

    cdef int _push(self, bytes body) except -1:
        """Send what the kernel takes; the rest stays in the outbox and the loop calls again."""
        cdef:
            Outbox box = self._out
            bytes records
            ssize_t count
            Py_ssize_t size
        if self._tls is not None:
            if body is not None:
                box.append(body)
            records = self._tls.encrypt(PyBytes_FromStringAndSize(box.data, box.end))
            box.clear()
            box.append(records)
        elif body is not None:
            size = PyBytes_GET_SIZE(body)
            if size <= JOINED:
                box.append(body)
            else:
                count = sys_send_both(
                    self._fd, box.data, box.end, PyBytes_AS_STRING(body), size
                )
                if count < 0:
                    count = 0       # _flush meets the same error, or sends
                else:
                    self._sent = True
                if count < box.end:
                    box.start = count
                    box.append(body)
                else:
                    count -= box.end
                    box.clear()
                    box.reserve(size - count)
                    memcpy(box.data, PyBytes_AS_STRING(body) + count, size - count)
                    box.end = size - count
        self._flush()
        return 0

    cdef int _flush(self) except -1:
        cdef:
            Outbox box = self._out
            ssize_t count
        while box.start < box.end:
            count = sys_send(self._fd, box.data + box.start, box.end - box.start)
            if count >= 0:
                box.start += count
                self._sent = True
            elif errno == EAGAIN:
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(self._fd, self._writable_call)
                return 0
            elif errno != EINTR:
                # What the peer said before it stopped reading may be on its way; and where
                # there is nothing, reading tells.
                self._doomed = True
                break
        box.clear()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        return 0

    def _writable(self):
        if self._fd >= 0:
            self._flush()

    cdef int readable(self) except -1:
        cdef _Exchange exchange = self._exchange
        if self._fd < 0:
            return 0
        if exchange is None:
            self.shut()     # it ended, or holds bytes nobody asked for
            return 0
        if exchange.future is not None and exchange.future.done():
            exchange.abort()
            return 0
        try:
            self._receive()
        except OstiaryError as error:
            self._fail(error)
        except BaseException:
            # Not a peer's doing. Still nobody may be left to wait for what was read.
            self._fail(ProtocolError("a response could not be handled; the connection is closed"))
            raise
        return 0

    cdef int _receive(self) except -1:
        cdef:
            Slab slab = self._slab
            char raw[READ_BYTES]
            bytes plain, records
            ssize_t count
        if slab is None:
            slab = self._slab = borrow()
        elif slab.pins:
            slab = self._slab = unpinned(slab)
        if self._tls is None:
            if slab.cap == slab.end:
                slab.reserve(READ_BYTES)
            count = sys_recv(self._fd, slab.data + slab.end, slab.cap - slab.end)
        else:
            count = sys_recv(self._fd, raw, READ_BYTES)
        if count < 0:
            if errno == EAGAIN or errno == EINTR:
                return 0
            raise lost("waiting for the response", errno, True)
        if self._tls is None:
            if count == 0:
                if not self._reader.begun(slab):
                    raise lost("waiting for the response", 0, True)
                return self._follow(self._reader.end(slab))
            slab.grew(count)
            return self._follow(self._reader.advance(slab))
        if count == 0:      # not said under TLS: it may be anybody's doing
            raise lost("waiting for the response", 0, True)
        plain = self._tls.decrypt(PyBytes_FromStringAndSize(raw, count))
        records = self._tls.reply()
        if records:
            self._out.append(records)
            self._flush()
        if plain:
            slab.reserve(PyBytes_GET_SIZE(plain))
            memcpy(slab.data + slab.end, PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain))
            slab.grew(PyBytes_GET_SIZE(plain))
            self._follow(self._reader.advance(slab))
        if self._tls.closed:
            self._doomed = True
            if self._exchange is not None:
                if self._slab is None:
                    self._slab = borrow()
                if not self._reader.begun(self._slab):
                    raise lost("waiting for the response", 0, True)
                self._follow(self._reader.end(self._slab))
            elif self._fd >= 0:
                self.shut()
        return 0

    cdef int _follow(self, int outcome) except -1:
        """Do what an outcome asks for, and read on in the slab until it asks for more bytes."""
        cdef:
            _Exchange exchange = self._exchange
            Response response
        while outcome != NEED:
            if outcome == HEAD:
                self._give_head(exchange)
            elif outcome == PIECE:
                exchange.give(self._reader, self._slab)
            else:
                if exchange.streams:
                    if exchange.future is not None:
                        self._give_head(exchange)
                    self._reader.claim()
                    self._done()
                    exchange.over = True
                    exchange.wake()
                else:
                    response = self._reader.claim()
                    if response.coded:
                        response.undo_coding(exchange.pool._max_plain)
                    self._done()
                    if not exchange.future.done():
                        exchange.future.set_result(response)
                return 0
            if self._exchange is not exchange:
                return 0
            outcome = self._reader.advance(self._slab)
        if exchange.streams:
            if exchange.events or exchange.pieces:
                exchange.wake()
            # Only while its reader has something to read: one event may be longer than that.
            if (
                exchange.buffered > BUFFERED
                and (exchange.events or exchange.pieces)
                and self.watched
            ):
                self._readers.pause(self._fd, self)
            # An idle stream holds no buffer.
            if self._slab is not None and self._slab.start == self._slab.end:
                give_back(self._slab)
                self._slab = None
        return 0

    def _give_head(self, _Exchange exchange):
        exchange.response = self._reader.response
        exchange.pieces = deque()
        if exchange.response.coded:
            from .._wire.coding import ContentDecoder

            exchange.plain = ContentDecoder(
                exchange.response.headers["content-encoding"], limit=exchange.pool._max_plain
            )
        future, exchange.future = exchange.future, None
        self.deadline = INFINITY
        if not future.done():
            future.set_result(None)

    cdef int _done(self) except -1:
        """The response was read to its end."""
        cdef:
            AsyncHttpPool pool = self._exchange.pool
            Slab slab = self._slab
        self._exchange.connection = None
        self._exchange = None
        if self._doomed or not self._reader.reusable or self._out.end:
            self.shut()
            return 0
        if slab is not None:
            self._slab = None
            give_back(slab)
        self.resume()
        pool.take_back(self)
        return 0

    cdef int resume(self) except -1:
        if not self.watched and self._fd >= 0:
            self._readers.resume(self._fd, self)
        return 0

    cdef int _fail(self, error) except -1:
        cdef _Exchange exchange = self._exchange
        if isinstance(error, TransportError):
            error.sent = error.sent or self._sent
        if exchange is not None:
            exchange.connection = None
            self._exchange = None
        self.shut()
        if exchange is not None:
            exchange.fail(error)
        return 0

    cdef int shut(self) except -1:
        """Close the socket and free its place in the pool; idempotent."""
        cdef int fd = self._fd
        if fd < 0:
            return 0
        self._fd = -1
        self._readers.remove(fd)
        if self._writing and not self._loop.is_closed():
            self._loop.remove_writer(fd)
        say_farewell(self._tls, self._sock)
        self._sock.close()
        # It is bound to this object: without it that ends with its last reference.
        self._writable_call = None
        if self._slab is not None:
            give_back(self._slab)
            self._slab = None
        pool = self._home()
        if pool is not None:
            (<AsyncHttpPool>pool).lose(self)
        return 0


@cython.final
cdef class AsyncHttpPool:
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
        self._address = address
        self._limits = limits
        self._parser = parser
        self._ssl_context = ssl_context
        self._expected_uid = expected_uid
        self._patience = INFINITY if pool_timeout is None else pool_timeout
        self._max_plain = limits.decompressed_body
        self._roster = Roster(max_connections, max_idle, idle_expiry)
        ResponseReader(parser=parser)       # refuses a parser that is not known
        self._reset()
        forget_after_fork(self)

    def _reset(self):
        self._roster = Roster(self._roster.limit, self._roster.max_idle, self._roster.expiry)
        self._loop = None
        self._connections = set()
        self._openers = set()
        self._bound = {}
        self._readers = None
        self._next_sweep = INFINITY
        self._timer = None

    def __del__(self):
        if self._loop is None or not self._connections:
            return
        connections = list(self._connections)
        if self._loop.is_running() and not _is_running_here(self._loop):
            self._loop.call_soon_threadsafe(_shut_all, connections)
        else:
            _shut_all(connections)

    @property
    def open_connections(self):
        return len(self._connections)

    @property
    def idle_connections(self):
        cdef AsyncHttpConnection connection
        cdef Py_ssize_t count = 0
        for connection in self._connections:
            count += connection._exchange is None
        return count

    @property
    def waiting(self):
        return self._roster.waiting + len(self._bound)

    async def fetch(
        self, RequestHead head not None, bytes target not None, bytes body, extra,
        double deadline, /
    ):
        cdef _Exchange exchange = self.begin(head, target, body, extra, False, deadline)
        try:
            return await exchange.future
        except BaseException:
            exchange.abort()
            raise

    async def open(
        self, RequestHead head not None, bytes target not None, bytes body, extra,
        double deadline, /
    ):
        cdef:
            _Exchange exchange = self.begin(head, target, body, extra, True, deadline)
            AsyncResponseStream stream
        try:
            await exchange.future
        except BaseException:
            exchange.abort()
            raise
        # Made here and not with the head: futures and handles hold results for a while, and
        # a stream closes when its last reference goes.
        stream = AsyncResponseStream.__new__(AsyncResponseStream)
        stream._exchange = exchange
        return stream

    cdef _Exchange begin(
        self, RequestHead head, bytes target, bytes body, extra, bint streams, double deadline
    ):
        """Send a request, or have it wait for a connection."""
        cdef:
            _Exchange exchange
            AsyncHttpConnection connection
        loop = _running_loop()
        if loop is not self._loop:
            self._settle(loop)
        if self._closed:
            raise ClientStateError("the pool is closed; make another")
        exchange = _Exchange.__new__(_Exchange)
        exchange.pool = self
        exchange.future = self._create_future()
        exchange.head = head
        exchange.target = target
        exchange.body = body
        exchange.extra = extra
        exchange.streams = streams
        exchange.deadline = exchange.until = deadline
        exchange.idle_timeout = INFINITY
        while True:
            connection = <AsyncHttpConnection>self._roster.take()
            if connection is None:
                break
            # The sweeper may be late: a loop that was busy, or stopped, let all grow old.
            if not connection.is_stale() and now() - connection._idle_since < self._roster.expiry:
                break
            connection.shut()
        if connection is not None:
            self._place(connection, exchange)
        elif self._roster.admit():
            self._open_for(exchange)
        else:
            exchange.until = min(deadline, now() + self._patience)
            self._roster.enqueue(exchange)
        if exchange.until < self._next_sweep:
            self._arm(exchange.until)
        return exchange

    cdef int _settle(self, loop) except -1:
        """Begin to work on a loop."""
        if self._loop is not None:
            if self._loop.is_running():
                raise another_loop()
            # That loop has ended, and nobody will ever read these connections again.
            _shut_all(list(self._connections))
            self._reset()
        self._loop = loop
        self._create_future = loop.create_future
        return 0

    cdef int _place(self, AsyncHttpConnection connection, _Exchange exchange) except -1:
        """Send a request on an idle connection; when it cannot be sent, serve the next."""
        try:
            connection.start(exchange)
        except OstiaryError as error:
            exchange.fail(error)
            self.take_back(connection)
        return 0

    cdef int take_back(self, AsyncHttpConnection connection) except -1:
        """A connection is idle: whoever has waited longest sends on it."""
        cdef:
            _Exchange exchange
            AsyncHttpConnection extra
            double at
        if self._closed or connection._fd < 0:
            connection.shut()
            return 0
        if self._bound:
            exchange = <_Exchange>next(iter(self._bound))
            del self._bound[exchange]
        else:
            exchange = <_Exchange>self._roster.serve()
        if exchange is not None:
            # What came behind the response must not be taken for an answer to this request.
            if connection.is_stale():
                connection.shut()
                self._requeue(exchange)
            else:
                self._place(connection, exchange)
            return 0
        at = connection._idle_since = now()
        extra = <AsyncHttpConnection>self._roster.keep(connection, at)
        if extra is not None:
            extra.shut()
        self.watch(at + self._roster.expiry)
        return 0

    def _requeue(self, _Exchange exchange):
        """Open a connection for it: the one it was about to get is gone."""
        if self._roster.admit():
            self._open_for(exchange)
        else:
            self._roster.enqueue(exchange)

    cdef int lose(self, AsyncHttpConnection connection) except -1:
        """A connection was closed."""
        if connection in self._connections:
            self._connections.discard(connection)
            self._vacate()
        return 0

    cdef int _vacate(self) except -1:
        """Free a slot: whoever has waited longest has one opened in it."""
        cdef _Exchange exchange
        self._roster.vacate()
        if self._closed:
            return 0
        exchange = <_Exchange>self._roster.serve()
        if exchange is not None:
            self._roster.admit()
            self._open_for(exchange)
        return 0

    cdef int _open_for(self, _Exchange exchange) except -1:
        self._bound[exchange] = None
        exchange.until = exchange.deadline
        task = self._loop.create_task(self._open_one(exchange))
        self._openers.add(task)
        task.add_done_callback(self._openers.discard)
        return 0

    async def _open_one(self, _Exchange exchange):
        cdef AsyncHttpConnection connection
        openers = self._openers
        try:
            sock, tls = await establish(
                self._address, exchange.deadline, self._ssl_context, self._expected_uid
            )
        except BaseException as error:
            if openers is not self._openers:    # a fork, or another loop, lies in between
                return
            waits = self._bound.pop(exchange, self) is None
            self._vacate()
            if waits:
                exchange.fail(
                    error if isinstance(error, OstiaryError)
                    else ClientStateError("the event loop ended while the call connected")
                )
            if not isinstance(error, OstiaryError):
                raise
            return
        if openers is not self._openers:
            sock.close()
            return
        connection = AsyncHttpConnection.__new__(AsyncHttpConnection)
        connection._loop = self._loop
        connection._home = ref(self)
        connection._sock = sock
        connection._tls = tls
        connection._born = fork_count
        connection._reader = ResponseReader(
            head=self._limits.head,
            header_count=self._limits.header_count,
            body=self._limits.body,
            parser=self._parser,
        )
        connection._out = Outbox()
        connection._writable_call = connection._writable
        if self._readers is None:
            self._readers = Readers(self._loop)
        connection._readers = self._readers
        connection._fd = sock.fileno()
        self._connections.add(connection)
        self._readers.add(connection._fd, connection)
        # Another connection may have served it meanwhile.
        if self._bound.pop(exchange, self) is None:
            self._place(connection, exchange)
        else:
            self.take_back(connection)

    cdef int watch(self, double deadline) except -1:
        """See to it that the sweeper runs at that time, or before."""
        if deadline < self._next_sweep:
            self._arm(deadline)
        return 0

    cdef int _arm(self, double deadline) except -1:
        cdef double at = now()
        if self._timer is not None:
            self._timer.cancel()
        self._next_sweep = max(deadline, at + SWEEP_EVERY)
        # Not a bound method: a timer must not keep a pool that nobody uses.
        self._timer = self._loop.call_later(self._next_sweep - at, _sweep, ref(self))
        return 0

    def _sweep(self):
        """End whatever's time has passed; close what has been idle for too long."""
        cdef:
            double at = now()
            double soonest = INFINITY
            AsyncHttpConnection connection
            _Exchange exchange
        self._timer = None
        self._next_sweep = INFINITY
        for connection in list(self._connections):
            exchange = connection._exchange
            if exchange is None:
                continue
            if connection.deadline > at:
                soonest = min(soonest, connection.deadline)
            elif exchange.drains:
                exchange.drains = False
                exchange.abort()
            elif exchange.future is not None:
                connection._fail(
                    DeadlineError("the call's time ran out while it waited for the response")
                )
            elif exchange.waiter is not None:
                if exchange.idle_timeout == INFINITY:
                    connection._fail(out_of_time())
                else:
                    connection._fail(too_quiet(exchange.idle_timeout >= 0, exchange.idle_timeout))
            else:
                connection.deadline = INFINITY      # nobody waits
        for exchange in [*self._bound, *self._roster.tickets()]:
            if exchange.until > at:
                soonest = min(soonest, exchange.until)
                continue
            if exchange in self._bound:
                del self._bound[exchange]
                exchange.fail(DeadlineError("the call's time ran out while connecting"))
            else:
                self._roster.withdraw(exchange)
                exchange.fail(
                    DeadlineError(
                        f"the call's time ran out while all {self._roster.limit} connections were "
                        "busy; raise max_connections, or the timeout"
                    )
                )
        while True:
            connection = <AsyncHttpConnection>self._roster.overdue(at)
            if connection is None:
                break
            connection.shut()
        soonest = min(soonest, self._roster.next_overdue())
        if soonest < INFINITY:
            self.watch(soonest)

    def close(self):
        cdef:
            AsyncHttpConnection connection
            _Exchange exchange
        self._closed = True
        if self._loop is None:
            return
        alive = not self._loop.is_closed()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [*self._bound, *self._roster.tickets()]
        self._bound.clear()
        while self._roster.serve() is not None:
            pass
        while self._roster.take() is not None:
            pass
        for task in list(self._openers):
            if alive:
                task.cancel()
        for connection in list(self._connections):
            exchange = connection._exchange
            if exchange is not None and alive:
                connection._fail(ConnectionLostError("the pool was closed under this call"))
            else:
                connection.shut()
        if alive:
            for exchange in waiting:
                exchange.fail(ClientStateError("the pool was closed while this call waited"))

    def abandon(self):
        cdef AsyncHttpConnection connection
        # Neither the loop nor its selector may be touched: the parent shares the latter.
        for connection in self._connections:
            if connection._fd >= 0:
                connection._fd = -1
                connection._sock.close()
        if self._readers is not None:
            self._readers.abandon()
        self._reset()


def _sweep(home):
    pool = home()
    if pool is not None:
        (<AsyncHttpPool>pool)._sweep()


def _shut_all(connections):
    cdef AsyncHttpConnection connection
    for connection in connections:
        connection.shut()


cdef bint _is_running_here(loop) except -1:
    try:
        return _running_loop() is loop
    except RuntimeError:
        return False


@cython.final
cdef class AsyncResponseStream:
    def __init__(self):
        raise TypeError("open one with a pool")

    def __del__(self):
        cdef _Exchange exchange = self._exchange
        if exchange is None or exchange.connection is None or exchange.drains:
            return
        loop = exchange.connection._loop
        if loop.is_running() and not _is_running_here(loop):
            loop.call_soon_threadsafe(exchange.abort)
        else:
            exchange.abort()

    @property
    def status(self):
        return self._exchange.response.status

    @property
    def headers(self):
        return self._exchange.response.headers

    @property
    def trailers(self):
        return self._exchange.response.trailers

    @property
    def informational(self):
        return self._exchange.response.informational

    @property
    def closed(self):
        return self._exchange.connection is None or self._exchange.drains

    async def next_piece(self, double deadline, /):
        cdef _Exchange exchange = self._exchange
        while True:
            if exchange.plain is not None:
                part = exchange.next_part()
                if part is not None:
                    return part
            elif exchange.pieces:
                return exchange.pieces.popleft()
            if exchange.over:
                if exchange.failure is not None:
                    failure, exchange.failure = exchange.failure, None
                    raise failure
                return None
            exchange.buffered = 0
            exchange.connection.resume()
            await _more(exchange, INFINITY, deadline)

    async def read(self, Py_ssize_t limit, double deadline, /):
        cdef list pieces = []
        cdef Py_ssize_t size = 0
        while True:
            piece = await self.next_piece(deadline)
            if piece is None:
                return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
            size += len(piece)
            if size > limit:
                self.close()
                raise SizeLimitError(
                    f"the body is longer than {limit} bytes; the connection is closed", sent=True
                )
            pieces.append(piece)

    def events(self, EventDecoder decoder not None, double idle_timeout, double deadline, /):
        cdef AsyncEventStream events = AsyncEventStream.__new__(AsyncEventStream)
        events._stream = self
        events._exchange = self._exchange
        events._decoder = decoder
        events._ready = []
        events._idle_timeout = idle_timeout
        events._deadline = deadline
        if self._exchange.plain is None:
            self._exchange.decode(decoder)
        return events

    def finish(self, double grace=LAST_CHUNK):
        self._exchange.finish(grace)

    def close(self):
        self._exchange.abort()


async def _more(_Exchange exchange, double idle_timeout, double deadline):
    """Wait until something has come of a stream, or it is over."""
    cdef double at = now()
    if exchange.waiter is not None:
        raise ClientStateError("another task is reading this response")
    exchange.waiter = exchange.pool._create_future()
    exchange.connection.deadline = min(deadline, at + idle_timeout)
    # Which of the two it will have been, should it pass.
    exchange.idle_timeout = idle_timeout if at + idle_timeout < deadline else INFINITY
    exchange.pool.watch(exchange.connection.deadline)
    try:
        await exchange.waiter
    except BaseException:
        exchange.waiter = None
        exchange.abort()
        raise
    exchange.waiter = None
    if exchange.connection is not None:
        exchange.connection.deadline = INFINITY


@cython.final
cdef class AsyncEventStream:
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

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        self.close()

    def __aiter__(self):
        return self

    async def __anext__(self):
        cdef _Exchange exchange
        if self._at < len(self._ready):
            self._at += 1
            return self._ready[self._at - 1]
        exchange = self._exchange
        while True:
            if exchange.plain is not None:
                self._read_plain()
            elif exchange.events:
                self._ready = exchange.events
                exchange.events = []
                self._at = 0
            if self._at < len(self._ready):
                self._at += 1
                return self._ready[self._at - 1]
            if exchange.over:
                if exchange.failure is not None:
                    self._closed = True
                    failure, exchange.failure = exchange.failure, None
                    raise failure
                if self._decoder._terminator is not None and not self._decoder.done:
                    if not self._closed:
                        self._closed = True
                        raise ConnectionLostError(
                            "the event stream ended without its end mark; what came may not be "
                            "all",
                            sent=True,
                        )
                raise StopAsyncIteration
            exchange.buffered = 0
            exchange.connection.resume()
            await _more(exchange, self._idle_timeout, self._deadline)

    def _read_plain(self):
        """Read on in a body that has a content coding, until there is an event."""
        self._ready = []
        self._at = 0
        while not self._ready and not self._decoder.done:
            part = self._exchange.next_part()
            if part is None:
                return
            try:
                self._decoder.feed(part, self._ready)
            except OstiaryError as error:
                self._exchange.abort()
                self._exchange.plain_ended = True
                self._exchange.pieces.clear()
                self._exchange.parts = None
                self._exchange.failure = error
        if self._decoder.done and not self._exchange.over:
            self._exchange.finish(LAST_CHUNK)

    def finish(self, double grace=LAST_CHUNK):
        self._closed = True
        self._ready = []
        self._at = 0
        self._exchange.events = []
        self._exchange.plain_ended = True
        self._exchange.pieces.clear()
        self._exchange.parts = None
        self._exchange.failure = None
        self._exchange.finish(grace)

    def close(self):
        self.finish(0)
