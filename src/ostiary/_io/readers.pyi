from asyncio import AbstractEventLoop
from typing import final

class Reader:
    """What reads from a descriptor."""

    def read(self) -> None:
        """Read what has come; the loop's call where it watches each descriptor."""

@final
class Readers:
    """The descriptors of a pool in which one event loop looks for bytes."""

    def __init__(self, loop: AbstractEventLoop) -> None: ...
