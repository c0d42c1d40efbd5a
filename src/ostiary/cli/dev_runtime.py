"""The runtime's part of `ostiary dev`: its options read into settings, its lines of the banner."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import InvalidArgumentError
from ..secret import Secret

if TYPE_CHECKING:
    from ..devserver import RuntimeOptions
    from ..devserver.runtime.server import RuntimeServer

__all__ = [
    "KnowledgeModel",
    "Map",
    "McpAllow",
    "NoRuntime",
    "RuntimePort",
    "announced",
    "rows",
    "runtime_options",
]

_PORT: Final = 8080
# What the product calls the variable that a runtime's token stands in.
_TOKEN_VARIABLE: Final = "SYMBIONT_API_TOKEN"
_TOKEN_LENGTH: Final = 16

RuntimePort = Annotated[
    int,
    typer.Option(
        "--runtime-port",
        metavar="PORT",
        min=0,
        max=65535,
        help=f"TCP port of the agent runtime on 127.0.0.1; 0 is any. Default: {_PORT}.",
        show_default=False,
    ),
]
NoRuntime = Annotated[bool, typer.Option("--no-runtime", help="Run without the agent runtime.")]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=ADDRESS",
        help="Reach a vault for the runtime's secrets of this name at another host, or "
        "host:port. May be repeated.",
        show_default=False,
    ),
]
McpAllow = Annotated[
    list[str] | None,
    typer.Option(
        "--mcp-allow",
        metavar="COMMAND",
        help="Let the runtime start this MCP server where it asks for no key, as with --demo. "
        "May be repeated.",
        show_default=False,
    ),
]

KnowledgeModel = Annotated[
    str | None,
    typer.Option(
        "--knowledge-model",
        metavar="PROVIDER:MODEL",
        help="Have a model behind the gateway make the vectors of the runtime's knowledge. "
        "Default: the built-in embedding.",
        show_default=False,
    ),
]


def runtime_options(
    *,
    port: int | None,
    demo: bool,
    maps: Iterable[str],
    mcp_allow: Iterable[str],
    knowledge_model: str | None,
) -> RuntimeOptions:
    """Return the runtime's settings, $SYMBIONT_API_TOKEN among them; with `demo` without it."""
    from ..devserver import RuntimeOptions

    text = "" if demo else os.environ.get(_TOKEN_VARIABLE, "").strip()
    if text and (len(text) < _TOKEN_LENGTH or not text.isascii() or not text.isprintable()):
        raise InvalidArgumentError(
            f"{_TOKEN_VARIABLE} does not hold a token of at least {_TOKEN_LENGTH} characters; "
            "set another, or unset it"
        )
    return RuntimeOptions(
        port=port,
        maps=tuple(maps),
        mcp_allow=tuple(_words(one) for one in mcp_allow),
        knowledge_model=knowledge_model,
        token=Secret(text) if text else None,
    )


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        words = ()
    if not words:
        raise InvalidArgumentError(
            f"--mcp-allow takes a command as a shell would read it, and {command!r} is not one"
        )
    return words


def rows(runtime: RuntimeServer) -> list[tuple[str, str, str]]:
    """Return the addresses for the banner."""
    found = [("runtime", str(runtime.http.socket_path), "you alone")]
    if runtime.url is not None:
        found.append(("runtime", runtime.url, "this machine, unencrypted"))
    return found


def announced(runtime: RuntimeServer | None) -> dict[str, object] | None:
    """Return what the line of JSON says about the runtime."""
    if runtime is None:
        return None
    http = runtime.http
    return {
        "url": runtime.url,
        "unix_url": runtime.unix_url,
        "socket": str(http.socket_path),
        "token_file": None if http.token is None else str(http.token_path),
    }
