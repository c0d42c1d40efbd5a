"""What a model may call: made of a function, a type or a schema, and run with its arguments."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from copy import copy
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec

from .._decoders import convert
from .errors import GatewayArgumentError
from .models import ToolCall, arguments_of
from .schema import is_pydantic, json_schema, name_of, objection, shown, strict_schema

if TYPE_CHECKING:
    import inspect

__all__ = ["Tool", "ToolLike", "wire_tool"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MUTABLE: Final = frozenset({list, dict, set, bytearray})
_NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """Something a model may call: `Tool.of(function)`, or its parts by hand.

    `parameters` is the JSON Schema of an object. `strict` asks the provider to hold the model
    to it. `function` is what `run` calls, None for a tool that is run elsewhere.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: dict(_NO_PARAMETERS))
    strict: bool | None = None
    function: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise GatewayArgumentError(
                f"{str(self.name)[:80]!r} is no name of a tool: up to 64 letters, digits, _ and -"
            )

    @classmethod
    def of(
        cls,
        source: Callable[..., Any] | type | Mapping[str, Any],
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool | None = None,
    ) -> Tool:
        """Make a tool of a function's signature, of a type, or of a JSON Schema with a title.

        Parameters need annotations; `Annotated[int, "what it is"]` describes one. The
        description is the first paragraph of the docstring, unless given.
        """
        if isinstance(source, Mapping):
            schema = json_schema(source)
            found = name or name_of(source, schema)
            about = schema.get("description", "")
            function: Callable[..., Any] | None = None
        elif isinstance(source, type):
            schema = json_schema(source)
            found = name or name_of(source, schema)
            about = _first_paragraph(source.__doc__) if _own_doc(source) else ""
            function = source
        elif callable(source):
            schema = json_schema(_arguments_type(source))
            schema.pop("title", None)
            found = name or name_of(source, schema)
            about = _first_paragraph(getattr(source, "__doc__", None))
            function = source
        else:
            raise GatewayArgumentError(
                f"a tool is made of a function, a type or a schema, not {type(source).__name__}"
            )
        if schema.get("type") != "object":
            raise GatewayArgumentError(f"the parameters of tool {found} are no object")
        return cls(
            name=found,
            description=about if description is None else description,
            parameters=strict_schema(schema) if strict else schema,
            strict=strict,
            function=function,
        )

    def wire(self) -> dict[str, Any]:
        """Return the tool as it is sent."""
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = self.parameters
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}

    def run(self, call: ToolCall) -> Any:
        """Call the function with a call's arguments, read as its annotations say.

        Returns what the function does; of a tool made of a type, the object. Raises
        `GatewayArgumentError` for arguments that do not fit, which a tool message can tell
        the model. What the function raises passes through.
        """
        if self.function is None:
            raise GatewayArgumentError(f"tool {self.name} has no function to run here")
        if (given := arguments_of(call.arguments)) is None:
            raise GatewayArgumentError(f"the arguments of {self.name} are no JSON object")
        wanted: Any = self.function
        is_type = isinstance(wanted, type)
        try:
            found = _converted(given, wanted if is_type else _arguments_type(wanted))
        except Exception as error:
            if (problem := objection(error)) is None:
                raise
        else:
            return found if is_type else _call(wanted, found)
        del given, call  # a traceback records the locals of the frame that raises
        raise GatewayArgumentError(f"the arguments of {self.name} do not fit: {problem}")


ToolLike: TypeAlias = Tool | Callable[..., Any] | type | Mapping[str, Any]
"""What `tools` takes."""


def wire_tool(tool: object) -> object:
    """Return a tool as it is sent; OpenAI's own objects are sent as they were given."""
    if isinstance(tool, Tool):
        return tool.wire()
    if isinstance(tool, Mapping):
        members = cast("Mapping[str, Any]", tool)
        if members.get("type") not in (None, "object"):
            return members
        if isinstance(members.get("name"), str) and "properties" not in members:
            given = members.get("parameters") or members.get("input_schema")
            return Tool(
                name=members["name"],
                description=members.get("description") or "",
                parameters=given or {"type": "object", "properties": {}},
                strict=members.get("strict"),
            ).wire()
        return Tool.of(members).wire()
    return _made(tool).wire()


@lru_cache(maxsize=256)
def _made(source: Any) -> Tool:
    return Tool.of(source)


@lru_cache(maxsize=256)
def _arguments_type(function: Callable[..., Any]) -> type[msgspec.Struct]:
    """Return a Struct whose members are the parameters of a function."""
    import inspect  # costs 10 ms, which a process without such tools need not pay

    try:
        parameters = inspect.signature(function).parameters.values()
        hints = typing.get_type_hints(_annotated(function), include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        problem = str(error).partition("\n")[0]
    else:
        name = getattr(function, "__name__", type(function).__name__)
        return msgspec.defstruct(
            name, [_field(each, hints, name) for each in parameters], kw_only=True
        )
    raise GatewayArgumentError(f"the signature of {shown(function)} cannot be read: {problem}")


def _annotated(function: Any) -> Any:
    """Return where the annotations of what can be called stand."""
    while isinstance(function, partial):
        function = function.func
    import inspect

    return function if inspect.isroutine(function) else type(function).__call__


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any], of: str) -> Any:
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
        raise GatewayArgumentError(
            f"{of} takes *{parameter.name}, for which a model cannot be told what to give"
        )
    hint = hints.get(parameter.name, Any)
    if typing.get_origin(hint) is typing.Annotated:
        kind, *notes = typing.get_args(hint)
        told = [msgspec.Meta(description=x) if isinstance(x, str) else x for x in notes]
        hint = typing.Annotated[(kind, *told)]
    if parameter.default is parameter.empty:
        return parameter.name, hint
    default = parameter.default
    if type(default) in _MUTABLE:
        return parameter.name, hint, msgspec.field(default_factory=lambda: copy(default))
    return parameter.name, hint, default


def _call(function: Callable[..., Any], found: Any) -> Any:
    import inspect

    positional: list[Any] = []
    named: dict[str, Any] = {}
    for each in inspect.signature(function).parameters.values():
        value = getattr(found, each.name)
        if each.kind is each.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[each.name] = value
    return function(*positional, **named)


def _converted(given: dict[str, Any], wanted: Any) -> Any:
    if is_pydantic(wanted):
        return wanted.model_validate(given)
    return convert(given, wanted)


def _own_doc(of: type) -> bool:
    # A dataclass without one gets its signature for a docstring, which tells a model nothing.
    return not (of.__doc__ or "").startswith(f"{of.__name__}(")


def _first_paragraph(doc: str | None) -> str:
    return " ".join(re.split(r"\n\s*\n", (doc or "").strip(), maxsplit=1)[0].split())
