"""Read HTTP/1.1 responses: the common form in place, every other legal form through h11.

The road is chosen at the end of a response's head. Common is: HTTP/1.1, one Content-Length
or a final `chunked`, nothing informational, a body. Whatever breaks a rule of `rules` is
refused on both roads, before h11 sees it.

Law: bytes before `slab.start` may be seen by a View and are never touched; chunks are moved
together only behind it. No byte is searched twice for a line's end, however the stream is cut.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memmove

from .headers cimport VALUE, Facts, Headers, headers_of, no_headers, read_fields
from .slab cimport Slab, payload

from collections import deque
from typing import Any

import msgspec

from .._decoders import decode_as
from ..errors import ClientStateError, ConnectionLostError, InvalidArgumentError, ProtocolError
from . import handover
from .rpc import _shape
from .rules import refusal

cdef enum State:
    IDLE            # nothing was asked for
    AT_HEAD
    AT_CONTENT      # counted by Content-Length
    AT_REST         # until the stream ends
    AT_SIZE         # a chunk's line
    AT_DATA
    AT_DATA_END
    AT_TRAILERS
    AT_END          # all was read; WHOLE is still to be said

cdef enum:
    CHUNK_DIGITS = 20
    AGAIN = 4       # beside Outcome: look at the new state at once

cdef object DecodeError = msgspec.DecodeError
cdef object ValidationError = msgspec.ValidationError
cdef object builtin_type = type
# Sizes from here on are only known to be more than any limit.
cdef Py_ssize_t SIZE_TOP = <Py_ssize_t>1 << 58
cdef bytes HEAD_METHOD = b"HEAD"

# Byte -> its value as a hexadecimal digit, or -1.
cdef signed char HEX[256]
cdef int _byte
for _byte in range(256):
    HEX[_byte] = -1
for _byte in range(10):
    HEX[48 + _byte] = _byte
for _byte in range(6):
    HEX[65 + _byte] = HEX[97 + _byte] = 10 + _byte


@cython.final
@cython.freelist(32)
cdef class Response:
    def __init__(self):
        raise TypeError("a Response is made by the reader of a connection")

    def __repr__(self):
        return f"<Response {self.status}, {len(self.body)} bytes>"

    def read(self):
        return bytes(self.body)

    def text(self):
        return bytes(self.body).decode("utf-8", "replace")

    def json(self, type=Any):
        cdef str problem = None
        try:
            return decode_as(self.body, type)
        except ValidationError as error:
            problem = _shape(str(error))
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = builtin_type(error).__name__
        # Raised outside the handlers: their exceptions may hold the bytes they failed on.
        raise ProtocolError(f"the response's body cannot be read ({problem})", sent=True)

    cdef int undo_coding(self, Py_ssize_t limit) except -1:
        """Put the body as it was before its Content-Encoding in place of it."""
        from .coding import decode

        self.coded = False
        if len(self.body):
            self.body = decode(self.headers["content-encoding"], self.body, limit=limit)
        return 0


cdef Response new_response(int status, Headers headers):
    cdef Response response = Response.__new__(Response)
    response.status = status
    response.headers = headers
    response.body = b""
    response.trailers = no_headers
    response.informational = ()
    return response


@cython.final
cdef class ResponseReader:
    def __init__(
        self,
        *,
        Py_ssize_t head=64 * 1024,
        Py_ssize_t header_count=256,
        Py_ssize_t body=64 * 1024 * 1024,
        Py_ssize_t informational=10,
        str parser="strict",
    ):
        if min(head, header_count, body) < 1 or informational < 0:
            raise InvalidArgumentError("a limit of a response must be at least 1")
        if parser not in {"strict", "h11"}:
            raise InvalidArgumentError(f"parser {parser!r} is not known; use 'strict' or 'h11'")
        self._max_head = head
        self._max_headers = header_count
        self._max_body = body
        self._max_informational = informational
        self._always_h11 = parser == "h11"
        self._state = IDLE

    cdef int ask(self, bytes method, bint streams) except -1:
        """Await the response to a request that is about to be sent."""
        if self._broken:
            raise ClientStateError("a response was refused; this connection has to be closed")
        if self._state != IDLE:
            raise ClientStateError("another response is still awaited on this connection")
        self._method = method
        self._is_head = method is HEAD_METHOD or method == HEAD_METHOD
        self.streams = streams
        self.response = None
        self.reusable = False
        self.piece = NULL
        self.piece_size = 0
        self._state = AT_HEAD
        self._scanned = 0
        self._lines = 0
        self._kept = 0
        self._total = 0
        self._informational = 0
        self._trailers = no_headers
        return 0

    cdef int advance(self, Slab slab) except -1:
        """Read on in the slab; return an Outcome. A refusal leaves the reader unusable."""
        cdef int outcome
        if self._broken:
            raise ClientStateError("a response was refused; this connection has to be closed")
        self._broken = True
        outcome = self._advance(slab)
        self._broken = False
        return outcome

    cdef int end(self, Slab slab) except -1:
        """The stream ended. Return WHOLE, PIECE before it, or NEED if nothing was awaited."""
        cdef int outcome = self.advance(slab)
        if outcome != NEED or self._state == IDLE:
            return outcome
        self._broken = True
        if self._state == AT_REST:
            self._feed_h11(slab, 0)
            outcome = self._finish(slab)
            self._broken = False
            return outcome
        raise ConnectionLostError(
            "the connection ended inside the response's "
            + ("head" if self._state == AT_HEAD else "body"),
            sent=True,
        )

    cdef object take(self, Slab slab):
        """Return the piece as an object that owns its bytes."""
        if self._h11 is not None:
            return PyBytes_FromStringAndSize(self.piece, self.piece_size)
        return payload(slab, self.piece - slab.data, self.piece_size)

    cdef int _advance(self, Slab slab) except -1:
        cdef:
            Py_ssize_t size
            int state
        while True:
            state = self._state
            if state == AT_HEAD:
                size = self._block(
                    slab.data + slab.start, slab.end - slab.start, 2, "head-size"
                )
                if size == 0:
                    return NEED
                if self._head(slab, size) and self.streams:
                    return HEAD
            elif state == IDLE:
                if slab.end != slab.start:
                    raise refusal("unasked-bytes", sent=False)
                return NEED
            elif self._h11 is not None and self._give_part():
                return PIECE
            elif self._refused is not None:
                raise self._refused
            elif state == AT_END:
                return self._finish(slab)
            else:
                if state == AT_CONTENT or state == AT_REST:
                    state = self._content(slab)
                else:
                    state = self._chunks(slab)
                if state != AGAIN:
                    return state

    cdef Py_ssize_t _block(
        self, const char *data, Py_ssize_t have, Py_ssize_t spare, str size_rule
    ) except -1:
        """Return the size of the block that ends with an empty line; 0 if it is not whole.

        `spare` lines of it are no headers.
        """
        cdef:
            const char *at = data + self._scanned
            const char *stop = data + have
        while at < stop:
            at = <const char *>memchr(at, b'\n', stop - at)
            if at is NULL:
                break
            if at == data or (at - 1)[0] != b'\r':
                raise refusal("bare-lf")
            self._lines += 1
            if self._lines - spare > self._max_headers:
                raise refusal("header-count")
            at += 1
            if at - data == 2 or (at - 3)[0] == b'\n':
                if at - data > self._max_head:
                    raise refusal(size_rule)
                return at - data
        if have > self._max_head:
            raise refusal(size_rule)
        self._scanned = have
        if spare == 2 and have and memcmp(data, b"HTTP/", min(have, 5)) != 0:
            raise refusal("status-line")    # not HTTP at all: no need to wait for a line
        return 0

    cdef int _head(self, Slab slab, Py_ssize_t size) except -1:
        """Read a whole head; return whether it is the final one."""
        cdef:
            const char *data = slab.data + slab.start
            const char *at
            Headers headers
            Facts facts
            int status = 0
            int next_state
            bint old
        # The shortest is "HTTP/1.1 200" and two line ends.
        if size < 16 or memcmp(data, b"HTTP/", 5) != 0 or data[6] != b'.' or data[8] != b' ':
            raise refusal("status-line")
        if data[5] != b'1' or (data[7] != b'1' and data[7] != b'0'):
            if not (b'0' <= data[5] <= b'9' and b'0' <= data[7] <= b'9'):
                raise refusal("status-line")
            raise refusal("version")
        old = data[7] == b'0'
        at = data + 9
        while at < data + 12:
            if not b'0' <= at[0] <= b'9':
                raise refusal("status-line")
            status = status * 10 + (at[0] - 48)
            at += 1
        if status < 100:
            raise refusal("status-line")
        if at[0] == b' ':
            while VALUE[<uint8_t>at[0]]:
                at += 1
        if at[0] != b'\r' or at[1] != b'\n':
            raise refusal("status-line")
        at += 2
        facts.has_length = facts.chunked = facts.close = facts.coded = False
        facts.length = 0
        headers = read_fields(at, data + size - at, self._lines, &facts, False)
        if facts.chunked and old:
            raise refusal("coding-on-1.0")
        self._scanned = 0
        self._lines = 0

        if status < 200:
            if status == 101:
                raise refusal("unasked-upgrade")
            self._informational += 1
            if self._informational > self._max_informational:
                raise refusal("informational-flood")
            next_state = AT_HEAD
        elif self._is_head or status == 204 or status == 304:
            next_state = AT_END
        elif facts.chunked:
            next_state = AT_SIZE
        elif facts.has_length:
            next_state = AT_CONTENT
            self._left = <Py_ssize_t>facts.length
        else:
            next_state = AT_REST

        if (
            self._h11 is None
            and not self._always_h11
            and not old
            and (next_state == AT_SIZE or next_state == AT_CONTENT)
        ):
            self._keep_alive = not facts.close
            self.response = new_response(status, headers)
            self.response.coded = facts.coded
            slab.start += size
        else:
            if self._h11 is None:
                self._h11 = handover.HandOver(self._method, self._max_head)
                self._h11_ended = False
                self._early = []
                self._parts = deque()
                self._gathered = bytearray()
            self._feed_h11(slab, size)
            if (self.response is None) != (status < 200):
                raise refusal("h11")
            if status >= 200:
                self.response.coded = facts.coded
        self._state = next_state
        return status >= 200

    cdef int _count(self, Py_ssize_t size) except -1:
        """Add announced body bytes to the total; a whole body has a limit."""
        if self.streams:
            if size >= SIZE_TOP:
                raise refusal("body-size")
        elif size > self._max_body - self._total:
            raise refusal("body-size")
        else:
            self._total += size
        return 0

    cdef int _content(self, Slab slab) except -1:
        cdef:
            Py_ssize_t have = slab.end - slab.start
            Py_ssize_t size
        if self._state == AT_REST:
            if have == 0:
                return NEED
            self._count(have)
            self._feed_h11(slab, have)
            return AGAIN
        if not self.streams and self._left > self._max_body:
            raise refusal("body-size")
        if self._h11 is None and not self.streams:
            if have < self._left:
                return NEED
            self.response.body = payload(slab, slab.start, self._left)
            slab.start += self._left
            return self._finish(slab)
        size = min(have, self._left)
        if size == 0:
            if self._left:
                return NEED
            self._state = AT_END
            return AGAIN
        self._left -= size
        if self._h11 is not None:
            self._feed_h11(slab, size)
            return AGAIN
        self.piece = slab.data + slab.start
        self.piece_size = size
        slab.start += size
        return PIECE

    cdef int _chunks(self, Slab slab) except -1:
        """Decode what has come of a chunked body, or for h11 only check it."""
        cdef:
            bint moves = self._h11 is None
            char *data = slab.data + slab.start
            Py_ssize_t have = slab.end - slab.start
            Py_ssize_t kept = self._kept
            Py_ssize_t at = kept
            Py_ssize_t size
            Facts facts
        try:
            while self._state != AT_END:
                if self._state == AT_SIZE:
                    size = self._chunk_line(data + at, have - at)
                    if size == 0:
                        break
                    at += size
                    self._scanned = 0
                    if self._left == 0:
                        self._state = AT_TRAILERS
                        continue
                    self._count(self._left)
                    self._state = AT_DATA
                    if moves and kept == 0:     # the first chunk stays where it lies
                        slab.start += at
                        data += at
                        have -= at
                        at = 0
                elif self._state == AT_DATA:
                    size = min(self._left, have - at)
                    if size == 0:
                        break
                    if moves:
                        if at != kept:
                            memmove(data + kept, data + at, size)
                        kept += size
                    at += size
                    self._left -= size
                    if self._left:
                        break
                    self._state = AT_DATA_END
                elif self._state == AT_DATA_END:
                    if have > at and data[at] != b'\r' or have > at + 1 and data[at + 1] != b'\n':
                        raise refusal("chunk-end")
                    if have - at < 2:
                        break
                    at += 2
                    self._state = AT_SIZE
                else:
                    size = self._block(data + at, have - at, 1, "trailer-size")
                    if size == 0:
                        break
                    if size > 2 and moves:
                        facts.has_length = facts.chunked = facts.close = facts.coded = False
                        self._trailers = read_fields(data + at, size, self._lines, &facts, True)
                    elif size > 2:
                        facts.has_length = facts.chunked = facts.close = facts.coded = False
                        read_fields(data + at, size, self._lines, &facts, True)
                    at += size
                    self._state = AT_END
        except ProtocolError as error:
            if not self.streams or (kept if moves else at) == 0:
                raise
            # What came before it is not lost over it.
            self._refused = error
        if not moves:
            if at:
                self._feed_h11(slab, at)
                return AGAIN
            return NEED
        if self._state == AT_END and not self.streams:
            self.response.body = payload(slab, slab.start, kept)
            slab.start += at
            return self._finish(slab)
        if self.streams:
            slab.start += at
            self._kept = 0
            self.piece = data
            self.piece_size = kept
            if kept:
                return PIECE
            return AGAIN if self._state == AT_END else NEED
        # Close the gap, so that framing never takes up more than one read's worth of room.
        if at != kept:
            memmove(data + kept, data + at, have - at)
            slab.end -= at - kept
        self._kept = kept
        return NEED

    cdef Py_ssize_t _chunk_line(self, const char *line, Py_ssize_t have) except -1:
        """Read a chunk's size into `_left`; return the line's length, 0 if it is not whole."""
        cdef:
            Py_ssize_t at = 0
            Py_ssize_t size = 0
            const char *stop
            int digit
        while at < have:
            digit = HEX[<uint8_t>line[at]]
            if digit < 0:
                break
            if size < SIZE_TOP:
                size = size * 16 + digit
            at += 1
            if at > CHUNK_DIGITS:
                raise refusal("chunk-size")
        if at == have:
            return 0
        if at == 0:
            raise refusal("chunk-size")
        self._left = size
        if line[at] == b'\r':
            if at + 1 == have:
                return 0
            if line[at + 1] != b'\n':
                raise refusal("chunk-size")
            return at + 2
        if line[at] == b' ' or line[at] == b'\t':
            raise refusal("chunk-size-space")
        if line[at] == b'\n':
            raise refusal("bare-lf")
        if line[at] != b';':
            raise refusal("chunk-size")
        at += 1
        self._scanned = max(self._scanned, at)
        stop = <const char *>memchr(line + self._scanned, b'\n', have - self._scanned)
        if (have if stop is NULL else stop - line) >= self._max_head:
            raise refusal("chunk-line-size")
        if stop is NULL:
            self._scanned = have
            return 0
        if (stop - 1)[0] != b'\r':
            raise refusal("bare-lf")
        while line[at] == b' ' or line[at] == b'\t' or line[at] == b'\r':
            at += 1
        if line + at == stop:
            raise refusal("empty-chunk-extension")
        return stop - line + 1

    cdef int _finish(self, Slab slab) except -1:
        if slab.end != slab.start:
            raise refusal("surplus-bytes")
        if self._h11 is None:
            self.reusable = self._keep_alive
        else:
            if not self._h11_ended:
                raise refusal("h11")
            self.reusable = self._h11.reusable
            if self._gathered:
                self.response.body = bytes(self._gathered)
            self._h11 = self._early = self._parts = self._gathered = self._part = None
        self.response.trailers = self._trailers
        self._state = IDLE
        return WHOLE

    cdef Response claim(self):
        """Return the response and forget it, lest an idle connection keep a body alive."""
        cdef Response response = self.response
        self.response = None
        self._trailers = no_headers
        return response

    cdef bint begun(self, Slab slab) noexcept:
        """Whether any byte of the awaited response has come."""
        return self._state != AT_HEAD or self._informational > 0 or slab.end != slab.start

    cdef int _feed_h11(self, Slab slab, Py_ssize_t size) except -1:
        """Give h11 the next bytes, all of which have passed the rules; none means the end."""
        cdef:
            bytes data = PyBytes_FromStringAndSize(slab.data + slab.start, size)
            Response response
        slab.start += size
        if self._h11_ended:
            raise refusal("h11")
        for kind, status, pairs, part in self._h11.feed(data):
            if kind == handover.DATA:
                # Not a list of parts for a whole body: a peer that sends chunks of two bytes
                # would make us hold thirty times as much.
                if self.streams:
                    self._parts.append(part)
                else:
                    self._gathered += <bytes>part
            elif kind == handover.END:
                self._h11_ended = True
                if pairs:
                    self._trailers = headers_of(pairs)
            else:
                response = new_response(status, headers_of(pairs))
                if kind == handover.INFORMATIONAL:
                    self._early.append(response)
                else:
                    response.informational = tuple(self._early)
                    self.response = response
        return 0

    cdef int _give_part(self) except -1:
        """Make the next part that came through h11 the piece; 0 if there is none to give."""
        cdef bytes part
        if not self.streams or not self._parts:
            return 0
        part = self._part = <bytes>self._parts.popleft()
        self.piece = PyBytes_AS_STRING(part)
        self.piece_size = PyBytes_GET_SIZE(part)
        return 1
