"""Waiting, the clock, forks, and what is known about a peer before a byte is exchanged.

No frames here and no event loop. Neighbours: `blocking` and `aio`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno

import errno as errors_by_name
import os
import socket
import struct
from weakref import WeakSet

from ..config import TcpAddress, UnixAddress
from ..errors import ConnectError, ConnectionLostError, DeadlineError, InvalidArgumentError

# Everything that holds a descriptor or a lock which a forked child must not use.
_inherited = WeakSet()


def forget_after_fork(thing):
    """Have `thing.abandon()` called in every child forked while `thing` lives."""
    _inherited.add(thing)


def _after_fork_in_child():
    global fork_count
    fork_count += 1
    for thing in list(_inherited):
        thing.abandon()


os.register_at_fork(after_in_child=_after_fork_in_child)


cdef int wait(int fd, bint writing, bint reading, double deadline) except -1:
    """Block without the GIL until the descriptor is ready; DeadlineError when time is up."""
    cdef:
        double left
        int ms, ready, error
    while True:
        if deadline > 1e18:
            ms = -1
        else:
            left = deadline - now()
            if left <= 0:
                raise out_of_time()
            # Rounded up, so that the last fraction of a millisecond is not spun away.
            ms = 1_000_000_000 if left > 1_000_000 else <int>(left * 1000) + 1
        with nogil:
            ready = sys_poll(fd, writing, reading, ms)
            error = errno
        if ready > 0:
            return 0
        if ready < 0 and error != EINTR:
            raise lost("waiting for the peer", error, False)
        PyErr_CheckSignals()


cdef object out_of_time():
    return DeadlineError("the call's time ran out; allow it more, or see why the peer is slow")


cdef object too_quiet(bint idle, double idle_timeout):
    """Make the error for an event stream in which nothing came for too long."""
    if idle:
        return DeadlineError(
            f"no event came for {idle_timeout:g} s; the stream is closed (idle_timeout)",
            sent=True,
        )
    return DeadlineError("the time allowed for the whole stream ran out", sent=True)


cdef object lost(str doing, int error, bint sent):
    reason = os.strerror(error) if error else "the peer closed it"
    return ConnectionLostError(
        f"the connection ended while {doing}: {reason}; the next call opens another", sent=sent
    )


def connection_lost(doing, error):
    """Make the error for a connection that ended before anything was asked over it."""
    return lost(doing, error, False)


cdef int hear_out(object sock, int fd) except -1:
    """Let the peer finish what was sent to it before the socket closes, half a second at most.

    Closing at once, with its replies unread, would make its next reply fail, and a peer may
    well stop there with the rest of our requests.
    """
    cdef:
        char heard[4096]
        double deadline = now() + 0.5
    try:
        sock.shutdown(socket.SHUT_WR)
        while True:
            wait(fd, False, True, deadline)
            if sys_recv(fd, heard, sizeof(heard)) == 0:
                return 0
    except (OSError, DeadlineError):
        return 0


cdef int say_farewell(object tls, object sock) except -1:
    """End a TLS session in order before its socket is closed, as far as the kernel takes it."""
    cdef:
        bytes records
        int fd
    if tls is not None:
        fd = sock.fileno()
        if fd >= 0:     # the collector may have come to the socket first
            records = tls.farewell()
            sys_send(fd, PyBytes_AS_STRING(records), PyBytes_GET_SIZE(records))
    return 0


def deadline_after(timeout):
    """Return the monotonic time `timeout` seconds from now; infinity for None."""
    return float("inf") if timeout is None else now() + <double>timeout


def seconds_left(double deadline):
    """Return the seconds until `deadline`; DeadlineError when there are none."""
    cdef double left = deadline - now()
    if left <= 0:
        raise out_of_time()
    return left


def unreachable(address, error):
    """Make the ConnectError that says what was tried and what to look at."""
    code = error.errno
    if isinstance(address, UnixAddress):
        if code == errors_by_name.ENOENT:
            advice = "there is no such socket; start the server, or give the path it listens on"
        elif code == errors_by_name.ECONNREFUSED:
            advice = "the socket file is there but nothing listens on it; start the server"
        elif code in (errors_by_name.EACCES, errors_by_name.EPERM):
            advice = "this user may not open it; look at the owner and mode of the socket"
        else:
            advice = error.strerror or str(error)
    elif isinstance(error, socket.gaierror):
        advice = f"the host name does not resolve ({error.strerror})"
    elif code == errors_by_name.ECONNREFUSED:
        advice = "nothing listens there; start the server, or look at host and port"
    else:
        advice = error.strerror or str(error)
    return ConnectError(f"cannot connect to {address}: {advice}")


def new_socket(family):
    """Return a non-blocking stream socket that no child program inherits."""
    sock = _Socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


class _Socket(socket.socket):
    """Closed without a warning when it is collected, as the connection it belongs to is.

    Of things that end together the collector takes whichever it comes to first.
    """

    __slots__ = ()

    def __del__(self):
        # Past Python's half, which there is none of where no descriptor was left for it.
        super(socket.socket, self).close()


def tune(sock, address):
    """Set what a connected socket needs: no Nagle delay, no SIGPIPE."""
    if isinstance(address, TcpAddress):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    no_sigpipe = getattr(socket, "SO_NOSIGPIPE", None)
    if no_sigpipe is not None:
        sock.setsockopt(socket.SOL_SOCKET, no_sigpipe, 1)


def peer_uid(sock):
    """Return the user id of the process at the other end of a Unix socket.

    It is the kernel's word (SO_PEERCRED, LOCAL_PEERCRED), taken when the peer listened or
    connected.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is not None:
        _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, 12))
        return uid
    # struct xucred: version, uid, then groups; level 0 is SOL_LOCAL.
    return struct.unpack_from("2I", sock.getsockopt(0, socket.LOCAL_PEERCRED, 76))[1]


def check_peer(sock, address, expected_uid):
    """Refuse a Unix-socket server that does not run as `expected_uid`."""
    if expected_uid is None:
        return
    if not isinstance(address, UnixAddress):
        raise InvalidArgumentError(
            f"expected_uid needs a Unix socket, and {address} is not one; use TLS there"
        )
    uid = peer_uid(sock)
    if uid != expected_uid:
        raise ConnectError(
            f"the server at {address} runs as uid {uid} and uid {expected_uid} was expected; "
            "nothing was sent to it"
        )
