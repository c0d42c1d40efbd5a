"""JSON-RPC envelopes: one request out with its prefix, one reply in with its id checked."""

from libc.stdint cimport int64_t

from .outbox cimport Outbox
from .slab cimport Slab


cdef struct Place:
    # One reply, where it lies in a slab.
    Py_ssize_t at           # where the envelope begins
    Py_ssize_t size
    Py_ssize_t result       # where in it the result begins; 0 when it is not the common form
    int64_t id


cdef class Method:
    cdef:
        readonly str name
        readonly bint repeatable    # sending it twice does what sending it once does
        readonly bint session       # params has a `session_id` to be filled in per channel
        readonly bint grants        # its reply gives the caller something to hand back
        bytes _head                 # ,"method":"...","params":
        object _decode              # of the whole envelope
        object _decode_result       # of a result that stands alone
        object _fail                # the decoded "error" member -> an exception

    cdef Py_ssize_t write(
        self, Outbox box, int64_t id, object params, Py_ssize_t limit
    ) except -1
    cdef object settle(self, Slab slab, Place *place)
    cdef object settle_envelope(self, object envelope, int64_t id)


cdef int locate(Slab slab, Py_ssize_t at, Py_ssize_t size, Place *place) except -1
