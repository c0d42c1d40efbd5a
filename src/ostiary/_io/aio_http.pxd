"""HTTP/1.1 over the asyncio leaf."""

from .._pool cimport Roster, Ticket
from .._wire.http1 cimport Response, ResponseReader
from .._wire.headers cimport Headers
from .._wire.outbox cimport Outbox
from .._wire.request cimport RequestHead
from .._wire.slab cimport Slab
from .._wire.sse cimport EventDecoder
from .readers cimport Reader, Readers


cdef class _Exchange(Ticket):
    """A request and what has come of its response. A pool's ticket while it waits."""
    cdef:
        AsyncHttpPool pool
        AsyncHttpConnection connection  # None while it waits, and once it is over
        object future                   # of the response or its head; None once that was given
        RequestHead head
        bytes target
        bytes body
        object extra
        double deadline
        double until                    # while it waits: the end of its patience
        bint streams

        # a response that streams
        Response response               # its head; None until it has come
        object pieces                   # deque: what has come and is not read yet
        object plain                    # ContentDecoder or None: its reader decodes, not we
        object parts                    # iterator: what it makes of a piece, or None
        bint plain_ended
        EventDecoder decoder            # None: the body is read in pieces
        list events
        Py_ssize_t buffered             # bytes that came since everything was last read
        object waiter                   # future of a reader that has read everything
        double idle_timeout             # of that reader, or infinity
        object failure                  # what ends the stream, behind what has come
        bint over
        bint drains                     # nobody reads any more; only its end is awaited

    cdef int fail(self, error) except -1
    cdef int give(self, ResponseReader reader, Slab slab) except -1
    cdef int wake(self) except -1
    cdef int finish(self, double grace) except -1
    cdef object next_part(self)


cdef class AsyncHttpConnection(Reader):
    """A connection that carries one HTTP exchange at a time."""
    cdef:
        object _loop
        object _home            # weak: its pool
        object _sock
        object _tls             # TlsEngine or None
        int _fd                 # -1 once closed
        unsigned int _born      # fork_count when it was opened
        ResponseReader _reader
        Outbox _out             # what the kernel has not taken yet; the end of a big body
        Slab _slab              # borrowed while a response is incomplete
        _Exchange _exchange     # None while idle
        double deadline
        double _idle_since
        bint _sent
        bint _doomed
        bint _writing           # the loop watches for room to write
        Readers _readers
        object _writable_call   # a bound method, made once
        object __weakref__

    cdef int start(self, _Exchange exchange) except -1
    cdef int _push(self, bytes body) except -1
    cdef int _flush(self) except -1
    cdef int _receive(self) except -1
    cdef int _follow(self, int outcome) except -1
    cdef int _done(self) except -1
    cdef int _fail(self, error) except -1
    cdef int shut(self) except -1
    cdef int resume(self) except -1
    cdef bint is_stale(self) noexcept


cdef class AsyncHttpPool:
    """The connections to one HTTP server, on one event loop."""
    cdef:
        object _address
        object _limits
        object _ssl_context
        object _expected_uid
        str _parser
        double _patience
        Py_ssize_t _max_plain
        Roster _roster
        object _loop
        object _create_future
        set _connections
        Readers _readers        # None before the first connection
        set _openers            # tasks
        dict _bound             # exchanges for which a connection is being opened, oldest first
        double _next_sweep      # when the sweeper runs next; infinity when it does not
        object _timer
        bint _closed
        object __weakref__

    cdef _Exchange begin(
        self, RequestHead head, bytes target, bytes body, extra, bint streams, double deadline
    )
    cdef int take_back(self, AsyncHttpConnection connection) except -1
    cdef int lose(self, AsyncHttpConnection connection) except -1
    cdef int watch(self, double deadline) except -1
    cdef int _settle(self, loop) except -1
    cdef int _place(self, AsyncHttpConnection connection, _Exchange exchange) except -1
    cdef int _vacate(self) except -1
    cdef int _open_for(self, _Exchange exchange) except -1
    cdef int _arm(self, double deadline) except -1


cdef class AsyncResponseStream:
    """A response whose body is read as it comes."""
    cdef:
        _Exchange _exchange


cdef class AsyncEventStream:
    """The events of a response, decoded as they come."""
    cdef:
        AsyncResponseStream _stream
        _Exchange _exchange
        EventDecoder _decoder
        list _ready
        Py_ssize_t _at
        double _idle_timeout
        double _deadline
        bint _closed            # by its reader, or its end was told
