"""What the runtime commands share: options, the client, how an answer and an error look.

Options stand before or behind the command; behind wins. No secret passes through here;
`secrets get` writes its one itself. Neighbours: `cli.options`, `cli.screen`, `watching`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from ...errors import (
    AuthenticationError,
    ConnectError,
    InvalidArgumentError,
    OstiaryError,
)
from ...secret import Secret
from ..options import SharedOptions
from ..screen import Screen, plain

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

_PANEL: Final = "Server and output"
_LONGEST_INPUT: Final = 16 * 1024 * 1024
_LONGEST_CELL: Final = 160

_SHARED: Final[Mapping[str, Any]] = {
    "base_url": Annotated[
        str | None,
        typer.Option(
            "--base-url",
            "-u",
            metavar="URL",
            help="The runtime: http://host:port/api/v1, or unix:///path of its socket. Default: "
            "$OSTIARY_RUNTIME_URL or $SYMBIONT_BASE_URL, else http://localhost:8080/api/v1.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ],
    "api_key_file": Annotated[
        str | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help="Read the API key from a file; - is stdin. Default: $OSTIARY_RUNTIME_API_KEY or "
            "$SYMBIONT_API_KEY, else the file $OSTIARY_RUNTIME_API_KEY_FILE.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ],
    "timeout": Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.001,
            help="How long each call may take, retries included. Default: $SYMBIONT_TIMEOUT, "
            "else 30.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ],
    "json": Annotated[
        bool,
        typer.Option(
            "--json",
            "-j",
            help="Print one JSON document on stdout; messages go to stderr.",
            rich_help_panel=_PANEL,
        ),
    ],
}

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
}


class Session:
    """One command's client, and the screen to answer on."""

    def __init__(
        self, client: RuntimeClient, screen: Screen, patience: float | None = None
    ) -> None:
        self.client = client
        self.patience = patience
        """The seconds of --timeout, or None."""
        self.screen = screen
        self.json = screen.json

    def document(self, content: object) -> None:
        """Write one JSON document, in the words of the wire."""
        self.screen.document(worded(content))

    def table(
        self,
        content: object,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        empty: str,
        firm: Collection[str] = (),
        right: Collection[str] = (),
        spare: Sequence[str] = (),
    ) -> None:
        """Print rows, or with --json the content they were made of."""
        if self.json:
            self.document(content)
        else:
            self.screen.table(columns, rows, empty=empty, firm=firm, right=right, spare=spare)

    def facts(self, content: object, pairs: Mapping[str, object]) -> None:
        """Print names and values, or with --json the content they were taken from."""
        if self.json:
            self.document(content)
        else:
            self.screen.facts(pairs)

    def result(self, content: object, pairs: Mapping[str, object], result: object) -> None:
        """Print names and values, and below them what came of it: text, or indented JSON."""
        self.facts(content, pairs)
        if self.json or result is None:
            return
        text = result if isinstance(result, str) else dumps(result, ensure_ascii=False, indent=2)
        write(text if text.endswith("\n") else text + "\n")

    def done(self, content: object, text: str) -> None:
        """Say on stderr what was done, or with --json what the server answered."""
        if self.json:
            self.document(content)
        else:
            self.screen.note(text)


def worded(content: object) -> Any:
    """Return a reply, or a dict or list of replies, in the words of the wire."""
    from ...runtime.models import wire

    if isinstance(content, dict):
        members = cast("dict[str, object]", content)
        return {name: worded(value) for name, value in members.items()}
    return wire(content)


def write(text: str) -> None:
    """Write text to stdout; on a terminal, without what a terminal would act on."""
    if sys.stdout.isatty() and not text.isprintable():
        text = "".join(c if c in "\n\t" else plain(c) for c in text)
    sys.stdout.write(text)
    sys.stdout.flush()


def shown(value: object) -> str | None:
    """Return a JSON value in one line that fits into a table; text as it is."""
    if value is None:
        return None
    line = value if isinstance(value, str) else dumps(value, ensure_ascii=False, default=str)
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST_CELL else line[: _LONGEST_CELL - 3] + "..."


def read_object(text: str | None, what: str) -> dict[str, Any]:
    """Read a JSON object given as an argument: as it stands, `@FILE`, or `-` for stdin."""
    if text is None:
        return {}
    if text == "-":
        text = read_text(Path("-"), what)
    elif text.startswith("@"):
        text = read_text(Path(text[1:]), what)
    found: object = None
    try:
        found = loads(text)
    except (ValueError, RecursionError):
        pass
    if not isinstance(found, dict):
        raise InvalidArgumentError(
            f"""{what} is no JSON object; give one such as '{{"depth": 2}}', @FILE or -"""
        )
    return cast("dict[str, Any]", found)


def read_text(file: Path, what: str) -> str:
    """Read a file, or stdin for `-`, which is UTF-8 and not endless."""
    if str(file) == "-":
        if sys.stdin.isatty():
            print(f"{what}: end with Ctrl-D", file=sys.stderr)
        raw = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    else:
        try:
            with file.open("rb") as source:
                raw = source.read(_LONGEST_INPUT + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InvalidArgumentError(f"cannot read {file}: {reason}; check the path") from None
    if len(raw) > _LONGEST_INPUT:
        raise InvalidArgumentError(f"{what} is longer than {_LONGEST_INPUT} bytes; send less")
    text = None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if text is None:
        raise InvalidArgumentError(f"{what} is not UTF-8 text")
    return text


@contextmanager
def _session(options: Mapping[str, Any]) -> Generator[Session, None, None]:
    screen = Screen(json=bool(options.get("json")))
    try:
        # Here, because --help and completion need none of it.
        from ...runtime import RuntimeClient

        more = {"timeout": options["timeout"]} if "timeout" in options else {}
        with warnings.catch_warnings(record=True) as told:
            # Of a key in clear, of an address in a .env: for people, and not for a log.
            warnings.simplefilter("always", RuntimeWarning)
            client = RuntimeClient(_key(options), options.get("base_url"), **more)
        for warning in told:
            screen.note(f"warning: {warning.message}")
        with client:
            yield Session(client, screen, options.get("timeout"))
    except OstiaryError as error:
        code = screen.refuse(error, advice=_advice(error))
        details = shown(_news(error))
        if details:
            screen.note(f"details: {details}")
        raise typer.Exit(code) from None


def _key(options: Mapping[str, Any]) -> Secret | None:
    file = options.get("api_key_file")
    if file is None:
        return None
    from ...runtime.settings import read_key_file

    if file != "-":
        return read_key_file(Path(file))
    key = Secret(sys.stdin.buffer.readline(16 * 1024).strip())
    if not key:
        raise InvalidArgumentError("no API key on stdin; pipe in one line")
    return key


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
