"""What an MCP server is configured as, how that is kept, and which commands may start.

Neighbour: `servers` starts what passed here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from ...._decoders import decoder_of
from ...http.reading import invalid
from ...http.refusals import HttpRefusal
from ..context import Context
from ..sealed import seal, unseal

__all__ = ["GUIDES_COMMAND", "Kept", "ServerConfig", "check", "check_allowed", "keep", "restore"]

GUIDES_COMMAND: Final = ("npx", "@modelcontextprotocol/server-filesystem", "/tmp")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ARGUMENTS: Final = 128
_ARGUMENT_LENGTH: Final = 8192
_VARIABLES: Final = 128
_LONGEST_TIMEOUT: Final = 3600
# What a caller without a key may set: nothing by which a command becomes another one, as
# NODE_OPTIONS, PATH or LD_PRELOAD would make it.
_HARMLESS: Final = frozenset({"NODE_ENV", "LANG", "LC_ALL", "NO_COLOR", "TZ"})
_ENV: Final = decoder_of(dict[str, str])


class ServerConfig(msgspec.Struct, kw_only=True):
    """One server as its caller describes it; the values of `env` may be secrets."""

    name: str
    command: list[str]
    env: dict[str, str] = {}
    cwd: str | None = None
    timeout_seconds: int = 30

    def __repr__(self) -> str:
        return f"ServerConfig({self.name!r})"


class Kept(msgspec.Struct, kw_only=True):
    """The same on file: `env` is sealed under the vault's key, and empty when there is none."""

    name: str
    command: list[str]
    cwd: str | None
    timeout_seconds: int
    env: bytes = b""


def check(config: ServerConfig) -> None:
    """Refuse a description that cannot be of a server."""
    if not _NAME.fullmatch(config.name):
        raise invalid(
            "name",
            "a server's name has 1 to 128 letters, digits, dots, dashes and underscores, and "
            "begins with a letter or digit",
        )
    command = config.command
    if not command or not command[0] or len(command) > _ARGUMENTS:
        raise invalid(
            "command", f"command is a program and its arguments, {_ARGUMENTS} words at most"
        )
    if any("\0" in word or len(word) > _ARGUMENT_LENGTH for word in command):
        raise invalid(
            "command", f"a word of the command has {_ARGUMENT_LENGTH} characters at most, no NUL"
        )
    if len(config.env) > _VARIABLES or not all(map(_VARIABLE.fullmatch, config.env)):
        raise invalid(
            "env",
            f"env holds at most {_VARIABLES} variables, named with letters, digits and underscores",
        )
    if any("\0" in value for value in config.env.values()):
        raise invalid("env", "the value of a variable holds no NUL")
    if config.cwd is not None and ("\0" in config.cwd or not config.cwd.startswith("/")):
        raise invalid("cwd", "cwd is an absolute path; leave it out for a directory of our own")
    if not 1 <= config.timeout_seconds <= _LONGEST_TIMEOUT:
        raise invalid("timeout_seconds", f"timeout_seconds is from 1 to {_LONGEST_TIMEOUT}")


def check_allowed(config: ServerConfig, allowed: Collection[tuple[str, ...]]) -> None:
    """Refuse what is not on the list of commands that anybody may start."""
    if tuple(config.command) not in allowed:
        raise HttpRefusal(
            403,
            "MCP_COMMAND_REFUSED",
            "without a key only the listed commands start; list this one with --mcp-allow, or "
            "run without --demo and send the key",
            details={"field": "command"},
        )
    if config.cwd is not None:
        raise HttpRefusal(
            403,
            "MCP_COMMAND_REFUSED",
            "without a key a server runs in a directory of ours; leave cwd out",
            details={"field": "cwd"},
        )
    if not _HARMLESS.issuperset(config.env):
        raise HttpRefusal(
            403,
            "MCP_COMMAND_REFUSED",
            "without a key only these variables may be set: " + ", ".join(sorted(_HARMLESS)),
            details={"field": "env"},
        )


def keep(config: ServerConfig, context: Context) -> Kept:
    """Return a description as it may lie on a disk."""
    env = b""
    if config.env:
        env = seal(context, _path(config.name), msgspec.json.encode(config.env))
    return Kept(
        name=config.name,
        command=config.command,
        cwd=config.cwd,
        timeout_seconds=config.timeout_seconds,
        env=env,
    )


def restore(kept: Kept, context: Context) -> ServerConfig:
    """Return a description as it was given; needs the vault open when it has variables."""
    env: dict[str, str] = {}
    if kept.env:
        env = _ENV.decode(unseal(context, _path(kept.name), kept.env))
    return ServerConfig(
        name=kept.name,
        command=kept.command,
        env=env,
        cwd=kept.cwd,
        timeout_seconds=kept.timeout_seconds,
    )


def _path(name: str) -> str:
    return f"runtime/mcp/{name}"
