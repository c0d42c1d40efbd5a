"""Receive buffers that are borrowed, counted, wiped and returned.

Law: a byte that a View can see is never moved, overwritten or freed. A View counts for as
long as the object lives, not only while a buffer is exported: msgspec's Raw keeps a
reference to the object it was decoded from and exports nothing.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

cdef enum:
    # One read of this size keeps up with a peer that streams; the stdlib's 256 KiB goes
    # through mmap for every read.
    SLAB_BYTES = 64 * 1024
    SLABS_KEPT = 16
    # Measured: below about 1 KiB a copy costs less than a View and its export.
    VIEW_FROM = 1024

cdef list _free_slabs = []


@cython.final
@cython.no_gc
cdef class Slab:
    def __cinit__(self, Py_ssize_t cap=SLAB_BYTES):
        self.data = <char *>malloc(cap)
        if self.data is NULL:
            raise MemoryError
        self.cap = cap

    def __dealloc__(self):
        if self.data is not NULL:
            self.wipe()
            free(self.data)

    cdef int reserve(self, Py_ssize_t room) except -1:
        """Make room for that many bytes after `end`. Only while nothing is pinned."""
        cdef:
            Py_ssize_t used = self.end - self.start
            Py_ssize_t cap
            char *data
        if self.cap - self.end >= room:
            return 0
        if self.start:
            memmove(self.data, self.data + self.start, used)
            self.start = 0
            self.end = used
            if self.cap - used >= room:
                return 0
        # Doubling bounds what a peer can make us allocate to twice what it really sent,
        # whatever it announced, and keeps the copying linear.
        cap = self.cap * 2
        while cap - used < room:
            cap *= 2
        data = <char *>malloc(cap)
        if data is NULL:
            raise MemoryError
        memcpy(data, self.data, used)
        self.wipe()
        free(self.data)
        self.data = data
        self.cap = cap
        self.dirty = used
        return 0

    cdef void grew(self, Py_ssize_t count) noexcept:
        self.end += count
        if self.end > self.dirty:
            self.dirty = self.end

    cdef void wipe(self) noexcept:
        # memset may be dropped before free(); reading one byte back through a volatile
        # pointer keeps it.
        cdef volatile char *kept = self.data
        if self.dirty:
            memset(self.data, 0, self.dirty)
            kept[0] = kept[0]
        self.dirty = 0


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class View:
    def __init__(self):
        raise TypeError("a View is made by the connection that owns the bytes")

    def __dealloc__(self):
        if self.slab is not None:
            self.slab.pins -= 1

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void *>self.data, self.size, 1, flags)

    def __len__(self):
        return self.size


cdef Slab borrow():
    if _free_slabs:
        return <Slab>_free_slabs.pop()
    return Slab.__new__(Slab)


cdef void give_back(Slab slab) noexcept:
    """Take a slab back, wiped. One that is pinned or has grown is left to its last owner."""
    if slab.pins or slab.cap != SLAB_BYTES or len(_free_slabs) >= SLABS_KEPT:
        return
    slab.wipe()
    slab.start = slab.end = 0
    _free_slabs.append(slab)


cdef Slab unpinned(Slab slab):
    """Return a slab that may be written: this one, or a fresh one with its unread bytes."""
    cdef:
        Slab fresh
        Py_ssize_t used
    if slab.pins == 0:
        return slab
    fresh = borrow()
    used = slab.end - slab.start
    fresh.reserve(used)
    memcpy(fresh.data, slab.data + slab.start, used)
    fresh.grew(used)
    return fresh


cdef object payload(Slab slab, Py_ssize_t offset, Py_ssize_t size):
    """Return bytes of the slab as a copy when that is cheaper, else as a View."""
    cdef View view
    if size < VIEW_FROM:
        return PyBytes_FromStringAndSize(slab.data + offset, size)
    view = View.__new__(View)
    view.slab = slab
    view.data = slab.data + offset
    view.size = size
    slab.pins += 1
    return view


def free_slabs():
    """Return how many slabs wait to be borrowed."""
    return len(_free_slabs)
