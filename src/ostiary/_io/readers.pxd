"""Connections that are read when something has come."""


cdef class Reader:
    """What reads from a descriptor."""
    cdef bint watched           # somebody looks whether something has come

    cdef int readable(self) except -1


cdef class Readers:
    """The descriptors of a pool in which one event loop looks for bytes."""
    cdef:
        object _loop
        dict _readers           # descriptor -> Reader
        int _epoll              # -1: the loop watches each itself

    cdef int add(self, int fd, Reader reader) except -1
    cdef int remove(self, int fd) except -1
    cdef int pause(self, int fd, Reader reader) except -1
    cdef int resume(self, int fd, Reader reader) except -1
    cdef int _gather(self) except -1
    cdef int abandon(self) except -1
