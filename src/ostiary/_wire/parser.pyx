"""A response reader for whoever has bytes and no receive buffer: tests, tools, users.

Neighbour: `http1`, which does the reading.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcpy

from .http1 cimport HEAD, PIECE, WHOLE, ResponseReader
from .slab cimport Slab, borrow, give_back, unpinned

from .request import method_token

cdef dict _METHODS = {
    name: name.encode() for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}


@cython.final
cdef class ResponseParser:
    def __init__(self, **limits):
        self._reader = ResponseReader(**limits)
        self._pieces = []

    @property
    def reusable(self):
        return self._reader.reusable

    def expect(self, str method not None="GET", *, stream=False):
        cdef bytes name = _METHODS.get(method)
        if name is None:
            name = method_token(method)
        self._choose = stream if callable(stream) else None
        self._reader.ask(name, bool(stream))
        self._pieces.clear()
        self.done = False

    def feed(self, data):
        cdef:
            Py_buffer buffer
            Slab slab = self._slab
        if slab is None:
            slab = self._slab = borrow()
        elif slab.pins:
            slab = self._slab = unpinned(slab)
        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        try:
            slab.reserve(buffer.len)
            memcpy(slab.data + slab.end, buffer.buf, buffer.len)
            slab.grew(buffer.len)
        finally:
            PyBuffer_Release(&buffer)
        return self._run(False)

    def feed_eof(self):
        if self._slab is None:
            self._slab = borrow()
        return self._run(True)

    def read(self):
        found, self._pieces = self._pieces, []
        return found

    cdef object _run(self, bint ended):
        cdef:
            ResponseReader reader = self._reader
            Slab slab = self._slab
            int outcome
            object found = None
        while True:
            outcome = reader.end(slab) if ended else reader.advance(slab)
            if outcome == PIECE:
                self._pieces.append(reader.take(slab))
            elif outcome == HEAD:
                if self._choose is None or self._choose(reader.response):
                    found = reader.response
                else:
                    reader.streams = False
            else:
                if outcome == WHOLE:
                    self.done = True
                    response = reader.claim()
                    if not reader.streams:
                        found = response
                if slab.start == slab.end:
                    self._slab = None
                    give_back(slab)
                return found
