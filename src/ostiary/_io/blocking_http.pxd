"""HTTP/1.1 over the blocking leaf."""

from .._wire.http1 cimport Response, ResponseReader
from .._wire.request cimport RequestHead
from .._wire.sse cimport EventDecoder
from .blocking_pool cimport ChannelPool
from .stream cimport Stream


cdef class HttpConnection(Stream):
    """A connection that carries one HTTP exchange at a time."""
    cdef:
        ResponseReader _reader
        Py_ssize_t _max_plain       # bytes of a body whose coding was undone

    cdef Response fetch(self, RequestHead head, bytes target, bytes body, extra, double deadline)
    cdef int ask(
        self, RequestHead head, bytes target, bytes body, extra, bint streams, double deadline
    ) except -1
    cdef int pull(self, double deadline) except -1
    cdef int _push(self, bytes body, double deadline) except -1
    cdef int _heard(self, double deadline) except -1


cdef class HttpPool:
    """The connections to one HTTP server."""
    cdef:
        ChannelPool _pool
        Py_ssize_t _max_plain


cdef class ResponseStream:
    """A response whose body is read as it comes."""
    cdef:
        ChannelPool _pool
        HttpConnection _connection  # None once the response ended or was given up
        Response _response
        object _plain               # ContentDecoder or None
        object _parts               # iterator: what it makes of the last piece, or None
        bint _reading

    cdef int advance(self, double deadline) except -1
    cdef object next_part(self)
    cdef int _finish(self) except -1
    cdef int _give_up(self) except -1


cdef class EventStream:
    """The events of a response, decoded as they come."""
    cdef:
        ResponseStream _stream
        EventDecoder _decoder
        list _ready
        Py_ssize_t _at
        double _idle_timeout
        double _deadline
        object _failure             # what ends the iteration behind the events that are ready
        bint _over

    cdef int _fill(self) except -1
    cdef int _take(self, int outcome) except -1
    cdef int _end_if_done(self) except -1
