"""A ResponseReader with a slab of its own, fed bytes."""

from .http1 cimport ResponseReader
from .slab cimport Slab


cdef class ResponseParser:
    cdef:
        ResponseReader _reader
        Slab _slab
        list _pieces
        object _choose          # a head -> whether to stream its body, or None
        readonly bint done      # the response last asked for has ended

    cdef object _run(self, bint ended)
