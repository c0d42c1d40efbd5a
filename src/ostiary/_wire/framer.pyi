from typing import Final, final

from ..errors import SizeLimitError

HEADER_SIZE: Final[int]

@final
class Framer:
    """Split a byte stream into length-prefixed frames.

    A frame is four bytes of big-endian length, then that many bytes of payload
    (docs/protocol.md, Frames).
    """

    def __init__(self, max_frame: int = 16777216) -> None:
        """Accept payloads of at most `max_frame` bytes."""

    @property
    def max_frame(self) -> int: ...
    @property
    def pending(self) -> int:
        """Bytes held back because their frame is not whole yet."""

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes | memoryview]:
        """Take what the stream gave; return the payload of every frame it completes, in order.

        Large payloads of a `bytes` argument are views that keep it alive; all others are
        copies, so a mutable argument may be reused at once. A zero-length frame is legal
        and gives `b""`.

        Raises `SizeLimitError` when a header announces more than `max_frame` bytes, before
        anything is allocated for it. The stream cannot be resynchronised after that: close it.
        """

    @staticmethod
    def wrap(payload: bytes) -> bytes:
        """Return `payload` behind its header, ready to send."""

def too_long(size: int, limit: int) -> SizeLimitError:
    """Make the error for a frame announced longer than the limit."""
