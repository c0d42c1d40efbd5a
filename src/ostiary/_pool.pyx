"""Use, open, wait or close: every decision of a pool, in constant time.

Decisions only: the clock is an argument, connections are opaque, and whoever asks does what
is decided. Locks, futures and sockets live in `_io`. Idle connections are used last in, first
out, so that the ones not needed grow old together; waiters are served first come, first served.
"""

cimport cython
from libc.math cimport INFINITY

from collections import deque

cdef enum:
    # Fewer than this are not worth clearing out.
    WITHDRAWN_KEPT = 32


cdef class Ticket:
    pass


@cython.final
cdef class Roster:
    def __init__(self, Py_ssize_t limit, Py_ssize_t max_idle, double expiry):
        self.limit = limit
        self.max_idle = max_idle
        self.expiry = expiry

    @property
    def idle(self):
        return len(self._idle) if self._idle is not None else 0

    @property
    def waiting(self):
        return len(self._queue) - self._withdrawn if self._queue is not None else 0

    def tickets(self):
        return [one for one in self._queue or () if (<Ticket>one).queued]

    cpdef object take(self):
        if not self._idle:
            return None
        self._since.pop()
        return self._idle.pop()

    cpdef object keep(self, connection, double now):
        if self._idle is None:
            self._idle = deque()
            self._since = deque()
        self._idle.append(connection)
        self._since.append(now)
        if len(self._idle) <= self.max_idle:
            return None
        self._since.popleft()
        return self._idle.popleft()

    cpdef object overdue(self, double now):
        if self.next_overdue() > now:
            return None
        self._since.popleft()
        return self._idle.popleft()

    cpdef double next_overdue(self):
        return <double>self._since[0] + self.expiry if self._since else INFINITY

    cpdef bint admit(self):
        if self.held >= self.limit:
            return False
        self.held += 1
        return True

    cpdef int vacate(self) except -1:
        self.held -= 1
        return 0

    cpdef int enqueue(self, Ticket ticket) except -1:
        ticket.queued = True
        if self._queue is None:
            self._queue = deque()
        self._queue.append(ticket)
        return 0

    cpdef bint withdraw(self, Ticket ticket):
        if not ticket.queued:
            return False
        ticket.queued = False
        self._withdrawn += 1
        # Looking for it would take as long as the queue is; so it stays until its turn, or
        # until half of the queue is like it.
        if self._withdrawn > WITHDRAWN_KEPT and self._withdrawn * 2 > len(self._queue):
            self._queue = deque([one for one in self._queue if (<Ticket>one).queued])
            self._withdrawn = 0
        return True

    cpdef Ticket serve(self):
        cdef Ticket ticket
        while self._queue:
            ticket = <Ticket>self._queue.popleft()
            if ticket.queued:
                ticket.queued = False
                return ticket
            self._withdrawn -= 1
        return None
