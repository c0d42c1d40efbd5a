"""What the gateway commands share: options, the access object, how an error ends a command.

Tokens come from files and the sidecar that the environment names, and never from arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ...errors import ConnectError, InvalidArgumentError, OstiaryError
from ..screen import Screen, plain

if TYPE_CHECKING:
    from ...gateway import GatewayAccess

__all__ = ["ExitCodes", "Json", "Session", "Timeout", "read_input", "session", "write"]

Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout; messages go to stderr."),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.001,
        help="How long to wait, retries included; of a streamed answer, for its beginning.",
    ),
]
ExitCodes = Annotated[
    bool, typer.Option("--exit-codes", help="End with the exit code an agent would end with.")
]

_NEXT: Final[dict[str, str]] = {
    "TraTAcquisitionError": "set TRAT_FILE or AUTH_SIDECAR_SOCKET; "
    '`eval "$(ostiary env)"` sets them for a running `ostiary dev`',
    "ModelNotAuthorizedError": "`ostiary gateway token` shows what this run may use",
    "ScopeNotAuthorizedError": "`ostiary gateway token` shows what this run may use",
    "SpiffeAuthError": '`eval "$(ostiary env)"` names the files of a running `ostiary dev`',
    "ConfigurationError": '`eval "$(ostiary env)"` sets what is needed for a running `ostiary dev`',
}
_LONGEST_INPUT: Final = 16 * 1024 * 1024
_UNREACHABLE: Final = (
    'start a gateway with `ostiary dev`, then set its variables with `eval "$(ostiary env)"`'
)


class Session:
    """One command's access object, and the screen to answer on."""

    def __init__(self, screen: Screen, access: GatewayAccess) -> None:
        self.screen = screen
        self.access = access
        self.json = screen.json


@contextmanager
def session(json: bool, exit_codes: bool) -> Generator[Session, None, None]:
    """Yield what the environment gives access to; an error inside becomes the exit code."""
    screen = Screen(json=json)
    try:
        # Here, because --help and completion need none of it.
        from ...gateway import access_from_environment

        yield Session(screen, access_from_environment())
    except OstiaryError as error:
        code = screen.refuse(error, advice=_advice(error))
        own = getattr(error, "exit_code", None)
        raise typer.Exit(own if exit_codes and isinstance(own, int) else code) from None


def write(text: str, *, end: str = "") -> None:
    """Write what a model said to stdout; on a terminal, without what a terminal would act on."""
    if sys.stdout.isatty() and not text.isprintable():
        text = "".join(c if c in "\n\t" else plain(c) for c in text)
    sys.stdout.write(text + end)
    sys.stdout.flush()


def read_input(what: str) -> str:
    """Read stdin, which has an end and a limit."""
    if sys.stdin.isatty():
        print(f"{what}: end with Ctrl-D", file=sys.stderr)
    raw = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    if len(raw) > _LONGEST_INPUT:
        raise InvalidArgumentError(f"stdin is longer than {_LONGEST_INPUT} bytes; send less")
    text = None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if text is None:
        raise InvalidArgumentError("stdin is not UTF-8 text")
    return text


def _advice(error: OstiaryError) -> str | None:
    if isinstance(error, ConnectError):
        return _UNREACHABLE
    return next((_NEXT[c.__name__] for c in type(error).__mro__ if c.__name__ in _NEXT), None)
