"""Header blocks: validated once, copied once, indexed where they lie."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

# Byte -> its lower case if it may stand in a token, else 0.
cdef uint8_t TOKEN[256]
# Byte -> whether it may stand in a header's value.
cdef uint8_t VALUE[256]


cdef struct Span:
    uint32_t name           # offsets into text
    uint32_t name_size
    uint32_t value
    uint32_t value_size


cdef struct Facts:
    bint has_length
    bint chunked
    bint close              # Connection names `close`
    bint coded              # there is a Content-Encoding
    uint64_t length         # as announced; beyond 2**58 only that it is more


cdef class Headers:
    cdef:
        Span *spans         # one allocation: the spans, then the text
        char *text          # names in lower case
        Py_ssize_t count

    cdef int allocate(self, Py_ssize_t count, Py_ssize_t size) except -1
    cdef int fill(self, list pairs) except -1
    cdef Py_ssize_t find(self, const char *name, Py_ssize_t size, Py_ssize_t first) noexcept
    cdef bytes value(self, Py_ssize_t index)
    cdef str name_text(self, Py_ssize_t index)
    cdef str value_text(self, Py_ssize_t index)
    cdef str joined(self, const char *name, Py_ssize_t size, Py_ssize_t first)


cdef Headers read_fields(
    const char *data, Py_ssize_t size, Py_ssize_t lines, Facts *facts, bint trailing
)
cdef Headers headers_of(list pairs)
cdef Headers no_headers
