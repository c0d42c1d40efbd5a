"""Request targets: a path template whose ids cannot climb out of their segment, and a query.

Every id is percent-encoded whole, `/` included; "", "." and ".." are refused, since servers
and proxies read those as other paths. Neighbour: `request`, which sends what is made here.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.math cimport isfinite
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

import re

from ..errors import InvalidArgumentError

cdef enum:
    FIRST_BYTES = 512

cdef const char *HEX = b"0123456789ABCDEF"
# Byte -> whether it stands for itself: RFC 3986, section 2.3.
cdef uint8_t PLAIN[256]
cdef int _byte
for _byte in range(256):
    PLAIN[_byte] = 0
for _byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~":
    PLAIN[_byte] = 1

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")


cdef class _Text:
    """Text under construction: on the stack of its first 512 bytes, on the heap beyond."""
    cdef:
        char first[FIRST_BYTES]
        char *data
        Py_ssize_t end
        Py_ssize_t cap

    def __cinit__(self):
        self.data = self.first
        self.cap = FIRST_BYTES

    def __dealloc__(self):
        if self.data != self.first:
            free(self.data)

    cdef int reserve(self, Py_ssize_t room) except -1:
        cdef:
            char *data
            Py_ssize_t cap
        if self.cap - self.end >= room:
            return 0
        cap = max(self.cap * 2, self.end + room)
        data = <char *>realloc(NULL if self.data == self.first else self.data, cap)
        if data is NULL:
            raise MemoryError
        if self.data == self.first:
            memcpy(data, self.first, self.end)
        self.data = data
        self.cap = cap
        return 0

    cdef int raw(self, const char *data, Py_ssize_t size) except -1:
        self.reserve(size)
        memcpy(self.data + self.end, data, size)
        self.end += size
        return 0

    cdef int quoted(self, str text) except -1:
        cdef:
            Py_ssize_t size, index
            const char *data
            char *out
            uint8_t byte
        try:
            data = PyUnicode_AsUTF8AndSize(text, &size)
        except UnicodeEncodeError:
            data = NULL
        if data is NULL:    # outside the handler: its exception holds the text
            raise InvalidArgumentError("a part of a target holds a lone surrogate")
        self.reserve(3 * size)
        out = self.data + self.end
        for index in range(size):
            byte = <uint8_t>data[index]
            if PLAIN[byte]:
                out[0] = <char>byte
                out += 1
            else:
                out[0] = b'%'
                out[1] = HEX[byte >> 4]
                out[2] = HEX[byte & 15]
                out += 3
        self.end = out - self.data
        return 0


@cython.final
cdef class Target:
    cdef:
        readonly str template
        readonly tuple fields
        tuple _between      # bytes before, between and after the fields

    def __init__(self, str template not None):
        cdef list parts = _FIELD.split(template)
        self.template = template
        self.fields = tuple(parts[1::2])
        self._between = tuple([part.encode() for part in parts[::2]])
        problem = None
        if not template.startswith("/"):
            problem = "does not begin with '/'"
        elif not all(_LITERAL.fullmatch(part) for part in parts[::2]):
            problem = "holds a character that no path has"
        elif any(segment in {".", ".."} for segment in template.split("/")):
            problem = "has a segment that means another path"
        elif "" in parts[2:len(parts) - 1:2]:
            problem = "has two fields side by side"
        elif len(set(self.fields)) != len(self.fields):
            problem = "has a field twice"
        if problem:
            raise InvalidArgumentError(f"the path template {template!r} {problem}")

    def build(self, *values, query=None):
        cdef:
            _Text text = _Text.__new__(_Text)
            bytes part = <bytes>self._between[0]
            Py_ssize_t index
            object value
        if len(values) != len(self.fields):
            raise InvalidArgumentError(
                f"{self.template} takes {len(self.fields)} values and got {len(values)}"
            )
        text.raw(PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        for index, value in enumerate(values):
            if type(value) is not str:
                value = _id_text(value, <str>self.fields[index])
            if value == "" or value == "." or value == "..":
                raise InvalidArgumentError(
                    f"{self.fields[index]} {value!r} cannot stand in a path: it would change "
                    "which path that is"
                )
            text.quoted(<str>value)
            part = <bytes>self._between[index + 1]
            text.raw(PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        if query:
            _append_query(text, query)
        return PyBytes_FromStringAndSize(text.data, text.end)

    def __repr__(self):
        return f"Target({self.template!r})"


cdef str _id_text(object value, str field):
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    raise InvalidArgumentError(
        f"{field} has to be a str or an int, not {type(value).__name__}; nothing was sent"
    )


cdef int _append_query(_Text text, object query) except -1:
    cdef:
        char mark = b'?'
        object name, value, one
    for name, value in query.items():
        if value is None:
            continue
        if not isinstance(name, str):
            raise InvalidArgumentError("the names of a query are of type str")
        if isinstance(value, (list, tuple)):
            for one in value:
                if one is not None:
                    _append_pair(text, mark, <str>name, one)
                    mark = b'&'
        else:
            _append_pair(text, mark, <str>name, value)
            mark = b'&'
    return 0


cdef int _append_pair(_Text text, char mark, str name, object value) except -1:
    cdef str shown
    if isinstance(value, str):
        shown = str.__str__(value)
    elif isinstance(value, bool):
        shown = "true" if value else "false"
    elif isinstance(value, int):
        shown = int.__repr__(value)
    elif isinstance(value, float) and isfinite(value):
        shown = float.__repr__(value)
    else:
        raise InvalidArgumentError(
            f"the query's {name} has to be a str, bool, int, finite float or a list of those, "
            f"not {type(value).__name__}; nothing was sent"
        )
    text.raw(&mark, 1)
    text.quoted(name)
    text.raw(b"=", 1)
    text.quoted(shown)
    return 0
