"""`secrets ...`: values come in by a prompt, a pipe or a file, and out by `get` alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ...errors import InvalidArgumentError
from ..entry import read_value
from ..screen import plain
from .session import Session, add, read_text, take_options, worded

__all__ = ["register"]

AgentId = Annotated[
    str, typer.Argument(metavar="AGENT", help="The agent it belongs to.", show_default=False)
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.", show_default=False)]


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Secrets of agents, and where they are kept.", no_args_is_help=True)
    take_options(group)
    add(group, "ls", ls)
    add(group, "get", get)
    add(group, "set", set_)
    add(group, "rm", rm)
    add(group, "backend", backend)
    add(group, "use", use)
    commands.add_typer(group, name="secrets")


def ls(on: Session, agent: AgentId) -> None:
    """List the names of an agent's secrets; values are never shown."""
    found = on.client.list_secrets(agent)
    on.table(
        found,
        ("secret",),
        ((name,) for name in found.secrets),
        empty=f"{agent} has no secret; store one with `ostiary runtime secrets set`",
    )


def get(
    on: Session,
    agent: AgentId,
    name: Name,
    reveal: Annotated[
        bool,
        typer.Option("--reveal", help="Show it on a terminal too, where it stays to be read."),
    ] = False,
) -> None:
    """Print a secret, bare: to a pipe as it is, to a terminal only with --reveal."""
    value = on.client.get_secret(agent, name)
    hidden = sys.stdout.isatty() and not reveal
    if on.json:
        shown = None if hidden else value
        on.screen.document({"agent_id": agent, "secret_name": name, "value": shown})
    elif hidden:
        print("*" * 10)
    elif sys.stdout.isatty():
        # A stored value may hold sequences that drive the terminal it is shown on.
        print("".join(c if c in "\n\t" else plain(c) for c in value))
    else:
        sys.stdout.buffer.write(value.encode("utf-8", "surrogatepass"))
        sys.stdout.buffer.flush()
    if hidden:
        on.screen.note("this is a terminal: --reveal shows the secret here, a pipe gets it without")


def set_(
    on: Session,
    agent: AgentId,
    name: Name,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Read the secret from a file, every byte of it; - is stdin.",
            show_default=False,
        ),
    ] = None,
    description: Annotated[
        str | None,
        typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False),
    ] = None,
) -> None:
    """Store a secret, read from a hidden prompt, from stdin or from --file.

    From a pipe, one line of text loses its line end.
    """
    value = read_value(f"Secret {plain(name)} of {plain(agent)}", file)
    body: dict[str, Any] = {
        "agent_id": agent,
        "secret_name": name,
        "secret_value": value.reveal(),
    }
    if description is not None:
        body["description"] = description
    made = on.client.store_secret(body)
    on.done(made, f"{'replaced' if made.updated_at else 'stored'} {made.secret_name}")


def rm(
    on: Session,
    agent: AgentId,
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")
    ] = False,
) -> None:
    """Delete a secret; asks first on a terminal."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {plain(name)} of {plain(agent)}?", abort=True, err=True)
    on.done(on.client.delete_secret(agent, name), f"deleted {name}")


def backend(on: Session) -> None:
    """Show where secrets are kept."""
    found = on.client.get_secret_backend()
    on.facts(found, _flat(worded(found)))


def use(
    on: Session,
    kind: Annotated[
        Literal["sealed", "encrypted_file", "os_keychain", "vault"],
        typer.Argument(metavar="KIND", help="sealed, encrypted_file, os_keychain or vault."),
    ],
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Of a vault: its address.", show_default=False),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Of a vault: the file with its token; - is stdin.",
            show_default=False,
        ),
    ] = None,
    role_id: Annotated[
        str | None,
        typer.Option(
            "--role-id", metavar="ID", help="Of a vault: AppRole instead.", show_default=False
        ),
    ] = None,
    secret_id_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-id-file",
            metavar="FILE",
            help="The file with the AppRole's secret id; - is stdin.",
            show_default=False,
        ),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(
            "--path", metavar="PATH", help="Of an encrypted file: where.", show_default=False
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="Of an encrypted file: the file with its key; - is stdin.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Keep secrets elsewhere from now on. The server tries the new place before it leaves the old.

    What is kept already stays where it is.
    """
    body: dict[str, Any] = {"backend_type": kind}
    if kind == "vault":
        body["vault_config"] = _vault(url, token_file, role_id, secret_id_file)
    if path is not None:
        body["file_path"] = path
    if key_file is not None:
        body["encryption_key"] = _line(key_file, "the key")
    made = on.client.configure_secret_backend(body)
    on.done(made, f"secrets are kept by {made.get('backend_type', kind)} now")


def _vault(
    url: str | None, token_file: Path | None, role_id: str | None, secret_id_file: Path | None
) -> dict[str, Any]:
    if url is None:
        raise InvalidArgumentError("a vault has an address; give --url")
    if role_id is not None:
        if secret_id_file is None:
            raise InvalidArgumentError("an AppRole has a secret id too; give --secret-id-file")
        return {
            "url": url,
            "auth_method": "approle",
            "role_id": role_id,
            "secret_id": _line(secret_id_file, "the secret id"),
        }
    if token_file is None:
        raise InvalidArgumentError("a vault asks who you are; give --token-file, or --role-id")
    return {"url": url, "auth_method": "token", "token": _line(token_file, "the token")}


def _line(file: Path, what: str) -> str:
    text = read_text(file, what).strip()
    if not text or "\n" in text:
        raise InvalidArgumentError(f"{file} does not hold {what} as one line")
    return text


def _flat(content: Any, above: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found
