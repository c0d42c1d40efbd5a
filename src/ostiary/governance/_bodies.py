"""What is sent: request bodies, checked so that nothing leaves that cannot be meant.

Absent optional values are sent as null, never left out. Neighbour: `_routes.py`, for where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ..errors import InvalidArgumentError
from ..secret import Secret
from .errors import HestiaArgumentError

__all__ = [
    "TIMEOUT_MS",
    "agent_body",
    "chat_body",
    "command_body",
    "path_id",
    "run_body",
    "secret_body",
]

TIMEOUT_MS: Final = 30_000
"""How long a server may work on a run unless told otherwise, in milliseconds."""


class Context(msgspec.Struct, frozen=True, gc=False):
    """Who asks for a run, and how."""

    session_id: str | None
    agent_id: str | None
    mode_hint: str | None


class Options(msgspec.Struct, frozen=True, gc=False):
    """How it is to be run."""

    timeout_ms: int
    stream: bool


class Run(msgspec.Struct, frozen=True, gc=False):
    """The body of endpoints 1 and 2."""

    input: str
    context: Context
    options: Options


class ChatMessage(msgspec.Struct, frozen=True, gc=False):
    """The body of endpoint 3."""

    message: str
    session_id: str | None


class AgentTask(msgspec.Struct, frozen=True):
    """The body of endpoint 4."""

    agent_id: str
    task: str
    config: dict[str, Any] | None


class StoredSecret(msgspec.Struct, frozen=True, gc=False):
    """The body of endpoint 9; hides its value."""

    credential_ref: str
    secret: str
    provider: str
    allowed_tools: tuple[str, ...]

    def __repr__(self) -> str:
        return f"StoredSecret({self.credential_ref!r}, ...)"


class Command(msgspec.Struct, frozen=True):
    """The body of endpoint 11."""

    command_type: str
    command_input: dict[str, Any]


def run_body(
    input: str,
    session_id: str | None,
    agent_id: str | None,
    mode_hint: str | None,
    timeout_ms: int,
    stream: bool,
) -> Run:
    """Return the body of a run."""
    if not isinstance(input, str):
        raise _not_text("input", input)
    if session_id is None and agent_id is None and mode_hint is None:
        context = _NO_CONTEXT
    else:
        _optional("session_id", session_id)
        _optional("agent_id", agent_id)
        _optional("mode_hint", mode_hint)
        context = Context(session_id, agent_id, mode_hint)
    if timeout_ms == TIMEOUT_MS and not stream:
        return Run(input, context, _USUAL)
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int) or timeout_ms < 1:
        raise HestiaArgumentError("timeout_ms is a whole number of milliseconds, at least 1")
    return Run(input, context, Options(timeout_ms, bool(stream)))


_NO_CONTEXT: Final = Context(None, None, None)
_USUAL: Final = Options(TIMEOUT_MS, False)


def chat_body(message: str, session_id: str | None) -> ChatMessage:
    """Return the body of a chat message."""
    if not isinstance(message, str):
        raise _not_text("message", message)
    _optional("session_id", session_id)
    return ChatMessage(message, session_id)


def agent_body(agent_id: str, task: str, config: Mapping[str, Any] | None) -> AgentTask:
    """Return the body of an agent's task."""
    for name, value in (("agent_id", agent_id), ("task", task)):
        if not isinstance(value, str):
            raise _not_text(name, value)
    if config is not None and not isinstance(config, Mapping):
        raise HestiaArgumentError(f"config is a mapping or None, not {type(config).__name__}")
    return AgentTask(agent_id, task, None if config is None else dict(config))


def secret_body(key: str, value: str | Secret, provider: str) -> StoredSecret:
    """Return the body that stores a secret."""
    if isinstance(value, Secret):
        value = _revealed(value)
    try:
        if not isinstance(value, str):
            raise _not_text("value", value)
        if not isinstance(key, str) or not key:
            raise HestiaArgumentError("key is the name of the secret, and not empty")
        if key in {".", ".."}:
            raise HestiaArgumentError(f"key {key!r} could not be asked for again; use another")
        if not isinstance(provider, str):
            raise _not_text("provider", provider)
        return StoredSecret(key, value, provider, ("*",))
    finally:
        del value  # a traceback records the locals of every frame that raises


def command_body(command_type: str, command_input: Mapping[str, Any] | None) -> Command:
    """Return the body of a question about a command."""
    if not isinstance(command_type, str):
        raise _not_text("command_type", command_type)
    if command_input is None:
        return Command(command_type, {})
    if not isinstance(command_input, Mapping):
        raise HestiaArgumentError(
            f"command_input is a mapping or None, not {type(command_input).__name__}"
        )
    return Command(command_type, dict(command_input))


def path_id(name: str, value: str) -> str:
    """Return an id that is to stand in a path: text, and none that means another path."""
    if not isinstance(value, str):
        raise _not_text(name, value)
    if value in {"", ".", ".."}:
        raise HestiaArgumentError(f"{name} {value!r} names nothing; nothing was sent")
    return value


def _revealed(value: Secret) -> str:
    try:
        return value.reveal()
    except InvalidArgumentError as error:
        problem = error.message
    raise HestiaArgumentError(problem)


def _optional(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise _not_text(name, value)


def _not_text(name: str, value: object) -> HestiaArgumentError:
    return HestiaArgumentError(f"{name} is text, not {type(value).__name__}")
