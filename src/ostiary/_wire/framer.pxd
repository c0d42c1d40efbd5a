"""Four bytes of big-endian length, then that many bytes."""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    HEADER = 4


cdef inline uint32_t read_u32(const char *p) noexcept nogil:
    cdef const uint8_t *b = <const uint8_t *>p
    return (<uint32_t>b[0] << 24) | (<uint32_t>b[1] << 16) | (<uint32_t>b[2] << 8) | b[3]


cdef inline void write_u32(char *p, uint32_t n) noexcept nogil:
    cdef uint8_t *b = <uint8_t *>p
    b[0] = n >> 24
    b[1] = (n >> 16) & 0xFF
    b[2] = (n >> 8) & 0xFF
    b[3] = n & 0xFF


cdef class Framer:
    cdef:
        char *_held             # the start of a frame whose rest has not come yet
        Py_ssize_t _have        # bytes in _held
        Py_ssize_t _cap         # bytes allocated at _held
        readonly uint32_t max_frame

    cdef int _hold(self, const char *data, Py_ssize_t count) except -1
    cdef Py_ssize_t _missing(self) except -1
