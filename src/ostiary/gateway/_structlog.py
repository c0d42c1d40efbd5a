"""structlog's loggers on top of the standard library's, where structlog is installed.

They hand events over whole, fields and all; `logging`, beside this, writes them.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import structlog

from .logging import FIELDS

__all__ = ["configure", "wrapped"]


def wrapped(logger: logging.Logger) -> Any:
    """Return a structlog logger for one of the standard library's."""
    return structlog.wrap_logger(
        logger, processors=_PROCESSORS, wrapper_class=structlog.stdlib.BoundLogger
    )


def configure() -> None:
    """Send what agents log by structlog itself the same way, unless they have set it up."""
    if not structlog.is_configured():
        structlog.configure(
            processors=_PROCESSORS,
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            cache_logger_on_first_use=False,
        )


def _to_record(logger: object, method: str, event: dict[str, Any]) -> tuple[Any, Any]:
    extra = {name: event.pop(name) for name in ("exc_info", "stack_info") if name in event}
    message = event.pop("event", "")
    # What looks like a place for an argument in it is none: those are in already.
    return ("%s", message), {**extra, "extra": {FIELDS: event}}


_PROCESSORS: Final[list[Any]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _to_record,
]
