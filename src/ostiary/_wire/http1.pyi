from typing import Literal, final

from .headers import Headers
from .slab import View

@final
class Response:
    """One response: its head, and its body unless that was streamed."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def body(self) -> bytes | View:
        """The body in its content coding; `b""` when it is streamed."""

    @property
    def trailers(self) -> Headers:
        """What followed a chunked body; never merged into the headers."""

    @property
    def informational(self) -> tuple[Response, ...]:
        """The 1xx responses that came before this one."""

@final
class ResponseReader:
    """Read the responses of one connection out of a receive buffer; for the rooms of `_io`.

    `head`, `header_count` and `body` are `config.Limits`; `head` and `header_count` bound the
    trailers too, and `head` the line before a chunk. A streamed body has no limit.
    `informational` is how many 1xx responses may come before one other. With `parser="h11"`
    h11 reads every response; the rules are the same.
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
    def response(self) -> Response | None:
        """The response being read, once its head is whole."""

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on this connection; False until a response ended."""
