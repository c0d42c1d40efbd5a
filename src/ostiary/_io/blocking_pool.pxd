"""The channels of one blocking client."""

from .blocking cimport Channel


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
