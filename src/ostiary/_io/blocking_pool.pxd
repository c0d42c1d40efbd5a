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
        Py_ssize_t _opening     # being opened, or about to be by a waiter that was told to
        list _idle
        set _references         # weak, to every channel of ours: a busy one is its caller's
        object _forget          # what each of them calls when its channel is gone
        object _waiters         # deque of _Waiter
        bint _closed
        object __weakref__

    cdef int _drop(self, Channel channel) except -1
    cdef bint _withdraw(self, _Waiter waiter) except -1
    cdef int _wake(self, Channel channel) except -1
