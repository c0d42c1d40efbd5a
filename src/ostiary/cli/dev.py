"""`ostiary dev`: the embedded server in the foreground, until it is told to stop."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.panel import Panel
from rich.text import Text

from ..errors import InvalidArgumentError
from ..secret import Secret
from .entry import read_passphrase, read_passphrase_line
from .screen import Screen, counted
from .session import Home, Json, home_directory, reporting

if TYPE_CHECKING:
    from ..devserver import VaultServer

__all__ = ["dev"]

_PORT = 7600
_DEMO_PORT = 8200
# What the product calls the variable that unlocks a vault where nobody can type.
_PASSPHRASE_VARIABLE: Final = "SANCTUM_PASSPHRASE"


def dev(
    home: Home = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Load the sample agent my-agent and the credentials of the documentation, "
            f"and listen on 127.0.0.1:{_DEMO_PORT} as well.",
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65535, help="TCP port on 127.0.0.1; 0 is any."
        ),
    ] = _PORT,
    no_tcp: Annotated[
        bool, typer.Option("--no-tcp", help="Listen on the Unix socket alone.")
    ] = False,
    passphrase: Annotated[
        bool,
        typer.Option("--passphrase", help="Seal the vault with a passphrase; asks for it hidden."),
    ] = False,
    passphrase_stdin: Annotated[
        bool, typer.Option("--passphrase-stdin", help="The same, read from one line on stdin.")
    ] = False,
    master_key: Annotated[
        bool,
        typer.Option(
            "--master-key",
            help="Seal the vault with a generated master.key file, 0600. The default.",
        ),
    ] = False,
    no_raw: Annotated[
        bool,
        typer.Option("--no-raw", help="Refuse `retrieve`: secrets can be used and not read."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="HOST[:PORT]",
            help="Let `use http_request` reach this private address. May be repeated.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run a local vault for DEVELOPMENT, until Ctrl-C or SIGTERM.

    A vault that was sealed with a passphrase is unlocked with $SANCTUM_PASSPHRASE when that
    is set and no option says otherwise.

    Exit codes: 0 stopped as asked; 1 could not start, such as beside a live vault on the
    same home; 2 wrong usage. With --json one line on stdout says that it is ready and where.
    """
    with reporting(json) as screen:
        if passphrase + passphrase_stdin + master_key > 1:
            raise typer.BadParameter(
                "choose one of --passphrase, --passphrase-stdin and --master-key"
            )
        directory = home_directory(home)
        _same_seal(directory, by_passphrase=passphrase or passphrase_stdin, by_file=master_key)
        secret: Secret | None = None
        if passphrase:
            made = (directory / "vault.db").exists()
            secret = read_passphrase("Passphrase of the vault", new=not made)
        elif passphrase_stdin:
            secret = read_passphrase_line()
        elif os.environ.get(_PASSPHRASE_VARIABLE) and _sealed_by_passphrase(directory):
            secret = Secret(os.environ[_PASSPHRASE_VARIABLE])
        from ..devserver import Options, serve

        ports = () if no_tcp else (port, _DEMO_PORT) if demo else (port,)
        options = Options(
            home=directory,
            ports=ports,
            demo=demo,
            passphrase=secret,
            raw_retrieval=not no_raw,
            http_allow=frozenset(allow_host or ()),
        )
        code = serve(options, on_ready=lambda server: _announce(screen, server))
        if not json:
            screen.note("stopped")
    raise typer.Exit(code)


def _sealed_by_passphrase(directory: Path) -> bool:
    return (directory / "vault.db").exists() and not (directory / "master.key").exists()


def _same_seal(directory: Path, *, by_passphrase: bool, by_file: bool) -> None:
    """Refuse to be told one seal while the vault has the other: it is chosen once."""
    if not (directory / "vault.db").exists():
        return
    sealed_by_file = (directory / "master.key").exists()
    if by_passphrase and sealed_by_file:
        raise InvalidArgumentError(
            f"the vault in {directory} is sealed by its master.key and not by a passphrase; "
            "leave the passphrase out, or give another --home"
        )
    if by_file and not sealed_by_file:
        raise InvalidArgumentError(
            f"the vault in {directory} has no master.key and is sealed by a passphrase; give "
            "--passphrase, or another --home"
        )


def _announce(screen: Screen, server: VaultServer) -> None:
    status = server.owner.status()
    if screen.json:
        # One line, flushed: whoever started this process reads it to know.
        line = {
            "ready": True,
            "pid": os.getpid(),
            "home": str(server.home),
            "socket": str(server.socket_path),
            "tcp": [f"{host}:{port}" for host, port in server.tcp],
            "locked": status["locked"],
        }
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()
        return
    screen.out.print(
        Panel(
            Text("DEVELOPMENT vault: for this machine and this user, with secrets you can lose"),
            style="bold yellow",
            expand=False,
        )
    )
    rows: list[tuple[str, str, str]] = [("Unix socket", str(server.socket_path), "yours alone")]
    rows += [("TCP", f"{host}:{port}", "this machine, unencrypted") for host, port in server.tcp]
    screen.table(("endpoint", "address", "reached by"), rows, empty="", firm=("address",))
    facts: dict[str, object] = {
        "home": server.home,
        "holds": f"{counted(len(server.vault.credentials), 'credential')}, "
        f"{counted(len(server.vault.agents), 'agent')}",
    }
    if status["locked"]:
        facts["state"] = "locked; run `ostiary vault unlock` in another terminal"
    screen.facts(facts)
    if server.options.demo and not status["locked"]:
        screen.out.print(Text("try it:", "bold"))
        for code in (
            "from ostiary.vault import VaultClient",
            f"with VaultClient({_arguments(server)}) as client:",
            '    print(client.retrieve("openai/api_key"))',
        ):
            # Left to the terminal to wrap, so that it can be copied whole.
            screen.out.print(Text(f"  {code}", "cyan"), soft_wrap=True)
    screen.out.print(Text("Ctrl-C stops it.", "dim"))
    sys.stdout.flush()


def _arguments(server: VaultServer) -> str:
    """Return what a client needs to find this vault and its key."""
    if server.home == home_directory(None):
        return '"my-agent"'
    key = server.home / "keys" / "my-agent.key"
    return f'"my-agent", socket_path="{server.socket_path}", key_path="{key}"'
