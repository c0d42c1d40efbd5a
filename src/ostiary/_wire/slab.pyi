from typing import final

@final
class View:
    """Read-only bytes of a receive buffer, kept in place for as long as this object lives."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def free_slabs() -> int:
    """Return how many receive buffers wait to be borrowed."""
