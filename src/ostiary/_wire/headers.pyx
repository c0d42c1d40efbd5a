"""Header blocks of a response: validated once, copied once, indexed where they lie.

Law: the receive buffer is read and never written here, so that a response can still be
handed to h11 byte for byte after its head was read. Neighbour: `http1`, which finds where a
block ends; every LF in a block has its CR before it gets here.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeLatin1
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from .rules import refusal

cdef enum:
    LENGTH_DIGITS = 20

cdef uint64_t LENGTH_TOP = <uint64_t>1 << 58

cdef int _byte
for _byte in range(256):
    TOKEN[_byte] = 0
    # As h11 reads them: everything but NUL, LF, VT, FF and CR. Servers do send other
    # control characters, and only these have a meaning to somebody.
    VALUE[_byte] = _byte != 0 and not 10 <= _byte <= 13
for _byte in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz":
    TOKEN[_byte] = _byte
for _byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
    TOKEN[_byte] = _byte + 32


@cython.final
@cython.no_gc
@cython.freelist(32)
cdef class Headers:
    def __init__(self, pairs=()):
        cdef list found = []
        for name, value in pairs:
            if isinstance(name, str):
                name = name.encode("latin-1")
            if isinstance(value, str):
                value = value.encode("latin-1")
            found.append((bytes(name).lower(), bytes(value)))
        self.fill(found)

    def __dealloc__(self):
        free(self.spans)

    cdef int allocate(self, Py_ssize_t count, Py_ssize_t size) except -1:
        cdef Span *spans = <Span *>malloc(count * sizeof(Span) + size + 1)
        if spans is NULL:
            raise MemoryError
        free(self.spans)
        self.spans = spans
        self.text = <char *>(spans + count)
        return 0

    cdef int fill(self, list pairs) except -1:
        cdef:
            Py_ssize_t size = 0
            Py_ssize_t at = 0
            Span *span
            bytes name, value
        for name, value in pairs:
            size += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value)
        self.allocate(len(pairs), size)
        self.count = 0
        for name, value in pairs:
            span = &self.spans[self.count]
            span.name = <uint32_t>at
            span.name_size = <uint32_t>PyBytes_GET_SIZE(name)
            memcpy(self.text + at, PyBytes_AS_STRING(name), span.name_size)
            at += span.name_size
            span.value = <uint32_t>at
            span.value_size = <uint32_t>PyBytes_GET_SIZE(value)
            memcpy(self.text + at, PyBytes_AS_STRING(value), span.value_size)
            at += span.value_size
            self.count += 1
        return 0

    cdef Py_ssize_t find(self, const char *name, Py_ssize_t size, Py_ssize_t first) noexcept:
        """Return the index of the first header of that name from `first` on, or -1."""
        cdef:
            Py_ssize_t index, at
            const char *own
        for index in range(first, self.count):
            if <Py_ssize_t>self.spans[index].name_size != size:
                continue
            own = self.text + self.spans[index].name
            for at in range(size):
                if TOKEN[<uint8_t>name[at]] != <uint8_t>own[at]:
                    break
            else:
                return index
        return -1

    cdef bytes value(self, Py_ssize_t index):
        cdef Span *span = &self.spans[index]
        return PyBytes_FromStringAndSize(self.text + span.value, span.value_size)

    cdef str name_text(self, Py_ssize_t index):
        cdef Span *span = &self.spans[index]
        return PyUnicode_DecodeLatin1(self.text + span.name, span.name_size, NULL)

    cdef str value_text(self, Py_ssize_t index):
        cdef Span *span = &self.spans[index]
        return PyUnicode_DecodeLatin1(self.text + span.value, span.value_size, NULL)

    cdef str joined(self, const char *name, Py_ssize_t size, Py_ssize_t first):
        """Return all values of a name, the first of which stands at index `first`."""
        cdef:
            str text = self.value_text(first)
            Py_ssize_t index = first
        while True:
            index = self.find(name, size, index + 1)
            if index < 0:
                return text
            text = f"{text}, {self.value_text(index)}"

    def __getitem__(self, str name not None):
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, str name not None, default=None):
        cdef:
            Py_ssize_t size, index
            const char *text = PyUnicode_AsUTF8AndSize(name, &size)
        index = self.find(text, size, 0)
        return default if index < 0 else self.joined(text, size, index)

    def get_all(self, str name not None):
        cdef:
            Py_ssize_t size, index = -1
            const char *text = PyUnicode_AsUTF8AndSize(name, &size)
            list found = []
        while True:
            index = self.find(text, size, index + 1)
            if index < 0:
                return found
            found.append(self.value_text(index))

    def __contains__(self, name):
        cdef:
            Py_ssize_t size
            const char *text
        if not isinstance(name, str):
            return False
        text = PyUnicode_AsUTF8AndSize(name, &size)
        return self.find(text, size, 0) >= 0

    def keys(self):
        cdef Py_ssize_t index
        return list(dict.fromkeys([self.name_text(index) for index in range(self.count)]))

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def values(self):
        return [self[name] for name in self.keys()]

    def items(self):
        return [(name, self[name]) for name in self.keys()]

    def multi_items(self):
        cdef Py_ssize_t index
        return [(self.name_text(index), self.value_text(index)) for index in range(self.count)]

    @property
    def raw(self):
        cdef Py_ssize_t index
        return [
            (
                PyBytes_FromStringAndSize(
                    self.text + self.spans[index].name, self.spans[index].name_size
                ),
                self.value(index),
            )
            for index in range(self.count)
        ]

    def __eq__(self, other):
        if isinstance(other, Headers):
            return self.raw == (<Headers>other).raw
        return NotImplemented

    __hash__ = None

    def __repr__(self):
        # Names alone: a value may be a cookie or a token.
        return f"Headers({self.keys()})"

    def __reduce__(self):
        return Headers, (self.raw,)


cdef Headers headers_of(list pairs):
    cdef Headers headers = Headers.__new__(Headers)
    headers.fill(pairs)
    return headers


no_headers = headers_of([])


cdef Headers read_fields(
    const char *data, Py_ssize_t size, Py_ssize_t lines, Facts *facts, bint trailing
):
    """Read a block of at most `lines` headers, the empty line that ends it included.

    What the block says about framing goes into `facts`, which the caller has zeroed.
    """
    cdef:
        Headers headers = Headers.__new__(Headers)
        Span *span
        char *text
        char *at
        char *mark
        char *stop
        char *end
        uint8_t byte
    headers.allocate(lines, size)
    text = headers.text
    memcpy(text, data, size)
    span = headers.spans
    at = text
    end = text + size - 2
    while at < end:
        mark = at
        # The CR of the line, if nothing earlier, is no token: this ends inside the block.
        while True:
            byte = TOKEN[<uint8_t>mark[0]]
            if byte == 0:
                break
            mark[0] = <char>byte
            mark += 1
        if mark == at or mark[0] != b':':
            raise refusal("folded-line" if at[0] == b' ' or at[0] == b'\t' else "header-name")
        span.name = <uint32_t>(at - text)
        span.name_size = <uint32_t>(mark - at)
        mark += 1
        while mark[0] == b' ' or mark[0] == b'\t':
            mark += 1
        stop = mark
        while VALUE[<uint8_t>stop[0]]:
            stop += 1
        if stop[0] != b'\r' or stop[1] != b'\n':
            raise refusal("header-value")
        at = stop + 2
        if at[0] == b' ' or at[0] == b'\t':      # before anything is made of half a value
            raise refusal("folded-line")
        while stop > mark and ((stop - 1)[0] == b' ' or (stop - 1)[0] == b'\t'):
            stop -= 1
        span.value = <uint32_t>(mark - text)
        span.value_size = <uint32_t>(stop - mark)
        if span.name_size == 14:
            if memcmp(text + span.name, b"content-length", 14) == 0:
                read_length(mark, stop - mark, facts)
                if trailing:
                    raise refusal("length-and-coding")
        elif span.name_size == 16:
            if memcmp(text + span.name, b"content-encoding", 16) == 0:
                facts.coded = True
        elif span.name_size == 17:
            if memcmp(text + span.name, b"transfer-encoding", 17) == 0:
                if trailing or facts.chunked or not is_word(mark, stop - mark, b"chunked", 7):
                    raise refusal("transfer-encoding")
                facts.chunked = True
                memcpy(mark, b"chunked", 7)     # in lower case, as h11 has it
        elif span.name_size == 10:
            if memcmp(text + span.name, b"connection", 10) == 0:
                facts.close |= names_close(mark, stop)
        span += 1
    headers.count = span - headers.spans
    if facts.chunked and facts.has_length:
        raise refusal("length-and-coding")
    return headers


cdef inline bint is_word(
    const char *data, Py_ssize_t size, const char *word, Py_ssize_t word_size
) noexcept nogil:
    cdef Py_ssize_t at
    if size != word_size:
        return False
    for at in range(size):
        if TOKEN[<uint8_t>data[at]] != <uint8_t>word[at]:
            return False
    return True


cdef int read_length(const char *data, Py_ssize_t size, Facts *facts) except -1:
    cdef:
        Py_ssize_t at
        uint64_t length = 0
    for at in range(size):
        if data[at] == b',':
            raise refusal("repeated-length")
    if facts.has_length:
        raise refusal("repeated-length")
    if size == 0 or size > LENGTH_DIGITS:
        raise refusal("content-length")
    for at in range(size):
        if not b'0' <= data[at] <= b'9':
            raise refusal("content-length")
        # Beyond this it is more than any limit, and only that it is stays true.
        if length < LENGTH_TOP:
            length = length * 10 + <uint64_t>(data[at] - 48)
    facts.length = length
    facts.has_length = True
    return 0


cdef bint names_close(const char *at, const char *end) noexcept nogil:
    """Whether a list of tokens has `close` in it."""
    cdef:
        const char *stop
        const char *last
    while at < end:
        stop = at
        while stop < end and stop[0] != b',':
            stop += 1
        while at < stop and (at[0] == b' ' or at[0] == b'\t'):
            at += 1
        last = stop
        while last > at and ((last - 1)[0] == b' ' or (last - 1)[0] == b'\t'):
            last -= 1
        if is_word(at, last - at, b"close", 5):
            return True
        at = stop + 1
    return False
