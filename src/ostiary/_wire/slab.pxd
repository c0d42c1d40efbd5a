"""The receive buffer. A connection borrows one while bytes are on their way, and returns it."""


cdef class Slab:
    cdef:
        char *data
        Py_ssize_t cap      # bytes allocated
        Py_ssize_t start    # first unread byte
        Py_ssize_t end      # one past the last unread byte
        Py_ssize_t dirty    # one past the highest byte ever written: what has to be wiped
        Py_ssize_t pins     # Views alive; while there is one, nothing here may move or be reused

    cdef int reserve(self, Py_ssize_t room) except -1
    cdef void grew(self, Py_ssize_t count) noexcept
    cdef void wipe(self) noexcept


cdef class View:
    cdef:
        Slab slab           # keeps the bytes alive
        const char *data
        Py_ssize_t size


cdef Slab borrow()
cdef void give_back(Slab slab) noexcept
cdef Slab unpinned(Slab slab)
cdef object payload(Slab slab, Py_ssize_t offset, Py_ssize_t size)
