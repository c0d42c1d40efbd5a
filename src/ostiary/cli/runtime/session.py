"""What the runtime commands share: options, the client, how an answer and an error look.

Options stand before or behind the command; behind wins. No secret passes through here;
`secrets get` writes its one itself. Neighbours: `cli.answers`, `cli.options`, `cli.screen`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import typer

from ...errors import (
    AuthenticationError,
    ConnectError,
    OstiaryError,
)
from ..answers import Answers, shown, worded, write
from ..clients import client_of
from ..given import read_key, read_object, read_text
from ..options import SharedOptions, server_options
from ..screen import Screen

if TYPE_CHECKING:
    from ...runtime import RuntimeClient

__all__ = [
    "Session",
    "add",
    "read_object",
    "read_text",
    "shown",
    "take_options",
    "worded",
    "write",
]


_SHARED: Final = server_options(
    server="The runtime: http://host:port/api/v1, or unix:///path of its socket. Default: "
    "$OSTIARY_RUNTIME_URL or $SYMBIONT_BASE_URL, else http://localhost:8080/api/v1.",
    key="$OSTIARY_RUNTIME_API_KEY or $SYMBIONT_API_KEY, else the file "
    "$OSTIARY_RUNTIME_API_KEY_FILE",
    timeout="How long each call may take, retries included. Default: $SYMBIONT_TIMEOUT, else 30.",
    json="Print one JSON document on stdout; messages go to stderr.",
)

_START: Final = (
    "start a runtime with `ostiary dev`, or say which one with --base-url or OSTIARY_RUNTIME_URL"
)
_KEY: Final = (
    "say which file holds the key by --api-key-file (that of `ostiary dev` is "
    "~/.sanctum/runtime.token)"
)
# What lists the things of which the server has none of this name.
_LISTS: Final[Mapping[str, str]] = {
    "AGENT_NOT_FOUND": "agents ls",
    "DEPLOYMENT_NOT_FOUND": "agents deployments",
    "EXECUTION_NOT_FOUND": "workflows ls",
    "REVIEW_NOT_FOUND": "reviews ls",
    "SIGNING_KEY_NOT_FOUND": "reviews keys",
    "MCP_SERVER_NOT_FOUND": "mcp ls",
    "KNOWLEDGE_NOT_FOUND": "knowledge ls",
    "SCHEDULE_NOT_FOUND": "schedules ls",
    "HTTP_INPUT_NOT_FOUND": "inputs ls",
    "APPROVAL_NOT_FOUND": "approvals ls --all",
}


class Session(Answers):
    """One command's client, and where it answers."""

    def __init__(
        self, client: RuntimeClient, screen: Screen, patience: float | None = None
    ) -> None:
        super().__init__(screen)
        self.client = client
        self.patience = patience
        """The seconds of --timeout, or None."""


@contextmanager
def _session(options: Mapping[str, Any]) -> Generator[Session, None, None]:
    screen = Screen(json=bool(options.get("json")))
    try:
        # Here, because --help and completion need none of it.
        from ...runtime import RuntimeClient

        more = {"timeout": options["timeout"]} if "timeout" in options else {}
        given = read_key(options), options.get("base_url")
        with client_of(RuntimeClient, screen.note, *given, **more) as client:
            yield Session(client, screen, options.get("timeout"))
    except OstiaryError as error:
        code = screen.refuse(error, advice=_advice(error))
        details = shown(_news(error))
        if details:
            screen.note(f"details: {details}")
        raise typer.Exit(code) from None


def _news(error: OstiaryError) -> object:
    """Return what a server said beside its message, unless the message has it."""
    details: object = getattr(error, "details", None)
    told = (value for value in _values(details) if value is not None)
    return details if any(str(value) not in error.message for value in told) else None


def _values(details: object) -> Iterable[object]:
    return cast("dict[str, object]", details).values() if isinstance(details, dict) else (details,)


def _advice(error: OstiaryError) -> str | None:
    if isinstance(error, ConnectError):
        return _START
    if isinstance(error, AuthenticationError):
        return _KEY
    code = getattr(error, "code", None)
    if code == "SECRET_NOT_FOUND":
        return "`ostiary runtime secrets ls AGENT` shows what the agent has"
    if code == "MCP_COMMAND_REFUSED":
        return (
            "start the runtime with `--mcp-allow` and this command; where it asks for a key, that "
            "is, without --demo, any command may start"
        )
    if isinstance(code, str) and code in _LISTS:
        return f"`ostiary runtime {_LISTS[code]}` shows what there is"
    return None


_OPTIONS: Final = SharedOptions(_SHARED, _session, flags=frozenset({"json"}), hidden=frozenset())
add: Final = _OPTIONS.add
take_options: Final = _OPTIONS.take
