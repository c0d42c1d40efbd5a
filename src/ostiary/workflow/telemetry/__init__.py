"""Telemetry that loses nothing: a queue, a thread, a file for when the server is away.

`pipeline` is what programs use; `queue` bounds memory, `spool` is the file, `delivery` sends,
`spans` measures, `items` is the form of it all, and `otel` meets OpenTelemetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .pipeline import TelemetryCounters, TelemetryPipeline
from .spans import ActiveSpan, current_span, traced

if TYPE_CHECKING:
    from .otel import from_opentelemetry, mirror_to_opentelemetry

__all__ = [
    "ActiveSpan",
    "TelemetryCounters",
    "TelemetryPipeline",
    "current_span",
    "from_opentelemetry",
    "mirror_to_opentelemetry",
    "traced",
]


def __getattr__(name: str) -> Any:
    if name not in {"from_opentelemetry", "mirror_to_opentelemetry"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import otel

        return getattr(otel, name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
    from ..errors import ClientStateError

    raise ClientStateError(f"{name} needs OpenTelemetry; run pip install 'ostiary[otel]'")
