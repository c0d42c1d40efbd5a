"""System calls without Python in between, and what both colours of channel share."""

from libc.stddef cimport size_t

cdef extern from * nogil:
    """
    #include <errno.h>
    #include <poll.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <time.h>
    #include <unistd.h>
    #ifndef MSG_NOSIGNAL            /* macOS: SO_NOSIGPIPE is set on the socket instead */
    #define MSG_NOSIGNAL 0
    #endif
    static inline ssize_t ostiary_recv(int fd, void *p, size_t n) {
        return recv(fd, p, n, MSG_DONTWAIT);
    }
    static inline ssize_t ostiary_send(int fd, const void *p, size_t n) {
        return send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    static inline ssize_t ostiary_send_both(
        int fd, const void *p, size_t n, const void *q, size_t m
    ) {
        struct iovec parts[2] = {{(void *)p, n}, {(void *)q, m}};
        struct msghdr message = {0};
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    static inline ssize_t ostiary_peek(int fd) {
        char byte;
        return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    }
    static inline double ostiary_now(void) {
        struct timespec t;
    #ifdef __APPLE__                /* the clock behind Python's time.monotonic() */
        clock_gettime(CLOCK_UPTIME_RAW, &t);
    #else
        clock_gettime(CLOCK_MONOTONIC, &t);
    #endif
        return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    }
    static inline int ostiary_poll(int fd, int writing, int reading, int ms) {
        struct pollfd p;
        p.fd = fd;
        p.events = (short)((writing ? POLLOUT : 0) | (reading ? POLLIN : 0));
        p.revents = 0;
        return poll(&p, 1, ms);
    }
    """
    ssize_t sys_recv "ostiary_recv"(int fd, void *data, size_t size)
    ssize_t sys_send "ostiary_send"(int fd, const void *data, size_t size)
    ssize_t sys_send_both "ostiary_send_both"(
        int fd, const void *data, size_t size, const void *more, size_t more_size
    )
    ssize_t sys_peek "ostiary_peek"(int fd)
    int sys_poll "ostiary_poll"(int fd, int writing, int reading, int ms)
    double now "ostiary_now"()

cdef unsigned int fork_count    # how many forks lie between this process and the import

cdef int wait(int fd, bint writing, bint reading, double deadline) except -1
cdef int hear_out(object sock, int fd) except -1
cdef int say_farewell(object tls, object sock) except -1
cdef object out_of_time()
cdef object too_quiet(bint idle, double idle_timeout)
cdef object lost(str doing, int error, bint sent)
