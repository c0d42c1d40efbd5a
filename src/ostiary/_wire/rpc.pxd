"""JSON-RPC envelopes: one request out with its prefix, one reply in with its id checked."""

from libc.stdint cimport int64_t

from .outbox cimport Outbox


cdef class Method:
    cdef:
        readonly str name
        readonly bint repeatable    # sending it twice does what sending it once does
        readonly bint session       # params has a `session_id` to be filled in per channel
        readonly bint grants        # its reply gives the caller something to hand back
        bytes _head                 # ,"method":"...","params":
        object _decode              # of the whole envelope
        object _fail                # the decoded "error" member -> an exception

    cdef Py_ssize_t write(
        self, Outbox box, int64_t id, object params, Py_ssize_t limit
    ) except -1
    cdef object settle(self, object envelope, int64_t id)


cdef int64_t reply_id(const char *data, Py_ssize_t size) noexcept
cdef int64_t envelope_id(object envelope) except -1
