"""`ostiary dev`: the embedded server in the foreground, until it is told to stop."""

from __future__ import annotations

import os
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.panel import Panel
from rich.text import Text

from ..errors import InvalidArgumentError
from ..secret import Secret
from . import dev_runtime, dev_workflow
from .dev_gateway import (
    AllowModel,
    AllowTool,
    Forward,
    McpServer,
    announced,
    gateway_options,
    rows,
)
from .dev_runtime import KnowledgeModel, Map, McpAllow, NoRuntime, RuntimePort, runtime_options
from .dev_workflow import (
    NoWorkflow,
    ToolHost,
    Tools,
    WorkflowKeys,
    WorkflowPort,
    workflow_options,
)
from .entry import read_passphrase, read_passphrase_line
from .screen import Screen, counted
from .session import Home, Json, home_directory, reporting

if TYPE_CHECKING:
    from ..devserver import VaultServer
    from ..devserver.http.domain import HttpDomain

__all__ = ["dev"]

_PORT = 7600
_DEMO_PORT = 8200
_GOVERNANCE_PORT = 8000
_RUNTIME_PORT = 8080
_WORKFLOW_PORT = 3000
# What the product calls the variable that unlocks a vault where nobody can type.
_PASSPHRASE_VARIABLE: Final = "SANCTUM_PASSPHRASE"


class Meaning(Enum):
    """What a governed run's `result` and `mode` hold."""

    SEED = "seed"
    SDK = "sdk"


def dev(
    home: Home = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Load the sample agent my-agent and the credentials of the documentation, "
            "and ask no HTTP client for a token.",
        ),
    ] = False,
    port: Annotated[
        list[int] | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="TCP port of the vault on 127.0.0.1; 0 is any. May be repeated. "
            f"Default: {_PORT}, with --demo {_DEMO_PORT} as well.",
            show_default=False,
        ),
    ] = None,
    no_tcp: Annotated[bool, typer.Option("--no-tcp", help="Listen on Unix sockets alone.")] = False,
    governance_port: Annotated[
        int,
        typer.Option(
            "--governance-port",
            metavar="PORT",
            min=0,
            max=65535,
            help="TCP port of the governance service on 127.0.0.1; 0 is any.",
        ),
    ] = _GOVERNANCE_PORT,
    no_governance: Annotated[
        bool, typer.Option("--no-governance", help="Run the vault alone.")
    ] = False,
    meaning: Annotated[
        Meaning,
        typer.Option(
            "--meaning",
            help="What `result` and `mode` of a governed run hold: its text and the decision "
            "(seed), or the decision and the system's mode (sdk).",
        ),
    ] = Meaning.SEED,
    pace: Annotated[
        float,
        typer.Option(
            "--pace",
            metavar="SECONDS",
            min=0.0,
            help="Time that each word of a governed run, and of a streamed answer, takes.",
        ),
    ] = 0.0,
    gateway_port: Annotated[
        int | None,
        typer.Option(
            "--gateway-port",
            metavar="PORT",
            min=0,
            max=65535,
            help="TCP port of the gateway on 127.0.0.1 as well; 0 is any. Default: none.",
            show_default=False,
        ),
    ] = None,
    no_gateway: Annotated[
        bool, typer.Option("--no-gateway", help="Run without the gateway and its sidecar.")
    ] = False,
    forward: Forward = None,
    allow_model: AllowModel = None,
    mcp: McpServer = None,
    allow_tool: AllowTool = None,
    quota: Annotated[
        int | None,
        typer.Option(
            "--quota",
            metavar="CALLS",
            min=1,
            help="Calls a minute that the gateway allows each run. Default: no limit.",
            show_default=False,
        ),
    ] = None,
    runtime_port: RuntimePort = _RUNTIME_PORT,
    no_runtime: NoRuntime = False,
    maps: Map = None,
    knowledge_model: KnowledgeModel = None,
    mcp_allow: McpAllow = None,
    workflow_port: WorkflowPort = _WORKFLOW_PORT,
    no_workflow: NoWorkflow = False,
    tools: Tools = None,
    tool_host: ToolHost = None,
    workflow_key: WorkflowKeys = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="ORIGIN",
            help="Let web pages of this origin call the HTTP services. May be repeated.",
            show_default=False,
        ),
    ] = None,
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
    """Run a vault and the servers of every other domain for DEVELOPMENT, until Ctrl-C.

    Governance asks for the token in governance.token, below the home, the workflow server for
    that in workflow.token, and the runtime for the one in runtime.token, or in
    $SYMBIONT_API_TOKEN; with --demo they ask for none.
    What an agent needs to find the gateway, and prove itself to it, `ostiary env` prints.

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
        from ..devserver import GovernanceOptions, Options, serve

        governance: GovernanceOptions | None = None
        if not no_governance:
            governance = GovernanceOptions(
                port=None if no_tcp else governance_port,
                meaning="sdk" if meaning is Meaning.SDK else "seed",
                pace=pace,
            )
        gateway = None
        if not no_gateway:
            gateway = gateway_options(
                port=None if no_tcp else gateway_port,
                demo=demo,
                pace=pace,
                quota=quota,
                forward=forward or (),
                allow_model=allow_model or (),
                mcp=mcp or (),
                allow_tool=allow_tool or (),
            )
        runtime = None
        if not no_runtime:
            runtime = runtime_options(
                port=None if no_tcp else runtime_port,
                demo=demo,
                knowledge_model=knowledge_model,
                maps=maps or (),
                mcp_allow=mcp_allow or (),
            )
        workflow = None
        if not no_workflow:
            workflow = workflow_options(
                port=None if no_tcp else workflow_port,
                tools=tools or (),
                tool_hosts=tool_host or (),
                keys=workflow_key or (),
            )
        options = Options(
            home=directory,
            ports=() if no_tcp else tuple(port) if port else None,
            demo=demo,
            passphrase=secret,
            raw_retrieval=not no_raw,
            http_allow=frozenset(allow_host or ()),
            governance=governance,
            gateway=gateway,
            runtime=runtime,
            workflow=workflow,
            allow_origins=frozenset(allow_origin or ()),
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
            "governance": _governance(server),
            "gateway": announced(server.gateway),
            "runtime": dev_runtime.announced(server.runtime),
            "workflow": dev_workflow.announced(server.workflow),
        }
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()
        return
    screen.out.print(
        Panel(
            Text("for DEVELOPMENT: for this machine and this user, with secrets you can lose"),
            style="bold yellow",
            expand=False,
        )
    )
    listed: list[tuple[str, str, str]] = [("vault", str(server.socket_path), "you alone")]
    listed += [
        ("vault", f"{host}:{port}", "this machine, unencrypted") for host, port in server.tcp
    ]
    http = None if server.governance is None else server.governance.http
    if http is not None:
        listed.append(("governance", str(http.socket_path), "you alone"))
        if http.url is not None:
            listed.append(("governance", http.url, "this machine, unencrypted"))
    if server.gateway is not None:
        listed += rows(server.gateway)
    if server.runtime is not None:
        listed += dev_runtime.rows(server.runtime)
    if server.workflow is not None:
        listed += dev_workflow.rows(server.workflow)
    screen.table(("service", "address", "reached by"), listed, empty="", firm=("address",))
    facts: dict[str, object] = {
        "home": server.home,
        "holds": f"{counted(len(server.vault.credentials), 'credential')}, "
        f"{counted(len(server.vault.agents), 'agent')}",
    }
    kept = [
        one.http for one in (server.governance, server.runtime, server.workflow) if one is not None
    ]
    if kept:
        files = [str(one.token_path) for one in kept if one.token is not None]
        facts["token"] = ", ".join(files) or "any or none: --demo"
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
        if http is not None:
            screen.out.print(Text("or, in another terminal:", "bold"))
            screen.out.print(Text(f"  {_command(http)}", "cyan"), soft_wrap=True)
        if server.gateway is not None:
            screen.out.print(Text("an agent finds the gateway after:", "bold"))
            screen.out.print(Text(f"  {_environment(server)}", "cyan"), soft_wrap=True)
    screen.out.print(Text("Ctrl-C stops it.", "dim"))
    sys.stdout.flush()


def _arguments(server: VaultServer) -> str:
    """Return what a client needs to find this vault and its key."""
    if server.home == home_directory(None):
        return '"my-agent"'
    key = server.home / "keys" / "my-agent.key"
    return f'"my-agent", socket_path="{server.socket_path}", key_path="{key}"'


def _command(http: HttpDomain) -> str:
    """Return the command that tries governance where it is."""
    url = http.url or http.unix_url
    found = url.endswith(f":{_GOVERNANCE_PORT}")
    where = "" if found else f" --base-url {url}"
    return f'ostiary governance{where} run "create a report"'


def _environment(server: VaultServer) -> str:
    """Return the command that tells a shell where everything is."""
    where = (
        "" if server.home == home_directory(None) else f" --home {shlex.quote(str(server.home))}"
    )
    return f'eval "$(ostiary env{where})"'


def _governance(server: VaultServer) -> dict[str, str | None] | None:
    if server.governance is None:
        return None
    http = server.governance.http
    return {
        "url": http.url,
        "unix_url": http.unix_url,
        "socket": str(http.socket_path),
        "token_file": None if http.token is None else str(http.token_path),
    }
