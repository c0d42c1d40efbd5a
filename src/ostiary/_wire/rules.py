"""The rules by which an HTTP response is refused, each with its name.

No byte that was received reaches a message. Neighbours: `headers`, `http1` and `coding`
find what breaks a rule; `handover` brings what h11 refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..errors import ProtocolError, SizeLimitError

# h11 would take these. Two readers of one stream could disagree about each of them, which is
# how a response is smuggled past one of the two.
STRICTER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "length-and-coding": "it has a Content-Length and a Transfer-Encoding",
        "repeated-length": "it has two Content-Lengths, or a list of them",
        "folded-line": "a header is folded over two lines",
        "coding-on-1.0": "it has a Transfer-Encoding and says HTTP/1.0",
        "version": "its version is neither HTTP/1.0 nor HTTP/1.1",
        "unasked-bytes": "bytes arrived before a request was sent",
        "informational-flood": "too many informational responses came before it",
        "bare-lf": "a line ends with LF alone",
        "chunk-size-space": "a space follows a chunk's size",
        "empty-chunk-extension": "a chunk's extension is empty",
        "surplus-bytes": "more bytes follow its end",
    }
)

# Sizes that the peer chooses; each names the limit to raise for a peer that is trusted.
SIZES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "head-size": "its head is longer than Limits.head",
        "header-count": "it has more headers than Limits.header_count",
        "body-size": "its body is longer than Limits.body",
        "chunk-line-size": "the line before a chunk is longer than Limits.head",
        "trailer-size": "its trailers are longer than Limits.head",
        "decompressed-size": "its body decompresses to more than Limits.decompressed_body",
    }
)

# What h11 refuses as well. `transfer-encoding` goes further in one place: a trailer.
MALFORMED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "status-line": "it does not begin with a status line",
        "header-name": "a header's name is not a token, or no colon follows it",
        "header-value": "a header's value holds a control character",
        "content-length": "its Content-Length is not a number of at most 20 digits",
        "transfer-encoding": "its Transfer-Encoding is not exactly one chunked, in the head",
        "chunk-size": "a chunk's size is not a hexadecimal number of at most 20 digits",
        "chunk-end": "a chunk is not followed by CR LF",
        "unasked-upgrade": "it switches to a protocol nobody asked for",
        "h11": "h11 does not take it",
        "content-coding": "its Content-Encoding names a coding that is not known here",
        "coding-chain": "its body is encoded too many times over",
        "coding-members": "its body is made of too many compressed members",
        "coding-damaged": "its compressed body is damaged",
        "coding-truncated": "its compressed body breaks off",
    }
)

# Found in a body, which may have been framed well.
BODIES: Final = frozenset(
    {
        "decompressed-size",
        "content-coding",
        "coding-chain",
        "coding-members",
        "coding-damaged",
        "coding-truncated",
    }
)

RULES: Final[Mapping[str, str]] = MappingProxyType({**STRICTER, **SIZES, **MALFORMED})


def refusal(rule: str, *, sent: bool = True) -> ProtocolError:
    """Make the error for a response that breaks `rule`."""
    kind = SizeLimitError if rule in SIZES else ProtocolError
    # A body that was read whole says where the next response begins, whatever is in it.
    end = "" if rule in BODIES else "; the connection is closed"
    error = kind(f"the response is refused (rule {rule}): {RULES[rule]}{end}", sent=sent)
    error.rule = rule
    return error
