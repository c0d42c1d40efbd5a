"""A connected blocking socket: bytes out, bytes into a slab, one deadline over all of it.

No frames and no HTTP: `blocking` and `blocking_http` make channels of it.

Law: one exchange at a time, between `enter` and `leave`; one that did not end well is the
connection's last.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy

from .._wire.outbox cimport Outbox
from .._wire.slab cimport Slab, give_back
from .sockets cimport (
    fork_count,
    lost,
    now,
    say_farewell,
    sys_peek,
    sys_recv,
    sys_send,
    sys_send_both,
    wait,
)

import errno as errors_by_name
import os
import socket
import threading
import time

from ..config import UnixAddress
from ..errors import (
    ClientStateError,
    ConnectionLostError,
    DeadlineError,
    OstiaryError,
    TransportError,
)
from .sockets import check_peer, new_socket, seconds_left, tune, unreachable
from .tls import engine_for

cdef enum:
    READ_BYTES = 16 * 1024
    # Releasing the GIL around a reply that is microseconds away lets one busy thread cut the
    # call rate a thousandfold; so poll this often first. On one core the peer cannot run
    # meanwhile, and polling only delays it.
    TRIES = 200
    # A peer whose replies are never that near is polled in vain: after so many in a row it is
    # waited for at once, and now and then looked at again.
    LATE_IN_A_ROW = 4
    WAITED_AT_ONCE = 32

cdef int _tries = TRIES if (os.cpu_count() or 1) > 1 else 1
# A peek costs 0.3 us: between back-to-back calls of a protocol with ids it is not worth it.
cdef double STALE_AFTER = 0.1


cdef class Stream:
    def __del__(self):
        # Whoever was about to take it was interrupted: no warning, there is nobody to warn.
        self._shut()

    @property
    def closed(self):
        return self._fd < 0

    def stale(self):
        return self.is_stale(STALE_AFTER)

    def close(self):
        if self._busy and self._fd >= 0 and self._born == fork_count:
            # The descriptor belongs to the thread that waits on it: closing it here could
            # hand its number to somebody else's file while that thread still polls it.
            self._doomed = True
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        else:
            self._shut()

    cdef int establish(self, address, double deadline, ssl_context, expected_uid) except -1:
        """Connect, check the peer's uid if asked, agree on TLS if asked."""
        self._fd = -1
        tls = engine_for(address, ssl_context)
        sock = reach(address, deadline)
        try:
            check_peer(sock, address, expected_uid)
            tune(sock, address)
            self._sock = sock
            self._tls = tls
            self._born = fork_count
            self._fd = sock.fileno()
            self._out = Outbox()
            self._used_at = now()
            if tls is not None:
                self._handshake(deadline)
        except BaseException:
            self._fd = -1
            sock.close()
            raise
        return 0

    cdef int enter(self) except -1:
        if self._fd < 0 or self._born != fork_count:
            raise ConnectionLostError("the connection is closed; open another")
        if self._busy:
            raise ClientStateError(
                "a blocking channel carries one call at a time; use one per thread"
            )
        self._busy = True
        self._sent = False
        self._out.clear()
        return 0

    cdef int leave(self) except -1:
        cdef Slab slab = self._slab
        if slab is not None:
            # Bytes right behind the last reply were asked for by nobody: the result stands,
            # the connection does not.
            if slab.end != slab.start:
                self._doomed = True
            self._slab = None
            give_back(slab)
        self._used_at = now()
        self._busy = False
        if self._doomed:
            self._shut()
        return 0

    cdef bint is_stale(self, double unless_used_within) except -1:
        """Whether this idle connection is closed, or holds bytes nobody asked for."""
        cdef ssize_t count
        if self._fd < 0 or self._born != fork_count:
            return True
        if unless_used_within and now() - self._used_at < unless_used_within:
            return False
        count = sys_peek(self._fd)
        return count >= 0 or errno != EAGAIN

    cdef int send(self, const char *data, Py_ssize_t size, double deadline) except -1:
        """Send all of it, or raise with the connection unusable."""
        cdef:
            bytes records
            Py_ssize_t done = 0
        if self._tls is not None:
            records = self._tls.encrypt(PyBytes_FromStringAndSize(data, size))
            data = PyBytes_AS_STRING(records)
            size = PyBytes_GET_SIZE(records)
        while done < size:
            done += self.send_now(data + done, size - done)
            if done < size:
                wait(self._fd, True, False, deadline)
        return 0

    cdef Py_ssize_t send_now(self, const char *data, Py_ssize_t size) except -1:
        """Send what the kernel takes now; 0 when it takes nothing."""
        return self.send_both_now(data, size, NULL, 0)

    cdef Py_ssize_t send_both_now(
        self, const char *data, Py_ssize_t size, const char *more, Py_ssize_t more_size
    ) except -1:
        """Like send_now, for bytes that lie in two places."""
        cdef ssize_t count
        while True:
            if more_size:
                count = sys_send_both(self._fd, data, size, more, more_size)
            else:
                count = sys_send(self._fd, data, size)
            if count >= 0:
                self._sent = True
                return count
            if errno == EINTR:
                PyErr_CheckSignals()
            elif errno == EAGAIN:
                return 0
            else:
                raise lost("sending the request", errno, self._sent)

    cdef Py_ssize_t receive(self, Slab slab, double deadline) except -1:
        """Add at least one byte to the slab; ConnectionLostError at end of stream."""
        cdef:
            int tries = _tries
            bint waited = False
            Py_ssize_t count
        if self._late >= LATE_IN_A_ROW:
            if self._late < LATE_IN_A_ROW + WAITED_AT_ONCE:
                tries = 1
            else:
                self._late = LATE_IN_A_ROW - 1
        while True:
            count = self.receive_now(slab, deadline)
            if count:
                if not waited:
                    self._late = 0
                return count
            if tries > 0:
                tries -= 1
            else:
                if not waited:
                    waited = True
                    self._late += 1
                wait(self._fd, False, True, deadline)

    cdef Py_ssize_t receive_now(self, Slab slab, double deadline) except -1:
        """Add what has arrived to the slab; 0 when that is nothing."""
        cdef ssize_t count
        if self._tls is not None:
            return self.receive_tls(slab, deadline)
        if slab.cap == slab.end:
            slab.reserve(READ_BYTES)
        while True:
            count = sys_recv(self._fd, slab.data + slab.end, slab.cap - slab.end)
            if count > 0:
                slab.grew(count)
                return count
            if count == 0:
                self._ended = True
                raise lost("waiting for the reply", 0, self._sent)
            if errno == EAGAIN:
                return 0
            if errno != EINTR:
                raise lost("waiting for the reply", errno, self._sent)
            PyErr_CheckSignals()

    cdef Py_ssize_t receive_tls(self, Slab slab, double deadline) except -1:
        """Like receive_now. Records that carry no plaintext, such as tickets, are passed over."""
        cdef:
            char raw[READ_BYTES]
            bytes plain, records
            ssize_t count
        while True:
            if self._tls.closed:
                # Said under TLS. A bare end of the TCP stream, below, may be anybody's doing.
                self._ended = True
                raise lost("waiting for the reply", 0, self._sent)
            count = sys_recv(self._fd, raw, READ_BYTES)
            if count < 0:
                if errno == EAGAIN:
                    return 0
                if errno != EINTR:
                    raise lost("waiting for the reply", errno, self._sent)
                PyErr_CheckSignals()
                continue
            if count == 0:
                raise lost("waiting for the reply", 0, self._sent)
            plain = self._tls.decrypt(PyBytes_FromStringAndSize(raw, count))
            records = self._tls.reply()
            if records:
                self._send_records(records, deadline)
            if plain:
                slab.reserve(PyBytes_GET_SIZE(plain))
                memcpy(slab.data + slab.end, PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain))
                slab.grew(PyBytes_GET_SIZE(plain))
                return PyBytes_GET_SIZE(plain)

    def _send_records(self, bytes records, double deadline):
        cdef Py_ssize_t done = 0, size = PyBytes_GET_SIZE(records)
        while done < size:
            done += self.send_now(PyBytes_AS_STRING(records) + done, size - done)
            if done < size:
                wait(self._fd, True, False, deadline)

    def _handshake(self, double deadline):
        cdef:
            char raw[READ_BYTES]
            ssize_t count
        records, done = self._tls.handshake(b"")
        while True:
            self._send_records(records, deadline)
            records = b""
            if done:
                return
            wait(self._fd, False, True, deadline)
            count = sys_recv(self._fd, raw, READ_BYTES)
            if count == 0:
                raise lost("agreeing on TLS", 0, False)
            if count < 0:
                if errno != EAGAIN and errno != EINTR:
                    raise lost("agreeing on TLS", errno, False)
                continue
            records, done = self._tls.handshake(PyBytes_FromStringAndSize(raw, count))

    def _shut(self):
        """Close the socket; idempotent. In a forked child only the descriptor is dropped."""
        if self._fd < 0 or self._sock is None:
            return
        if self._born == fork_count:
            say_farewell(self._tls, self._sock)
        self._fd = -1
        try:
            self._sock.close()
        except OSError:
            pass

    def abandon(self):
        """Drop the descriptor in a forked child; the parent's connection lives on."""
        if self._fd >= 0:
            self._fd = -1
            self._sock.close()


def reach(address, double deadline):
    """Return a connected non-blocking socket; ConnectError says why not."""
    if isinstance(address, UnixAddress):
        return _reach_one(address, socket.AF_UNIX, address.path, deadline)
    found = _resolve(address, deadline)
    for position, (family, where) in enumerate(found):
        last = position == len(found) - 1
        # An address that never answers may take its share of the time, not all of it.
        share = deadline if last else now() + (deadline - now()) / (len(found) - position)
        try:
            return _reach_one(address, family, where, share)
        except (TransportError, OSError):
            if last:
                raise


def _reach_one(address, family, where, double deadline):
    sock = None
    try:
        sock = new_socket(family)
        pause = 0.001
        while True:
            code = sock.connect_ex(where)
            if code == 0:
                return sock
            if code == errors_by_name.EINPROGRESS:
                wait(sock.fileno(), True, False, deadline)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return sock
            elif code == errors_by_name.EAGAIN:
                # A Unix listener's queue is full; the kernel will not tell when it is not.
                time.sleep(min(pause, seconds_left(deadline)))
                pause = min(pause * 2, 0.05)
                continue
            elif code == errors_by_name.EINTR:
                continue
            raise unreachable(address, OSError(code, os.strerror(code)))
    except BaseException as error:
        if sock is not None:
            sock.close()
        if isinstance(error, OSError) and not isinstance(error, OstiaryError):
            raise unreachable(address, error) from None     # EMFILE and its like
        raise


def _resolve(address, double deadline):
    """Return [(family, sockaddr)]; names are looked up on a thread, to be timed out."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except (socket.gaierror, UnicodeError):     # a name, or not even that: see below
        found = None
    if found is None:
        answers = []

        def look_up():
            try:
                answers.append(
                    socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
                )
            except (OSError, UnicodeError) as error:
                answers.append(error)

        thread = threading.Thread(target=look_up, daemon=True, name="ostiary-resolve")
        thread.start()
        left = deadline - now()
        thread.join(None if left > threading.TIMEOUT_MAX else max(left, 0.0))
        if not answers:
            raise DeadlineError(f"the call's time ran out while looking up {address.host}")
        found = answers[0]
        if isinstance(found, UnicodeError):
            found = socket.gaierror(socket.EAI_NONAME, "not a valid host name")
        if isinstance(found, OSError):
            raise unreachable(address, found)
    return [(family, where) for family, _, _, _, where in found]
