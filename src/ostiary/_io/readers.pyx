"""Which connections of a pool have something to read: one descriptor for the event loop.

A loop written in Python spends as long on each descriptor that is ready as a small response
takes to be read. On Linux the connections are in an epoll of their own, which the loop watches
as a single descriptor; elsewhere, and where there is no descriptor left, it watches each.
"""

cimport cython

cdef extern from * nogil:
    """
    #include <unistd.h>
    /* What is ready beyond these is so in the loop's next turn as well. */
    #define OSTIARY_BATCH 128
    #ifdef __linux__
    #include <sys/epoll.h>
    static inline int ostiary_epoll(void) { return epoll_create1(EPOLL_CLOEXEC); }
    static inline int ostiary_epoll_set(int epoll, int fd, int watched) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
        return epoll_ctl(epoll, watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
    }
    static inline int ostiary_epoll_ready(int epoll, int *ready) {
        struct epoll_event events[OSTIARY_BATCH];
        int count = epoll_wait(epoll, events, OSTIARY_BATCH, 0);
        for (int at = 0; at < count; at++) ready[at] = events[at].data.fd;
        return count;
    }
    #else
    static inline int ostiary_epoll(void) { return -1; }
    static inline int ostiary_epoll_set(int epoll, int fd, int watched) { return -1; }
    static inline int ostiary_epoll_ready(int epoll, int *ready) { return 0; }
    #endif
    """
    enum: BATCH "OSTIARY_BATCH"
    int sys_epoll "ostiary_epoll"()
    int sys_epoll_set "ostiary_epoll_set"(int epoll, int fd, bint watched)
    int sys_epoll_ready "ostiary_epoll_ready"(int epoll, int *ready)
    int sys_close "close"(int fd)

cdef extern from "Python.h":
    object PyErr_SetFromErrno(object kind)


cdef class Reader:
    cdef int readable(self) except -1:
        return 0

    def read(self):
        """Read what has come; the loop's call where it watches each descriptor."""
        self.readable()


@cython.final
cdef class Readers:
    def __cinit__(self):
        self._epoll = -1

    def __init__(self, loop):
        self._loop = loop
        self._readers = {}

    def __dealloc__(self):
        if self._epoll >= 0:
            sys_close(self._epoll)

    cdef int add(self, int fd, Reader reader) except -1:
        """Have `reader` read whenever something has come, until it is removed."""
        self._readers[fd] = reader
        # One alone is cheapest with the loop.
        if len(self._readers) == 2 and self._epoll < 0:
            self._gather()
        return self.resume(fd, reader)

    cdef int _gather(self) except -1:
        """Move those that the loop watches into an epoll."""
        cdef Reader reader
        self._epoll = sys_epoll()
        if self._epoll < 0:
            return 0
        for fd, reader in self._readers.items():
            if reader.watched:
                self._loop.remove_reader(fd)
                self.resume(fd, reader)
        self._loop.add_reader(self._epoll, self._ready)
        return 0

    cdef int remove(self, int fd) except -1:
        """Forget a descriptor that is about to be closed."""
        reader = self._readers.pop(fd, None)
        if reader is None:
            return 0
        self.pause(fd, <Reader>reader)
        if not self._readers and self._epoll >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._epoll)
            self.abandon()
        return 0

    cdef int pause(self, int fd, Reader reader) except -1:
        """Leave what comes where it is; a peer that hangs up is not seen either."""
        reader.watched = False
        if self._epoll >= 0:
            sys_epoll_set(self._epoll, fd, False)
        elif not self._loop.is_closed():
            self._loop.remove_reader(fd)
        return 0

    cdef int resume(self, int fd, Reader reader) except -1:
        reader.watched = True
        if self._epoll < 0:
            self._loop.add_reader(fd, reader.read)
        elif sys_epoll_set(self._epoll, fd, True) < 0:
            PyErr_SetFromErrno(OSError)
        return 0

    cdef int abandon(self) except -1:
        """Let go of the descriptor without a word to the loop: after a fork it is not ours."""
        if self._epoll >= 0:
            sys_close(self._epoll)
            self._epoll = -1
        self._readers.clear()
        return 0

    def _ready(self):
        """Have each read that can. One that raises leaves the others to the loop's next turn."""
        cdef:
            int ready[BATCH]
            int count = sys_epoll_ready(self._epoll, ready)
            int at
        for at in range(count):
            # The one before it may have closed it.
            reader = self._readers.get(ready[at])
            if reader is not None:
                (<Reader>reader).readable()
