"""Decisions about connections, for both colours of pool."""


cdef class Ticket:
    """Whoever waits for a connection; the pools of `_io` add what they wait with."""
    cdef:
        bint queued             # in the queue of a roster, and not withdrawn


cdef class Roster:
    """Which connection is used next, whether one may be opened, who is served first."""
    cdef:
        readonly Py_ssize_t limit       # connections, open or being opened
        readonly Py_ssize_t max_idle
        readonly double expiry          # seconds
        readonly Py_ssize_t held        # connections that count against `limit` now
        # Each is None until there is something to put into it: an empty deque weighs as much
        # as all the rest of a client.
        object _idle                    # deque: the one used last is at the right end
        object _since                   # deque of times, beside it
        object _queue                   # deque of Ticket; some of them withdrawn
        Py_ssize_t _withdrawn

    cpdef object take(self)
    cpdef object keep(self, connection, double now)
    cpdef object overdue(self, double now)
    cpdef bint admit(self)
    cpdef int vacate(self) except -1
    cpdef int enqueue(self, Ticket ticket) except -1
    cpdef bint withdraw(self, Ticket ticket)
    cpdef Ticket serve(self)
    cpdef double next_overdue(self)
