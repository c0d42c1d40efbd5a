"""Bytes waiting to be sent, in one piece."""


cdef class Outbox:
    cdef:
        char *data
        Py_ssize_t cap
        Py_ssize_t start    # first byte not yet sent
        Py_ssize_t end

    cdef inline Py_ssize_t held(self) noexcept:
        return self.end - self.start

    cdef int reserve(self, Py_ssize_t room) except -1
    cdef int append(self, bytes data) except -1
    cdef void clear(self) noexcept
