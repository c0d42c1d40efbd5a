"""What the governance commands share: options, the client, how an answer and an error look.

Options stand before or behind the command; behind wins. Text and JSON are byte for byte what
the guide's program prints. Neighbours: `cli.options`, which tells typer of the former;
`cli.screen`, whose words the vault's commands use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from ...errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    GatewayTimeoutError,
    NotFoundError,
    OstiaryError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    UnprocessableError,
)
from ...secret import Secret
from ..clients import client_of
from ..given import read_key
from ..options import SharedOptions, option, server_options
from ..screen import EXIT_FAILED, EXIT_UNREACHABLE, plain

if TYPE_CHECKING:
    from ...governance import GovernanceClient

__all__ = ["Session", "add", "take_options"]

_MARK: Final = "\N{CROSS MARK}"

# With --exit-codes; the first that fits. Without, whatever failed is EXIT_FAILED.
_CODES: Final[tuple[tuple[type[OstiaryError], int], ...]] = (
    (PermissionDeniedError, 4),
    (NotFoundError, 5),
    (UnprocessableError, 6),
    (AuthenticationError, 7),
    (DeadlineError, 8),
    (GatewayTimeoutError, 8),
    (RateLimitError, 9),
    (ServerError, 10),
    (ProtocolError, 10),
    (ConnectError, EXIT_UNREACHABLE),
    (ConnectionLostError, EXIT_UNREACHABLE),
)

_SHARED: Final = server_options(
    server="The server: http://host:port, or unix:///path of its socket. Default: "
    "$OSTIARY_GOVERNANCE_URL, else http://localhost:8000.",
    key="$OSTIARY_GOVERNANCE_API_KEY, else the file $OSTIARY_GOVERNANCE_API_KEY_FILE",
    timeout="How long to wait for the answer, retries included; of a stream, for its "
    "beginning. Default: 30.",
    json="Print JSON on stdout, errors too.",
    more={
        "api_key": Annotated[
            str | None,
            option(
                "--api-key",
                "-k",
                metavar="KEY",
                help="The API key itself. Every user of this machine can see it while the "
                "command runs: prefer `--api-key-file` or the environment.",
            ),
        ],
        "exit_codes": Annotated[
            bool, option("--exit-codes", help="Let the exit code tell what failed.")
        ],
    },
)


class Session:
    """One command's client, and where its answer goes."""

    def __init__(self, client: GovernanceClient, *, json: bool) -> None:
        self.client = client
        self.json = json

    def answer(self, members: Mapping[str, Any]) -> None:
        """Print names and values: a line each, or one JSON object."""
        if self.json:
            print_json(members)
        else:
            for name, value in members.items():
                line(f"{name}: {value}")

    def note(self, text: str) -> None:
        """Print a message for people on stderr."""
        _note(text)


def _note(text: str) -> None:
    print(plain(text), file=sys.stderr)


def line(text: str, *, end: str = "\n") -> None:
    """Write text to stdout; on a terminal, without what a terminal would act on."""
    if sys.stdout.isatty() and not text.isprintable():
        text = "".join(c if c in "\n\t" else plain(c) for c in text)
    sys.stdout.write(text + end)
    sys.stdout.flush()


def print_json(content: object, *, indent: int | None = 2) -> None:
    """Write a JSON document to stdout, in ASCII."""
    sys.stdout.write(json.dumps(content, indent=indent, default=str) + "\n")
    sys.stdout.flush()


@contextmanager
def _session(options: Mapping[str, Any]) -> Generator[Session, None, None]:
    as_json = bool(options.get("json"))
    try:
        # Here, because --help and completion need none of it.
        from ...governance import GovernanceClient

        more = {"timeout": options["timeout"]} if "timeout" in options else {}
        given = options.get("base_url"), _given_key(options)
        with client_of(GovernanceClient, _note, *given, **more) as client:
            yield Session(client, json=as_json)
    except OstiaryError as error:
        raise typer.Exit(_refuse(error, options)) from None


def _given_key(options: Mapping[str, Any]) -> Secret | None:
    return read_key(options) or cast("Secret | None", options.get("api_key"))


def _refuse(error: OstiaryError, options: Mapping[str, Any]) -> int:
    """Say what happened, on stderr and with --json on stdout too; return the exit code."""
    text = str(error)
    if isinstance(error, ConnectError):
        text = text.partition("; ")[0] + "; start a server with `ostiary dev`, or say which one "
        text += "with --base-url or OSTIARY_GOVERNANCE_URL"
    elif isinstance(error, AuthenticationError):
        text += "; say which file holds it by --api-key-file (that of `ostiary dev` is "
        text += "~/.sanctum/governance.token)"
    print(f"{_MARK} {plain(text)}", file=sys.stderr)
    if options.get("json"):
        print_json(
            {
                "error": {
                    "type": type(error).__name__,
                    "code": getattr(error, "code", None),
                    "message": error.message,
                    "trace_id": getattr(error, "trace_id", None) or None,
                    "status": getattr(error, "status", None),
                    "details": getattr(error, "details", None),
                }
            }
        )
    if options.get("exit_codes"):
        for kind, code in _CODES:
            if isinstance(error, kind):
                return code
    return EXIT_FAILED


_OPTIONS: Final = SharedOptions(
    _SHARED, _session, flags=frozenset({"json", "exit_codes"}), hidden=frozenset({"api_key"})
)
add: Final = _OPTIONS.add
take_options: Final = _OPTIONS.take
