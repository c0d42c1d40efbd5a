from collections.abc import Mapping, Sequence
from typing import TypeAlias, final

QueryValue: TypeAlias = str | bool | int | float | None
Query: TypeAlias = Mapping[str, QueryValue | Sequence[QueryValue]]

@final
class Target:
    """A path template such as `/v1/agents/{agent_id}`, checked once."""

    def __init__(self, template: str) -> None: ...
    @property
    def template(self) -> str: ...
    @property
    def fields(self) -> tuple[str, ...]:
        """The names in braces, in their order."""

    def build(self, *values: str | int, query: Query | None = None) -> bytes:
        """Return the target for one value per field, in the template's order.

        Values are percent-encoded whole; "", "." and ".." are refused. Of the query, None is
        left out, True is `true`, a list repeats its name, and a space is `%20`. Raises
        `InvalidArgumentError` for any other type.
        """
