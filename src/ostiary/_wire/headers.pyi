from collections.abc import Iterable, Iterator
from typing import TypeVar, final, overload

T = TypeVar("T")

@final
class Headers:
    """The headers of one response, in the order received, names in lower case.

    A mapping of names, whatever their case, to text: the values of a repeated name are
    joined by ", ". `get_all` keeps them apart, which `set-cookie` needs. Bytes beyond ASCII
    are read as Latin-1; `raw` has the bytes themselves.
    """

    def __init__(self, pairs: Iterable[tuple[str | bytes, str | bytes]] = ()) -> None:
        """Hold these pairs, unchecked; a reader makes its own."""

    def __getitem__(self, name: str, /) -> str: ...
    @overload
    def get(self, name: str) -> str | None:
        """Return the joined values of `name`, or the default."""

    @overload
    def get(self, name: str, default: T) -> str | T: ...
    def get_all(self, name: str) -> list[str]:
        """Return the values of `name`, one by one; empty when there is none."""

    def __contains__(self, name: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def keys(self) -> list[str]:
        """Return each name once."""

    def values(self) -> list[str]:
        """Return the joined values of each name."""

    def items(self) -> list[tuple[str, str]]:
        """Return each name once, with its joined values."""

    def multi_items(self) -> list[tuple[str, str]]:
        """Return every header as it came; a name may repeat."""

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Every header as it came, in bytes."""

    def __eq__(self, other: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]
