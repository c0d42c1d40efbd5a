class Reader:
    """What reads from a descriptor."""

    def read(self) -> None:
        """Read what has come; the loop's call where it watches each descriptor."""

class Readers:
    """The descriptors of a pool in which one event loop looks for bytes."""
