"""What is sent: the body of a chat, checked so that nothing leaves that cannot be meant.

Bodies are OpenAI's, without the model, which is known later. Neighbours: `schema` for tools
and structured replies, `_routes` for where they go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast, final

from msgspec import UNSET

from .._retry import new_idempotency_key
from ._messages import wire_messages
from .errors import GatewayArgumentError
from .options import Model, Timeout
from .structured import Structured, structured_of
from .tool import wire_tool

__all__ = ["Asked", "Keys", "chat_asked", "embed_body", "raw_asked"]


@final
class Keys:
    """The idempotency keys of one call, which may take several requests that differ."""

    __slots__ = ("_given", "_taken")

    def __init__(self, given: object) -> None:
        if given is not None and (not isinstance(given, (str, bool)) or given == ""):
            raise GatewayArgumentError("idempotency_key is text that is not empty, or True")
        self._given = given
        self._taken = 0

    def next_key(self) -> str | None:
        """Return the key of the next request; the attempts at one share it."""
        if self._given is None or self._given is False:
            return None
        if self._given is True:
            return new_idempotency_key()
        self._taken += 1
        return self._given if self._taken == 1 else f"{self._given}-{self._taken}"


_NO_KEYS: Final = Keys(None)


@final
class Asked:
    """One chat, checked: its body without the model, and how it is to be sent."""

    __slots__ = (
        "body",
        "fallback",
        "idle_timeout",
        "keys",
        "model",
        "repairs",
        "strict",
        "structured",
        "timeout",
        "total_timeout",
    )

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.model: Model | None = None
        self.structured: Structured | None = None
        self.strict = True
        self.fallback = False
        self.repairs = 0
        self.timeout: Timeout = UNSET
        self.idle_timeout: Timeout = UNSET
        self.total_timeout: Timeout = UNSET
        self.keys = _NO_KEYS

    def next_key(self) -> str | None:
        """Return the idempotency key of the next request."""
        return self.keys.next_key()


def chat_asked(
    messages: object,
    response_format: object,
    options: Mapping[str, Any],
) -> Asked:
    """Check what was given to `chat`; raise `GatewayArgumentError` for what cannot be meant."""
    body: dict[str, Any] = {"messages": wire_messages(messages)}
    asked = Asked(body)
    for name, value in options.items():
        if (check := _SENT.get(name)) is not None:
            if value is not None:
                body[name] = check(name, value)
        elif (take := _TAKEN.get(name)) is not None:
            if value is not None or name in _NONE_COUNTS:
                take(asked, value)
        else:
            raise GatewayArgumentError(
                f"{name[:80]!r} is no option of a chat; give a member of the body that has no "
                "name here by extra={...}"
            )
    if response_format is not None:
        asked.structured = _format(body, response_format, asked.strict)
    if (extra := options.get("extra")) is not None:
        _add(body, extra)
    return asked


def raw_asked(
    body: Mapping[str, Any],
    model: Model | None,
    timeout: Timeout,
    idempotency_key: str | bool | None,
) -> Asked:
    """Take a body that is complete but for its model."""
    if not isinstance(body, Mapping) or "messages" not in body:
        raise GatewayArgumentError("a body is a mapping with messages")
    own = dict(body)
    for name in ("model", "stream"):
        own.pop(name, None)
    _one_choice(own)
    asked = Asked(own)
    asked.model = model
    asked.timeout = timeout
    asked.keys = Keys(idempotency_key)
    return asked


def embed_body(
    dimensions: int | None,
    encoding_format: str | None,
    user: str | None,
    extra: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the body of a request for vectors, without texts and model."""
    body: dict[str, Any] = {}
    if dimensions is not None:
        body["dimensions"] = _count("dimensions", dimensions)
    if encoding_format is not None:
        if encoding_format not in {"float", "base64"}:
            raise GatewayArgumentError("encoding_format is 'float' or 'base64'")
        body["encoding_format"] = encoding_format
    if user is not None:
        body["user"] = _text("user", user)
    if extra is not None:
        _add(body, extra)
    return body


# --- options


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise GatewayArgumentError(f"{name} is text, not {type(value).__name__}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise GatewayArgumentError(f"{name} is True or False, not {type(value).__name__}")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise GatewayArgumentError(f"{name} is a whole number")
    return value


def _count(name: str, value: object) -> int:
    if _whole(name, value) < 1:
        raise GatewayArgumentError(f"{name} is at least 1")
    return cast("int", value)


def _number(name: str, value: object) -> float:
    # NaN and infinities would be sent as null.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise GatewayArgumentError(f"{name} is a number")
    return value


def _stop(name: str, value: object) -> object:
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or not all(
        isinstance(each, str) for each in cast("Sequence[object]", value)
    ):
        raise GatewayArgumentError(f"{name} is text, or a list of texts")
    return list(cast("Sequence[object]", value))


def _tools(name: str, value: object) -> object:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise GatewayArgumentError(f"{name} is a list of functions, types, Tools or objects")
    return [wire_tool(each) for each in cast("Sequence[object]", value)]


def _choice(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    word = _text(name, value)
    if word in {"auto", "none", "required"}:
        return word
    if not word:
        raise GatewayArgumentError(f"{name} is auto, none, required or a tool's name")
    return {"type": "function", "function": {"name": word}}


_SENT: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "tools": _tools,
    "tool_choice": _choice,
    "parallel_tool_calls": _flag,
    "temperature": _number,
    "max_tokens": _count,
    "max_completion_tokens": _count,
    "top_p": _number,
    "seed": _whole,
    "stop": _stop,
    "reasoning_effort": _text,
    "user": _text,
}


def _take_model(asked: Asked, value: Any) -> None:
    asked.model = value


def _take_strict(asked: Asked, value: Any) -> None:
    asked.strict = _flag("strict", value)


def _take_fallback(asked: Asked, value: Any) -> None:
    asked.fallback = _flag("fallback", value)


def _take_repairs(asked: Asked, value: Any) -> None:
    if _whole("repairs", value) < 0:
        raise GatewayArgumentError("repairs is 0 or more")
    asked.repairs = value


def _take_timeout(asked: Asked, value: Any) -> None:
    asked.timeout = value


def _take_idle_timeout(asked: Asked, value: Any) -> None:
    asked.idle_timeout = value


def _take_total_timeout(asked: Asked, value: Any) -> None:
    asked.total_timeout = value


def _take_key(asked: Asked, value: Any) -> None:
    asked.keys = Keys(value)


def _later(asked: Asked, value: Any) -> None:
    """Leave `extra` for the end: it has the last word."""


_NONE_COUNTS: Final = frozenset({"timeout", "idle_timeout", "total_timeout"})

_TAKEN: Final[Mapping[str, Callable[[Asked, Any], None]]] = {
    "model": _take_model,
    "strict": _take_strict,
    "fallback": _take_fallback,
    "repairs": _take_repairs,
    "timeout": _take_timeout,
    "idle_timeout": _take_idle_timeout,
    "total_timeout": _take_total_timeout,
    "idempotency_key": _take_key,
    "extra": _later,
}


def _add(body: dict[str, Any], extra: object) -> None:
    if not isinstance(extra, Mapping):
        raise GatewayArgumentError(f"extra is a mapping, not {type(extra).__name__}")
    for name, value in cast("Mapping[str, Any]", extra).items():
        if name in {"model", "messages", "input", "stream"}:
            raise GatewayArgumentError(f"{name} is not given by extra; it has a place of its own")
        # A stream's options have a default that None is there to remove.
        if value is None and name != "stream_options":
            body.pop(name, None)
        else:
            body[name] = value
    _one_choice(body)


def _one_choice(body: dict[str, Any]) -> None:
    if body.get("n", 1) != 1:
        raise GatewayArgumentError("n is 1: a reply here has one answer; call again for another")


def _format(body: dict[str, Any], wanted: object, strict: bool) -> Structured | None:
    if isinstance(wanted, Mapping):
        kind = cast("Mapping[str, Any]", wanted).get("type")
        if kind in {"json_schema", "json_object", "text"}:
            body["response_format"] = wanted
            return None
    return structured_of(wanted, strict)
