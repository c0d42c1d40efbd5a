from typing import Any, Literal, TypeVar, final, overload

from .headers import Headers
from .slab import View

T = TypeVar("T")

@final
class Response:
    """One response: its head, and its body unless that was streamed."""

    def read(self) -> bytes:
        """Return the body as bytes, which a large one is copied for."""

    def text(self) -> str:
        """Return the body read as UTF-8; bytes that are none become U+FFFD."""

    @overload
    def json(self) -> Any:
        """Return the body decoded as JSON, into `type` when one is given.

        Raises `ProtocolError` when it is no JSON or of another shape.
        """

    @overload
    def json(self, type: type[T]) -> T: ...
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def body(self) -> bytes | View:
        """The body; `b""` when it is streamed. A large one is a view of the receive buffer."""

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
