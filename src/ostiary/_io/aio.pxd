"""The asyncio leaf."""

from libc.stdint cimport int64_t

from .._wire.outbox cimport Outbox
from .._wire.rpc cimport Method, Place
from .._wire.slab cimport Slab


cdef class _Pending:
    """A call whose reply has not come."""
    cdef:
        object future
        Method method
        double deadline
        int64_t position        # bytes queued on the channel before its request


cdef class AsyncChannel:
    cdef:
        object _loop
        object _create_future
        object _sock
        object _tls             # TlsEngine or None
        int _fd                 # -1 once closed
        unsigned int _born      # fork_count when it was opened
        Outbox _out             # requests not yet sent, or not yet encrypted
        Outbox _records         # TLS records not yet sent
        Slab _slab              # borrowed while a frame is incomplete
        dict _pending           # id -> _Pending; a late reply finds its future done
        int64_t _last_id
        int64_t _queued         # bytes of requests ever queued
        int64_t _flushed        # how many of them have left
        Py_ssize_t _max_sent
        Py_ssize_t _max_accepted
        bint _flush_scheduled
        bint _writer_added
        double _next_sweep      # when the sweeper runs next; infinity when it does not
        object _timer
        object _flush_call      # bound methods, made once
        object _sweep_call
        public Py_ssize_t logins    # how often it was authenticated
        public str session      # filled into params whose method asks for it
        public object on_orphan
        object __weakref__

    cdef int _send_out(self) except -1
    cdef int _write(self, Outbox box) except -1
    cdef int _take_frames(self) except -1
    cdef int _deliver(self, Slab slab, Place *place) except -1
    cdef int _arm(self, double deadline) except -1
    cdef int _fail(self, error) except -1


cdef object another_loop()
