"""The blocking leaf."""

from libc.stdint cimport int64_t

from .._wire.outbox cimport Outbox
from .._wire.rpc cimport Method
from .._wire.slab cimport Slab
from .stream cimport Stream


cdef class Channel(Stream):
    """A framed RPC connection that carries one call at a time."""
    cdef:
        Outbox _out
        Slab _slab              # borrowed while a call runs
        int64_t _last_id
        Py_ssize_t _max_sent
        Py_ssize_t _max_accepted
        double _used_at
        bint _busy
        bint _doomed            # close() came while a call was under way
        public Py_ssize_t logins    # how often it was authenticated
        public str session      # filled into params whose method asks for it

    cdef int _enter(self) except -1
    cdef int _leave(self) except -1
    cdef object _receive_frame(self, double deadline)
    cdef object _frame(self)


cdef class _Waiter:
    cdef object lock            # held until this thread is served
    cdef Channel channel        # None: not a channel, but leave to open one
    cdef bint served


cdef class ChannelPool:
    """A client's channels: idle ones last in, first out; waiters first come, first served."""
    cdef:
        object _opener          # deadline -> a Channel that is logged in
        Py_ssize_t _limit
        Py_ssize_t _open        # opened or being opened
        list _idle
        set _channels           # every channel of ours, busy ones too
        object _waiters         # deque of _Waiter
        bint _closed
        object __weakref__

    cdef int _drop(self, Channel channel) except -1
    cdef bint _withdraw(self, _Waiter waiter) except -1
    cdef int _wake(self, Channel channel) except -1
