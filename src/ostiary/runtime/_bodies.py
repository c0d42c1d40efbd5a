"""What is sent: bodies and queries, checked so that nothing leaves that cannot be meant.

Absent optional values are left out, never sent as null. Neighbour: `_routes.py`, for where.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

import msgspec

from .._calls.colours import Timeout
from .._calls.given import Checks, given, members, still
from ..config import timeout_seconds
from .enums import AgentState, ReviewStatus
from .errors import InvalidArgumentError
from .models import HeartbeatRequest, Model

__all__ = [
    "REVIEW_IS_OVER",
    "changes",
    "count",
    "event_query",
    "given",
    "has_ended",
    "has_settled",
    "heartbeat",
    "members",
    "optional_text",
    "page_query",
    "remaining",
    "requests_of",
    "secret_agent",
    "states",
    "still",
    "text",
    "text_of_file",
    "whole",
    "with_server",
]

M = TypeVar("M", bound=Model)

_MOST_PER_PAGE: Final = 1000
# No agent has secrets under this id: its list would be the backend's configuration.
_RESERVED_AGENT: Final = "config"

REVIEW_IS_OVER: Final = frozenset(
    {ReviewStatus.APPROVED, ReviewStatus.REJECTED, ReviewStatus.SIGNED}
)

_LARGEST_FILE: Final = 16 * 1024 * 1024

_checks: Final = Checks(InvalidArgumentError)
text, optional_text, whole = _checks.text, _checks.optional_text, _checks.whole


def count(name: str, value: object) -> int:
    """Return a number of things for one page."""
    return whole(name, value, 1, _MOST_PER_PAGE)


def page_query(page: int, limit: int, **filters: object) -> dict[str, Any]:
    """Return the query of a page; filters that are empty are left out."""
    query: dict[str, Any] = {
        "page": whole("page", page, 1, 1 << 31),
        "limit": count("limit", limit),
    }
    for name, value in filters.items():
        if value is not None and value != "":
            query[name] = value if isinstance(value, str) else text(name, value)
    return query


def requests_of(name: str, values: object) -> list[Any]:
    """Return what a batch is to send, as a list."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InvalidArgumentError(f"{name} is a list of requests")
    return list(cast("Iterable[object]", values))


def secret_agent(agent_id: object) -> str:
    """Return an agent's id where its secrets are meant."""
    if agent_id == _RESERVED_AGENT:
        raise InvalidArgumentError(
            f"agent_id {_RESERVED_AGENT!r} is reserved: that path is the backend's configuration"
        )
    return cast("str", agent_id)  # the route checks the rest


def states(value: object) -> frozenset[AgentState]:
    """Return the states that are waited for."""
    listed: Sequence[object]
    if isinstance(value, str):
        listed = (value,)
    elif isinstance(value, Iterable):
        listed = tuple(cast("Iterable[object]", value))
    else:
        listed = (value,)
    if not listed or not all(isinstance(one, str) for one in listed):
        raise InvalidArgumentError("state is an AgentState, its word, or several of them")
    return frozenset(AgentState(cast("str", one)) for one in listed)


# The Rust runtime reads its own words alone. It has none for busy: such an agent runs.
_RUNTIME_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "idle": "Ready",
        "active": "Running",
        "busy": "Running",
        "error": "Failed",
        "stopped": "Terminated",
    }
)


def heartbeat(
    state: AgentState | str,
    metadata: Mapping[str, str] | None,
    last_result: str | None,
    agentpin_jwt: str | None,
) -> object:
    """Return the sign of life of an agent that runs elsewhere."""
    body = given(
        HeartbeatRequest,
        "heartbeat",
        {
            "state": state,
            "metadata": metadata,
            "last_result": last_result,
            "agentpin_jwt": agentpin_jwt,
        },
    )
    word = state
    if isinstance(state, AgentState):
        word = _RUNTIME_WORDS.get(state.raw, state.raw)
    return {**cast("dict[str, object]", body), "state": word}


def text_of_file(path: str | os.PathLike[str]) -> str:
    """Return the text of a file that is to be ingested; UTF-8, at most 16 MiB."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) <= _LARGEST_FILE:
            return content.decode("utf-8")
        problem = f"is larger than {_LARGEST_FILE} bytes"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or type(error).__name__}"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except ValueError:
        problem = "is no path of this system"
    raise InvalidArgumentError(f"the file {name} {problem}")


_ENDED: Final = frozenset(
    {
        *("completed", "complete", "done", "finished", "succeeded", "success"),
        *("failed", "error", "rejected", "denied", "skipped"),
        *("cancelled", "canceled", "aborted", "stopped", "terminated"),
        *("timed_out", "timeout", "expired", "timedout"),
    }
)


def has_ended(status: str) -> bool:
    """Whether a status says that nothing follows; a word nobody knows does not."""
    return status.replace("-", "_").lower() in _ENDED


def remaining(timeout: Timeout, usual: float, spent: float) -> float:
    """Return what is left of a call's time for its second request."""
    whole = usual if isinstance(timeout, msgspec.UnsetType) else timeout_seconds(timeout)
    return max(whole - spent, 0.001)


def changes(name: str, values: object) -> dict[str, Any]:
    """Return the fields to change; there is at least one."""
    if not isinstance(values, Mapping) or not values:
        raise InvalidArgumentError(f"{name} is a mapping of the fields to change, and not empty")
    return dict(cast("Mapping[str, object]", values))


_SETTLED: Final = _ENDED | {"running", "active", "deployed", "ready"}


def has_settled(status: str) -> bool:
    """Whether a deployment's status says that it runs, or that it does no more."""
    return status.lower() in _SETTLED


def with_server(model: type[M], value: M | Mapping[str, Any]) -> tuple[str, object]:
    """Return the listener's id that a request holds, and what is sent."""
    found: object
    if isinstance(value, Mapping):
        found = value.get("server_id")
    else:
        found = getattr(value, "server_id", None)
    try:
        body = given(model, "request", value)
    finally:
        del value
    return text("server_id", found), body


def event_query(agent_id: str | None, types: str | Iterable[str] | None) -> dict[str, Any]:
    """Return which events are asked for."""
    kinds = [types] if isinstance(types, str) else [] if types is None else list(types)
    return {
        "agent_id": optional_text("agent_id", agent_id),
        "type": [text("types", kind) for kind in kinds],
    }
