"""Request heads: what never changes is validated and joined once."""

from .outbox cimport Outbox


cdef class RequestHead:
    cdef:
        readonly str method
        readonly str host
        bytes verb              # the method as bytes: what a ResponseReader asks about
        bytes _before           # the method and a space
        bytes _after            # from the space behind the target to the last fixed header
        bint _says_length       # an empty body is announced, too

    cdef int write(self, Outbox box, bytes target, Py_ssize_t body_size, object extra) except -1
