"""One HTTP/1.1 connection's responses, read where they lie in a slab.

How an `_io` room uses a ResponseReader:

    reader.ask(method, streams)         before the request's first byte is sent
    reader.advance(slab)                after each receive, again after HEAD and after PIECE
    reader.end(slab)                    instead, when the stream ended
    reader.claim()                      once WHOLE was returned: the response
    reader.reusable                     then, too

The reader moves `slab.start` past what it has read. Before receiving into the slab the room
takes `unpinned(slab)`, as after every View.
"""

from .headers cimport Headers
from .slab cimport Slab

cdef enum Outcome:
    NEED = 0        # more bytes
    HEAD = 1        # streams only: reader.response has status and headers
    PIECE = 2       # streams only: reader.piece, until the slab or the reader is touched
    WHOLE = 3       # the response ended


cdef class Response:
    cdef:
        readonly int status
        readonly Headers headers
        readonly object body            # bytes or View; b"" in a stream
        bint coded                      # it has a Content-Encoding
        readonly Headers trailers
        readonly tuple informational    # the 1xx Responses that came before

    cdef int undo_coding(self, Py_ssize_t limit) except -1


cdef class ResponseReader:
    cdef:
        readonly Response response  # None until its head is whole
        readonly bint reusable      # whether another request may follow on the connection
        bint streams                # may be changed while HEAD is the last outcome
        const char *piece
        Py_ssize_t piece_size

        # settings
        Py_ssize_t _max_head
        Py_ssize_t _max_headers
        Py_ssize_t _max_body
        Py_ssize_t _max_informational
        bint _always_h11

        # where it is; every offset counts from slab.start
        int _state
        object _refused             # what is wrong behind the piece that was given last
        bint _broken                # an advance did not end well: the connection is of no use
        Py_ssize_t _scanned         # bytes of the current line or block searched for its end
        Py_ssize_t _lines           # lines of the current block found so far
        Py_ssize_t _kept            # body bytes decoded in place, gap-free from slab.start
        Py_ssize_t _left            # bytes to come of the content, or of the chunk
        Py_ssize_t _total           # body bytes so far

        # the exchange
        bytes _method
        bint _is_head
        bint _keep_alive
        Py_ssize_t _informational
        Headers _trailers
        object _h11                 # a HandOver once this response has gone to h11
        bint _h11_ended
        list _early                 # informational Responses so far
        object _parts               # deque of what h11 gave of a streamed body
        bytearray _gathered         # what it gave of a whole one
        bytes _part                 # the one that `piece` points into

    cdef int ask(self, bytes method, bint streams) except -1
    cdef int advance(self, Slab slab) except -1
    cdef int end(self, Slab slab) except -1
    cdef object take(self, Slab slab)
    cdef Response claim(self)
    cdef bint begun(self, Slab slab) noexcept

    cdef int _advance(self, Slab slab) except -1
    cdef Py_ssize_t _block(
        self, const char *data, Py_ssize_t have, Py_ssize_t spare, str size_rule
    ) except -1
    cdef int _head(self, Slab slab, Py_ssize_t size) except -1
    cdef int _content(self, Slab slab) except -1
    cdef int _chunks(self, Slab slab) except -1
    cdef Py_ssize_t _chunk_line(self, const char *line, Py_ssize_t have) except -1
    cdef int _count(self, Py_ssize_t size) except -1
    cdef int _finish(self, Slab slab) except -1
    cdef int _feed_h11(self, Slab slab, Py_ssize_t size) except -1
    cdef int _give_part(self) except -1
