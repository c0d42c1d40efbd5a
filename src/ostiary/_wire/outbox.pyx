"""Bytes on their way out, in one growing piece. Wiped when it is dropped.

Knows nothing of what they mean: `rpc` appends frames, `request` heads and bodies.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef enum:
    OUTBOX_BYTES = 2048
    OUTBOX_KEPT = 16 * 1024


@cython.final
cdef class Outbox:
    def __cinit__(self):
        self.data = <char *>malloc(OUTBOX_BYTES)
        if self.data is NULL:
            raise MemoryError
        self.cap = OUTBOX_BYTES

    def __dealloc__(self):
        if self.data is not NULL:
            memset(self.data, 0, self.cap)
            free(self.data)

    cdef int reserve(self, Py_ssize_t room) except -1:
        cdef:
            Py_ssize_t used = self.end - self.start
            Py_ssize_t cap
            char *data
        if self.cap - self.end >= room:
            return 0
        cap = max(self.cap, OUTBOX_BYTES)
        while cap - used < room:
            cap *= 2
        data = <char *>malloc(cap)
        if data is NULL:
            raise MemoryError
        memcpy(data, self.data + self.start, used)
        free(self.data)
        self.data = data
        self.cap = cap
        self.start = 0
        self.end = used
        return 0

    cdef int append(self, bytes data) except -1:
        self.reserve(PyBytes_GET_SIZE(data))
        memcpy(self.data + self.end, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.end += PyBytes_GET_SIZE(data)
        return 0

    cdef void clear(self) noexcept:
        """Forget what was sent; give back a buffer that one large call had grown."""
        cdef char *data
        self.start = self.end = 0
        if self.cap > OUTBOX_KEPT:
            data = <char *>malloc(OUTBOX_BYTES)
            if data is not NULL:
                free(self.data)
                self.data = data
                self.cap = OUTBOX_BYTES
