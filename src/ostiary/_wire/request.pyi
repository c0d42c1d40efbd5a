from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, final

HeadersLike: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

OURS: Final[frozenset[str]]
"""Header names that no caller may give: they belong to the connection or its framing."""

@final
class RequestHead:
    """What the requests of one route and client have in common, validated once."""

    def __init__(self, method: str, host: str, headers: HeadersLike = ()) -> None:
        """Join method, `Host` and `headers`; raises `InvalidArgumentError` for what cannot be sent.

        Values are printable ASCII without a space at either end.
        """

    @property
    def method(self) -> str: ...
    @property
    def host(self) -> str: ...
    def render(
        self,
        target: bytes,
        body: bytes | bytearray | memoryview | None = None,
        extra: HeadersLike | None = None,
    ) -> bytes:
        """Return a whole request. `extra` are headers of this one alone.

        Content-Length is computed. Without a body it is left out, except for POST, PUT and
        PATCH.
        """

def method_token(method: str) -> bytes:
    """Return a request method as bytes, or say what is wrong with it."""
