"""The connections of one blocking client."""

from .._pool cimport Roster, Ticket
from .stream cimport Stream


cdef class _Waiter(Ticket):
    cdef object lock            # held until this thread is served
    cdef Stream channel         # None: not a connection, but leave to open one
    cdef bint served


cdef class ChannelPool:
    """A client's connections: idle ones last in, first out; waiters first come, first served."""
    cdef:
        object _opener          # deadline -> a Stream that is ready for calls
        double _patience        # the most seconds a thread waits for one
        Roster _roster
        set _references         # weak, to every open one: a busy one is its caller's
        object _forget          # what each of them calls when it is gone
        bint _closed
        object __weakref__

    cdef Stream take(self, double deadline)
    cdef Stream idle(self)
    cdef int give(self, Stream channel) except -1
    cdef bint _is_old(self, Stream channel) noexcept
    cdef Stream _wait(self, double deadline)
    cdef int _drop(self, Stream channel) except -1
    cdef int _vacate(self) except -1
    cdef bint _wake(self, Stream channel) except -1
