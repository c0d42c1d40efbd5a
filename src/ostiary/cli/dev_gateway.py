"""The gateway's part of `ostiary dev`: its options read into settings, its lines of the banner."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from ..devserver import GatewayOptions
    from ..devserver.gateway.server import GatewayServer

__all__ = [
    "AllowModel",
    "AllowTool",
    "Forward",
    "McpServer",
    "announced",
    "gateway_options",
    "rows",
]

_CHAT = ("triage", "analysis", "reasoning")

Forward = Annotated[
    list[str] | None,
    typer.Option(
        "--forward",
        metavar="PROVIDER=URL",
        help="Have an OpenAI-style server play a provider of the gateway, with the vault's "
        "credential PROVIDER/api_key as its key. May be repeated.",
        show_default=False,
    ),
]
AllowModel = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-model",
        metavar="[CATEGORY=]PROVIDER:MODEL",
        help="Allow the default run one more model, in one category or in those for chat. May "
        "be repeated.",
        show_default=False,
    ),
]
McpServer = Annotated[
    list[str] | None,
    typer.Option(
        "--mcp",
        metavar="NAME=COMMAND",
        help="Serve an MCP server, run by this command, behind the gateway. May be repeated.",
        show_default=False,
    ),
]
AllowTool = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-tool",
        metavar="SERVER:TOOL",
        help="Allow the default run a tool of an MCP server. May be repeated.",
        show_default=False,
    ),
]


def gateway_options(
    *,
    port: int | None,
    demo: bool,
    pace: float,
    quota: int | None,
    forward: Iterable[str],
    allow_model: Iterable[str],
    mcp: Iterable[str],
    allow_tool: Iterable[str],
) -> GatewayOptions:
    """Return the gateway's settings; `InvalidArgumentError` says which option is wrong."""
    from ..devserver import ForwardOptions, GatewayOptions
    from ..devserver.gateway.sample import models

    allowed = models(demo=demo)
    for text in allow_model:
        _allow(allowed, text)
    tools: dict[str, tuple[str, ...]] = {}
    for text in allow_tool:
        server, tool = _pair("--allow-tool", text, ":")
        tools[server] = (*tools.get(server, ()), tool)
    forwarded: dict[str, ForwardOptions] = {}
    for text in forward:
        provider, url = _pair("--forward", text, "=")
        forwarded[provider.lower()] = ForwardOptions(
            base_url=url, credential=f"{provider.lower()}/api_key"
        )
    commands: dict[str, tuple[str, ...]] = {}
    for text in mcp:
        name, command = _pair("--mcp", text, "=")
        commands[name] = _words(command)
    return GatewayOptions(
        port=port,
        pace=pace,
        quota=quota,
        forward=forwarded,
        allowed_models=allowed,
        mcp=commands,
        allowed_tools=tools,
    )


def rows(gateway: GatewayServer) -> list[tuple[str, str, str]]:
    """Return the addresses for the banner."""
    found = [
        ("gateway", str(gateway.http.socket_path), "you alone"),
        ("sidecar", str(gateway.sidecar.socket_path), "you alone"),
    ]
    if gateway.http.url is not None:
        found.insert(1, ("gateway", gateway.http.url, "this machine, unencrypted"))
    return found


def announced(gateway: GatewayServer | None) -> dict[str, object] | None:
    """Return what the line of JSON says about the gateway."""
    if gateway is None:
        return None
    return {
        "url": gateway.http.url,
        "unix_url": gateway.http.unix_url,
        "socket": str(gateway.http.socket_path),
        "sidecar": str(gateway.sidecar.socket_path),
        "environment": gateway.environment,
    }


def _allow(allowed: dict[str, tuple[str, ...]], text: str) -> None:
    category, equals, reference = text.partition("=")
    if not equals:
        category, reference = "", text
    provider, model = _pair("--allow-model", reference, ":")
    if category and category not in allowed:
        raise InvalidArgumentError(
            f"--allow-model knows no category {category!r}; it is one of {', '.join(allowed)}"
        )
    for name in [category] if category else _CHAT:
        allowed[name] = (*allowed[name], f"{provider.lower()}:{model}")


def _pair(option: str, text: str, mark: str) -> tuple[str, str]:
    name, _, value = text.partition(mark)
    if not name.strip() or not value.strip():
        raise InvalidArgumentError(f"{option} takes NAME{mark}VALUE, and {text!r} is not that")
    return name.strip(), value.strip()


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:
        pass
    raise InvalidArgumentError(f"--mcp has a quote without its end in {command!r}")
