from collections.abc import Callable
from typing import Literal, final

from .http1 import Response
from .slab import View

@final
class ResponseParser:
    """Read the responses of one connection from bytes.

    Each response is asked for by `expect`. Raises `ProtocolError` whose `rule` is one of
    `rules.RULES` (`SizeLimitError` for a size), and `ConnectionLostError` when the stream
    ends early. After either the connection has to be closed, and this object refuses work.
    The settings are those of `ResponseReader`.
    """

    def __init__(
        self,
        *,
        head: int = 65536,
        header_count: int = 256,
        body: int = 67108864,
        informational: int = 10,
        parser: Literal["strict", "h11"] = "strict",
    ) -> None: ...
    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on this connection; False until a response ended."""

    @property
    def done(self) -> bool:
        """Whether the response last asked for has ended."""

    def expect(
        self, method: str = "GET", *, stream: bool | Callable[[Response], bool] = False
    ) -> None:
        """Await the response to a request of that method. Bytes before this are refused.

        With `stream` the body is not gathered: `read` gives it as it comes. A function
        decides that by the response's head.
        """

    def feed(self, data: bytes | bytearray | memoryview) -> Response | None:
        """Take what the connection gave; return the response if that made it whole.

        In a stream, return it when its head became whole.
        """

    def feed_eof(self) -> Response | None:
        """Say that the stream ended, which ends a body that nothing else delimits."""

    def read(self) -> list[bytes | View]:
        """Return the pieces of a streamed body that came since the last call."""
