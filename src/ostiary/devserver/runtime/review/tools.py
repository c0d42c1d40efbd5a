"""A tool in the one form in which it is kept, analysed and signed.

Unknown members stay, at every level: they are part of what is reviewed and of what is signed.
Neighbours: `analysis` judges it, `sessions` keeps it.
"""

from __future__ import annotations

from typing import Any, Final, cast

from ostiary.errors import OstiaryError
from ostiary.runtime.signatures import canonical_tool

from ...http.reading import invalid

__all__ = ["normal_tool"]

_NAME: Final = 256


def normal_tool(given: dict[str, Any]) -> dict[str, Any]:
    """Return a tool with `name`, `description`, `schema` and `provider`; 422 names what is wrong.

    `tool_schema` is the published client's spelling of `schema`. A null that means "left out"
    is left out, so that a tool has one form and one signature.
    """
    tool = {name: value for name, value in given.items() if value is not None}
    spelled = tool.pop("tool_schema", None)
    if spelled is not None and tool.setdefault("schema", spelled) != spelled:
        raise invalid("tool.schema", "schema and tool_schema differ; send schema alone")
    for name in ("name", "description"):
        if not isinstance(tool.get(name), str):
            raise invalid(f"tool.{name}", f"a tool has a {name}, which is text")
    if not tool["name"].strip() or len(tool["name"]) > _NAME:
        raise invalid("tool.name", f"a tool's name has 1 to {_NAME} characters")
    tool["schema"] = _schema(tool.get("schema"))
    tool["provider"] = _provider(tool.get("provider"))
    # What could not be signed later is not taken in now.
    problem = ""
    try:
        canonical_tool(tool)
    except OstiaryError as error:
        problem = str(error)
    if problem:
        raise invalid("tool", problem)
    return tool


def _schema(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise invalid("tool.schema", "a tool's schema is a JSON Schema: an object")
    schema = dict(cast("dict[str, Any]", given))
    if schema.get("type") is None:
        schema["type"] = "object"
    if schema["type"] != "object":
        raise invalid("tool.schema.type", "the schema of a tool's parameters has the type object")
    if schema.get("required") is None:
        schema["required"] = []
    if schema.get("properties") is None:
        schema["properties"] = {}
    if not isinstance(schema["properties"], dict):
        raise invalid("tool.schema.properties", "properties is an object of schemas")
    properties = cast("dict[str, Any]", schema["properties"])
    for name, one in properties.items():
        if not isinstance(one, dict | bool):
            raise invalid(
                "tool.schema.properties",
                f"the schema of the property at place {list(properties).index(name) + 1} is "
                "neither an object nor true or false",
            )
    if not _names(schema.get("required")):
        raise invalid("tool.schema.required", "required is a list of names")
    return schema


def _names(given: object) -> bool:
    return isinstance(given, list) and all(
        isinstance(one, str) for one in cast("list[object]", given)
    )


def _provider(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise invalid("tool.provider", "a tool has a provider: an object with a name")
    known = cast("dict[str, Any]", given)
    provider = {name: value for name, value in known.items() if value is not None}
    if not isinstance(provider.get("name"), str) or not provider["name"].strip():
        raise invalid("tool.provider.name", "a provider has a name")
    if not isinstance(provider.get("public_key_url", ""), str):
        raise invalid("tool.provider.public_key_url", "public_key_url is text")
    return provider
