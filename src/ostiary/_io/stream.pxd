"""A connected blocking socket."""

from .._wire.slab cimport Slab


cdef class Stream:
    """A connected socket: bytes out, bytes into a slab, one deadline over both."""
    cdef:
        object _sock
        object _tls             # TlsEngine or None
        int _fd                 # -1 once closed
        unsigned int _born      # fork_count when it was opened
        bint _sent              # whether a byte of the current request has left
        object __weakref__

    cdef int send(self, const char *data, Py_ssize_t size, double deadline) except -1
    cdef int send_now(self, const char *data, Py_ssize_t size) except -1
    cdef Py_ssize_t receive(self, Slab slab, double deadline) except -1
    cdef Py_ssize_t receive_now(self, Slab slab, double deadline) except -1
    cdef Py_ssize_t receive_tls(self, Slab slab, double deadline) except -1
