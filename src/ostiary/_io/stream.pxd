"""A connected blocking socket."""

from .._wire.outbox cimport Outbox
from .._wire.slab cimport Slab


cdef class Stream:
    """A connected socket that carries one exchange at a time, under one deadline."""
    cdef:
        object _sock
        object _tls             # TlsEngine or None
        int _fd                 # -1 once closed
        unsigned int _born      # fork_count when it was opened
        Outbox _out
        Slab _slab              # borrowed while an exchange runs
        double _used_at
        int _late               # replies in a row that came later than polling lasts
        bint _busy
        bint _doomed            # the exchange under way is its last
        bint _sent              # whether a byte of the current request has left
        bint _ended             # the peer has said that it sends no more
        object __weakref__

    cdef int establish(self, address, double deadline, ssl_context, expected_uid) except -1
    cdef int enter(self) except -1
    cdef int leave(self) except -1
    cdef bint is_stale(self, double unless_used_within) except -1
    cdef int send(self, const char *data, Py_ssize_t size, double deadline) except -1
    cdef Py_ssize_t send_now(self, const char *data, Py_ssize_t size) except -1
    cdef Py_ssize_t send_both_now(
        self, const char *data, Py_ssize_t size, const char *more, Py_ssize_t more_size
    ) except -1
    cdef Py_ssize_t receive(self, Slab slab, double deadline) except -1
    cdef Py_ssize_t receive_now(self, Slab slab, double deadline) except -1
    cdef Py_ssize_t receive_tls(self, Slab slab, double deadline) except -1
