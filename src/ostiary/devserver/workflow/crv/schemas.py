"""JSON Schemas that callers send. Nothing that one points to is fetched, from nowhere.

Neighbours: `validators` holds changes to them, the tool `validate_schema` data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

__all__ = ["Schema", "SchemaError", "compiled"]


class SchemaError(ValueError):
    """What was sent is no JSON Schema; the message names the place."""


class Schema(Protocol):
    """A schema that data can be held to."""

    def iter_errors(self, instance: Any) -> Iterator[Any]: ...


def compiled(schema: Mapping[str, Any] | bool) -> Schema:
    """Return a schema ready to be used, by the draft that it names; raises `SchemaError`."""
    import jsonschema
    import referencing
    from jsonschema.validators import validator_for

    try:
        kind: Any = validator_for(cast("Any", schema), default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
        # Left to itself, the library gets what a reference names by HTTP.
        made: Schema = kind(schema, registry=cast("Any", referencing.Registry)())
    except jsonschema.SchemaError as error:
        problem = f"at {error.json_path}: {error.message}"
    except Exception as error:  # noqa: BLE001 - a `$schema` that is a list, an `$id` that is no URI
        problem = f"it cannot be read ({type(error).__name__})"
    else:
        return made
    raise SchemaError(problem)
