"""Logging for agents: one line or one JSON object per event, on stderr, without secrets.

Nothing is configured before `configure_logging` is called, and what a program has set up
itself stays. On structlog where that is installed, else on a small logger with the same calls.
Neighbour: the runner, which configures it for the agent it runs.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, ModuleType
from typing import Any, Final, Protocol, TextIO, cast

import msgspec

from .errors import ConfigurationError

__all__ = ["BoundLogger", "bound", "configure_logging", "get_logger", "redact"]

FORMATS: Final = ("OSTIARY_LOG_FORMAT", "SAGE_SANCTUM_LOG_FORMAT")
LEVEL: Final = "OSTIARY_LOG_LEVEL"

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}

# They tell of each request at INFO, headers included at DEBUG.
_TALKATIVE: Final = (
    *("langchain", "litellm", "LiteLLM", "httpx", "httpcore", "urllib3", "openai"),
    *("anthropic", "asyncio"),
)

FIELDS: Final = "ostiary_fields"
_MASK: Final = "**********"

# Names whose values are secrets, unless the name goes on to say that it is about something else.
_SECRET_NAME: Final = re.compile(
    r"(?i)authorization|token|secret|passw|pwd|api[_-]?key|private[_-]?key|credential|cookie"
    r"|\bjwt\b|_jwt\b|svid|\btrat\b"
)
_ABOUT: Final = re.compile(r"(?i)(?:_|-|^)(?:path|file|socket|dir|type|name|id|hash|count|usage)$")

# What is a secret wherever it stands. Each has a form that nothing else has. None may begin in
# the middle of what it goes through without limit, or a long line takes the square of its time.
_SECRETS: Final = re.compile(
    r"""
    (?P<jwt> \beyJ(?: [\w-]{4,}+\.[\w-]{4,}(?:\.[\w-]*)? | [\w-]{1024,} ) )
  | (?P<scheme> \b(?:bearer|basic)\s+ ) [\w.~+/=-]{6,}
  | (?P<userinfo> (?<=[a-z0-9+.-]):// ) [^\s/@:]*:[^\s/@]+ (?=@)
  | \b (?: (?:sk|rk|pk)-[\w-]{16,} | AIza[\w-]{30,} | gh[pousr]_\w{20,} | github_pat_\w{20,}
        | xox[abeprs]-[\w-]{10,} | (?:AKIA|ASIA)[0-9A-Z]{16} )
  | -----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z\ ]*PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_bound: ContextVar[Mapping[str, object]] = ContextVar("ostiary_bound_fields", default=_NOTHING)


class BoundLogger(Protocol):
    """What `get_logger` returns: each call takes an event's name and its fields."""

    def bind(self, **fields: Any) -> BoundLogger: ...
    def unbind(self, *names: str) -> BoundLogger: ...
    def debug(self, event: str, *args: Any, **fields: Any) -> Any: ...
    def info(self, event: str, *args: Any, **fields: Any) -> Any: ...
    def warning(self, event: str, *args: Any, **fields: Any) -> Any: ...
    def error(self, event: str, *args: Any, **fields: Any) -> Any: ...
    def critical(self, event: str, *args: Any, **fields: Any) -> Any: ...
    def exception(self, event: str, *args: Any, **fields: Any) -> Any: ...


def configure_logging(
    log_format: str | None = None,
    verbose: bool | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Send log records of every library to stderr (docs/agents.md).

    `log_format` is `text` or `json`; None takes OSTIARY_LOG_FORMAT, and without that text on a
    terminal and JSON elsewhere. `verbose` means DEBUG, otherwise it is INFO; None takes
    OSTIARY_LOG_LEVEL. Calling it again replaces what it set up before; handlers of others
    stay. Raises `ConfigurationError` for a format or level that there is not.
    """
    source = os.environ if environ is None else environ
    named = next((text for name in FORMATS if (text := source.get(name, "").strip())), "")
    chosen = (log_format or named).lower()
    if chosen not in {"", "text", "json"}:
        raise ConfigurationError(f"the log format is text or json; correct {FORMATS[0]}")
    level = _LEVELS.get(source.get(LEVEL, "").lower() or "info")
    if level is None:
        raise ConfigurationError(f"the log level is one of {', '.join(_LEVELS)}; correct {LEVEL}")
    if verbose is not None:
        level = logging.DEBUG if verbose else logging.INFO
    handler = _StderrHandler(chosen)
    root = logging.getLogger()
    for one in [one for one in root.handlers if isinstance(one, _StderrHandler)]:
        root.removeHandler(one)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _TALKATIVE:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    if glue := _structlog():
        glue.configure()


def get_logger(name: str | None = None) -> BoundLogger:
    """Return a logger whose calls take an event and fields: `log.info("scanned", files=3)`.

    Before `configure_logging` its records go where the standard library sends them: nowhere
    below WARNING. Never to stdout.
    """
    logger = logging.getLogger(name)
    glue = _structlog()
    return _Logger(logger, {}) if glue is None else cast("BoundLogger", glue.wrapped(logger))


@contextmanager
def bound(**fields: object) -> Generator[None]:
    """Add fields to every record made inside, whichever library makes it."""
    before = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(before)


def redact(text: str) -> str:
    """Return text with what has the form of a secret masked: tokens, keys, passwords in URLs."""
    return _SECRETS.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    return f"{match['scheme'] or match['userinfo'] or ''}{_MASK}"


# --- where records go


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the time: tests and daemons exchange it."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._format = log_format

    def emit(self, record: logging.LogRecord) -> None:
        stream = cast("TextIO | None", sys.stderr)
        if stream is None or stream.closed:
            return
        try:
            terminal = stream.isatty()
            if self._format == "json" or (not self._format and not terminal):
                line = _as_json(record)
            else:
                line = _as_text(record, colours=terminal and _colours_wanted())
            stream.write(line + "\n")
            stream.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - a log line must not end the run it tells of
            self.handleError(record)


def _colours_wanted() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _content(record: logging.LogRecord) -> tuple[str, dict[str, Any], str]:
    """Return an event, its fields and its traceback, all without secrets."""
    given: Any = getattr(record, FIELDS, None)
    fields: dict[str, Any] = {**_bound.get(), **(given or {})}
    event = redact(record.getMessage())
    trace = ""
    if record.exc_info and record.exc_info[0] is not None:
        trace = redact(_formatter.formatException(record.exc_info))
    elif record.exc_text:
        trace = redact(record.exc_text)
    return event, {name: _safe(name, value) for name, value in fields.items()}, trace


_formatter: Final = logging.Formatter()


def _safe(name: str, given: object, depth: int = 0) -> Any:
    """Return a field's value as JSON has it, with what is secret masked."""
    value: Any = given
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if _SECRET_NAME.search(name) and not _ABOUT.search(name):
        return _MASK
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping) and depth < 6:
        members = cast("Mapping[object, object]", value).items()
        return {redact(str(key)): _safe(str(key), member, depth + 1) for key, member in members}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < 6:
        return [_safe("", item, depth + 1) for item in cast("Sequence[object]", value)]
    try:
        return redact(str(given))
    except Exception as error:  # noqa: BLE001 - anybody's __str__
        return f"<{type(given).__name__} that has no text: {type(error).__name__}>"


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _as_json(record: logging.LogRecord) -> str:
    event, fields, trace = _content(record)
    line: dict[str, Any] = {
        "timestamp": _moment(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event,
        **{f"{name}_" if name in _OURS else name: value for name, value in fields.items()},
    }
    if trace:
        line["exception"] = trace
    try:
        return msgspec.json.encode(line).decode()
    except (UnicodeEncodeError, OverflowError, RecursionError):
        import json

        return json.dumps(line, default=str)


_OURS: Final = frozenset({"timestamp", "level", "logger", "event", "exception"})
_COLOURS: Final[Mapping[int, str]] = {10: "\033[2m", 20: "\033[32m", 30: "\033[33m"}
_RED: Final = "\033[31m"
_PLAIN: Final = "\033[0m"


def _as_text(record: logging.LogRecord, *, colours: bool) -> str:
    event, fields, trace = _content(record)
    level = f"{record.levelname.lower():<8}"
    if colours:
        level = f"{_COLOURS.get(record.levelno, _RED)}{level}{_PLAIN}"
    parts = [_moment(record), level, _printable(event)]
    parts += [f"{_printable(name)}={_shown(value)}" for name, value in fields.items()]
    parts.append(f"[{record.name}]")
    line = " ".join(parts)
    if trace:
        # Line by line: its ends are its own, what stands between them is anybody's.
        line += "".join(f"\n{_printable(one)}" for one in trace.splitlines())
    return line


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    plain = text and text.isprintable() and not re.search(r"[\s\"'=]", text)
    return text if plain or not isinstance(value, str) else repr(text)


def _printable(text: str) -> str:
    """Return one line with nothing in it that a terminal would act on."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# --- loggers


def _structlog() -> ModuleType | None:
    """Return what needs structlog; None where that is not installed."""
    try:
        from . import _structlog as glue
    except ImportError:
        return None
    return glue


class _Logger:
    """The same calls without structlog."""

    def __init__(self, logger: logging.Logger, fields: Mapping[str, Any]) -> None:
        self._logger = logger
        self._fields = fields

    def bind(self, **fields: Any) -> _Logger:
        return _Logger(self._logger, {**self._fields, **fields})

    def unbind(self, *names: str) -> _Logger:
        kept = {name: value for name, value in self._fields.items() if name not in names}
        return _Logger(self._logger, kept)

    def debug(self, event: str, *args: Any, **fields: Any) -> None:
        self._log(logging.DEBUG, event, args, fields)

    def info(self, event: str, *args: Any, **fields: Any) -> None:
        self._log(logging.INFO, event, args, fields)

    def warning(self, event: str, *args: Any, **fields: Any) -> None:
        self._log(logging.WARNING, event, args, fields)

    def error(self, event: str, *args: Any, **fields: Any) -> None:
        self._log(logging.ERROR, event, args, fields)

    def critical(self, event: str, *args: Any, **fields: Any) -> None:
        self._log(logging.CRITICAL, event, args, fields)

    def exception(self, event: str, *args: Any, **fields: Any) -> None:
        self._log(logging.ERROR, event, args, {"exc_info": True, **fields})

    def _log(self, level: int, event: str, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            exc_info = fields.pop("exc_info", None)
            extra = {FIELDS: {**self._fields, **fields}}
            text, values = (event, args) if args else ("%s", (event,))
            self._logger.log(level, text, *values, exc_info=exc_info, extra=extra)
