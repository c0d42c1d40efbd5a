"""The blocking leaf."""

from libc.stdint cimport int64_t

from .._wire.rpc cimport Method, Place
from .stream cimport Stream


cdef class Channel(Stream):
    """A framed RPC connection that carries one call at a time."""
    cdef:
        int64_t _last_id
        Py_ssize_t _max_sent
        Py_ssize_t _max_accepted
        public Py_ssize_t logins    # how often it was authenticated
        public str session      # filled into params whose method asks for it

    cdef int _receive_frame(self, Place *place, double deadline) except -1
    cdef bint _frame(self, Place *place) except -1
