"""Length-prefixed frames out of a byte stream that may be cut anywhere.

No I/O. Memory follows what was received, never what was announced. Neighbour: `rpc`, which
reads and writes what the frames carry.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from ..errors import InvalidArgumentError, SizeLimitError

cdef enum:
    # A slice costs about 80 ns whatever its size. Copies of a whole buffer's frames cost page
    # faults besides, and from about 1 KiB on they cost more.
    SLICE_FROM = 1024
    HELD_KEPT = 64 * 1024

HEADER_SIZE = HEADER


def too_long(size, limit):
    """Make the error for a frame announced longer than the limit."""
    return SizeLimitError(
        f"the peer announced a frame of {size} bytes and the limit is {limit}; "
        "raise Limits.frame_accepted if it is trusted"
    )


@cython.final
cdef class Framer:
    def __init__(self, uint32_t max_frame=16 * 1024 * 1024):
        if max_frame == 0:
            raise InvalidArgumentError("max_frame must be at least 1")
        self.max_frame = max_frame

    def __dealloc__(self):
        free(self._held)

    @property
    def pending(self):
        return self._have

    def feed(self, data):
        cdef:
            Py_buffer buffer
            const char *base
            Py_ssize_t at = 0
            Py_ssize_t size
            Py_ssize_t missing
            list frames = []
            object whole = None     # a memoryview of `data`, made when the first slice is
            bint immutable = type(data) is bytes

        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        try:
            base = <const char *>buffer.buf
            # Finish the frame that an earlier feed began: first its header, then its body,
            # each taken in one copy.
            while self._have and at < buffer.len:
                missing = self._missing()
                if missing:
                    size = min(missing, buffer.len - at)
                    self._hold(base + at, size)
                    at += size
                    missing = self._missing()
                if missing == 0:
                    size = self._have - HEADER
                    frames.append(PyBytes_FromStringAndSize(self._held + HEADER, size))
                    self._have = 0
                    if self._cap > HELD_KEPT:
                        free(self._held)
                        self._held = NULL
                        self._cap = 0
            # Then whole frames are taken where they lie.
            while buffer.len - at >= HEADER:
                size = read_u32(base + at)
                if size > self.max_frame:
                    # Kept, so that a feed after this one cannot start afresh in mid-frame.
                    self._hold(base + at, HEADER)
                    raise too_long(size, self.max_frame)
                if buffer.len - at - HEADER < size:
                    break
                at += HEADER
                if size < SLICE_FROM or not immutable:
                    frames.append(PyBytes_FromStringAndSize(base + at, size))
                else:
                    if whole is None:
                        whole = memoryview(data)
                    frames.append(whole[at:at + size])
                at += size
            if at < buffer.len:
                self._hold(base + at, buffer.len - at)
            return frames
        finally:
            PyBuffer_Release(&buffer)

    cdef Py_ssize_t _missing(self) except -1:
        """Bytes that would complete the held header, or the held frame once that is whole."""
        cdef Py_ssize_t size
        if self._have < HEADER:
            return HEADER - self._have
        size = read_u32(self._held)
        if size > self.max_frame:
            raise too_long(size, self.max_frame)
        return HEADER + size - self._have

    cdef int _hold(self, const char *data, Py_ssize_t count) except -1:
        cdef:
            Py_ssize_t need = self._have + count
            Py_ssize_t cap
            char *held
        if need > self._cap:
            cap = max(need, self._cap * 2)
            held = <char *>realloc(self._held, cap)
            if held is NULL:
                raise MemoryError
            self._held = held
            self._cap = cap
        memcpy(self._held + self._have, data, count)
        self._have = need
        return 0

    @staticmethod
    def wrap(bytes payload not None):
        cdef:
            Py_ssize_t size = PyBytes_GET_SIZE(payload)
            bytes frame
        if size > 0xFFFFFFFF:
            raise InvalidArgumentError(f"a frame cannot carry {size} bytes; its length has 4")
        frame = PyBytes_FromStringAndSize(NULL, HEADER + size)
        write_u32(PyBytes_AS_STRING(frame), <uint32_t>size)
        memcpy(PyBytes_AS_STRING(frame) + HEADER, PyBytes_AS_STRING(payload), size)
        return frame
