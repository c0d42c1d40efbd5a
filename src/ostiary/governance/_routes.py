"""The wire contract, one line per endpoint (docs/governance.md, The wire).

Neighbours: `_bodies.py` for what is sent, `models.py` for what comes back, `stream.py` for
what a stream's events are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import msgspec

from .._decoders import convert, decode_as, decoder_of
from .._route import Route
from .errors import refusal, refusal_without_echo
from .models import (
    AgentResult,
    ChatResponse,
    HealthResponse,
    RunResponse,
    SystemMetrics,
    SystemStatus,
)
from .stream import Payload, read_payload

M = TypeVar("M", bound=msgspec.Struct)

_decode_any: Final = msgspec.json.Decoder().decode


class StoredValue(msgspec.Struct, frozen=True, gc=False):
    """The reply of endpoint 8; hides its value."""

    value: str

    def __repr__(self) -> str:
        return "StoredValue(...)"


def _lenient(model: type[M]) -> Callable[[Any], M]:
    """Return a decoder to which a null member is an absent one."""
    fast = decoder_of(model).decode

    def decode(body: Any) -> M:
        try:
            return fast(body)
        except msgspec.ValidationError:
            raw = _decode_any(body)
        if not isinstance(raw, dict):
            return fast(body)  # says what is wrong
        members = cast("dict[str, Any]", raw)
        return convert({k: v for k, v in members.items() if v is not None}, model)

    return decode


def _metrics(body: Any) -> SystemMetrics:
    return SystemMetrics.from_raw(decode_as(body, dict[str, Any]))


def _of(method: str, template: str, model: type[M]) -> Route[M]:
    return Route(method, template, model, decode=_lenient(model), fail=refusal)


def _of_or_none(method: str, template: str, model: type[M]) -> Route[M | None]:
    return Route(method, template, model, decode=_lenient(model), fail=refusal, missing=True)


def _figures(method: str, template: str) -> Route[SystemMetrics]:
    return Route(method, template, SystemMetrics, decode=_metrics, fail=refusal)


def _object(method: str, template: str) -> Route[dict[str, Any]]:
    return Route(method, template, dict[str, Any], fail=refusal)


def _object_or_none(method: str, template: str) -> Route[dict[str, Any] | None]:
    return Route(method, template, dict[str, Any], fail=refusal, missing=True)


def _events(method: str, template: str) -> Route[Payload]:
    return Route(method, template, Payload, decode=read_payload, fail=refusal)


# fmt: off
RUN            = _of("POST", "/api/v1/run", RunResponse)
RUN_STREAM     = _events("POST", "/api/v1/run/stream")
CHAT           = _of("POST", "/api/chat", ChatResponse)
AGENTS_RUN     = _of("POST", "/api/agents/run", AgentResult)
SYSTEM_STATUS  = _of_or_none("GET", "/api/system/status", SystemStatus)
SYSTEM_CONFIG  = _object("GET", "/api/system/config")
SYSTEM_METRICS = _figures("GET", "/api/system/metrics")
SECRET_GET     = _of("GET", "/api/secrets/{key}", StoredValue)
SECRET_SET     = Route("POST", "/api/secrets", None, fail=refusal_without_echo)
SECRET_DELETE  = Route("DELETE", "/api/secrets/{key}", None, fail=refusal)
EXPLAIN        = _object("POST", "/api/governance/explain")
STABILITY      = _object("GET", "/api/governance/stability")
TRACE          = _object_or_none("GET", "/api/governance/trace/{command_id}")
HEALTH         = _of("GET", "/api/v1/health", HealthResponse)
TRACE_V1       = _object_or_none("GET", "/api/v1/trace/{trace_id}")
# fmt: on
