"""`agents ...`: what runs, what it did, and where it is deployed."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Final, cast

import typer

from ..screen import EXIT_FAILED, plain
from ..units import percent, size
from .session import Session, add, read_object, shown, take_options

__all__ = ["register"]

AgentId = Annotated[
    str, typer.Argument(metavar="AGENT", help="The agent's id.", show_default=False)
]
DeploymentId = Annotated[
    str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's id.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even on a terminal.")]

_DEFAULTS: Final[dict[str, object]] = {
    "description": "",
    "system_prompt": "You are a helpful assistant.",
    "tools": [],
    "model": "echo",
    "temperature": 0.7,
    "top_p": 1.0,
    "max_tokens": 1024,
}


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Agents, what they do, and their deployments.", no_args_is_help=True)
    take_options(group)
    add(group, "ls", ls)
    add(group, "show", show)
    add(group, "create", create)
    add(group, "run", run)
    add(group, "history", history)
    add(group, "rm", rm)
    add(group, "deploy", deploy)
    add(group, "deployments", deployments)
    add(group, "deployment", deployment)
    add(group, "stop", stop)
    commands.add_typer(group, name="agents")


def ls(on: Session) -> None:
    """List the agents and what each is doing."""
    found = on.client.list_agent_details()
    on.table(
        found,
        ("agent", "name", "state"),
        ((one.id, one.name, one.state) for one in found),
        firm=("agent", "state"),
        empty="there is no agent; make one with `ostiary runtime agents create ID`",
    )


def show(on: Session, agent: AgentId) -> None:
    """Show an agent's state and what it uses."""
    found = on.client.get_agent_status(agent)
    used = found.resource_usage
    on.facts(
        found,
        {
            "agent": found.agent_id,
            "state": found.state,
            "last active": found.last_activity,
            "memory": size(used.memory_bytes),
            "CPU": percent(used.cpu_percent),
            "active tasks": used.active_tasks,
        },
    )


def create(
    on: Session,
    agent: AgentId,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="What it is called. Default: its id.", show_default=False
        ),
    ] = None,
    description: Annotated[
        str | None,
        typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", metavar="TEXT", help="Its system prompt.", show_default=False),
    ] = None,
    tool: Annotated[
        list[str] | None,
        typer.Option(
            "--tool", metavar="NAME", help="A tool it may use. May be repeated.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="MODEL", help="Its model. Default: echo.", show_default=False
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            metavar="NUMBER",
            min=0.0,
            max=2.0,
            help="How freely it chooses its words. Default: 0.7.",
            show_default=False,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p",
            metavar="NUMBER",
            min=0.0,
            max=1.0,
            help="From which part of them. Default: 1.",
            show_default=False,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            metavar="COUNT",
            min=1,
            help="The longest answer. Default: 1024.",
            show_default=False,
        ),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="JSON",
            help="All of it as a JSON object, @FILE or -; options win over its members.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Create an agent. The same agent again is no error."""
    given: dict[str, Any] = {
        "name": name,
        "description": description,
        "system_prompt": prompt,
        "tools": tool,
        "model": model,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
    }
    whole = {"name": agent} | _DEFAULTS | read_object(members, "--from")
    whole |= {key: value for key, value in given.items() if value is not None}
    made = on.client.create_agent(whole | {"id": agent})
    on.done(made, f"{made.get('status', 'created')} {made.get('id', agent)}")


def run(
    on: Session,
    agent: AgentId,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            help="What it is to work on: text, or a JSON value.",
            show_default=False,
        ),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the execution's id and end.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="SECONDS", min=0.0, help="How long to wait for its end."),
    ] = 300.0,
) -> None:
    """Have an agent do its work and print what came of it. Exits 1 when it failed."""
    started = on.client.execute_agent(agent, _value(text))
    if no_wait:
        on.facts(started, {"execution": started.execution_id, "status": started.status})
        return
    ended = on.client.wait_for_execution(agent, started.execution_id, timeout=wait)
    facts: dict[str, object] = {"execution": ended.execution_id, "status": ended.status}
    if ended.error:
        facts["error"] = ended.error
    on.result(ended, facts, said(ended.result))
    if ended.status != "completed":
        raise typer.Exit(EXIT_FAILED)


def history(on: Session, agent: AgentId) -> None:
    """List what an agent did last."""
    found = on.client.get_agent_history(agent)
    on.table(
        found,
        ("execution", "status", "when", "result"),
        (
            (one.execution_id, one.status, one.timestamp, shown(one.error or said(one.result)))
            for one in found
        ),
        firm=("execution", "status", "when"),
        empty=f"{agent} has done nothing yet",
    )


def rm(on: Session, agent: AgentId, yes: Yes = False) -> None:
    """Delete an agent; asks first on a terminal."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {plain(agent)} for good?", abort=True, err=True)
    on.done(on.client.delete_agent(agent), f"deleted {agent}")


def deploy(
    on: Session,
    agent: AgentId,
    environment: Annotated[
        str, typer.Option("--environment", "-e", metavar="NAME", help="Where it is to run.")
    ] = "development",
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="JSON", help="Settings, a JSON object.", show_default=False
        ),
    ] = None,
) -> None:
    """Deploy an agent and print where it answers."""
    made = on.client.deploy_agent(
        {
            "agent_id": agent,
            "environment": environment,
            "config_overrides": read_object(config, "--config"),
        }
    )
    _deployed(on, made)


def deployments(
    on: Session,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="ID", help="Only of this agent.", show_default=False),
    ] = None,
) -> None:
    """List deployments."""
    found = on.client.list_agent_deployments(agent)
    on.table(
        found,
        ("deployment", "agent", "status", "deployed", "answers at"),
        (
            (one.deployment_id, one.agent_id, one.status, one.deployed_at, one.endpoint_url)
            for one in found
        ),
        firm=("deployment", "status", "deployed"),
        spare=("deployed", "agent"),
        empty="nothing is deployed; `ostiary runtime agents deploy AGENT` does it",
    )


def deployment(on: Session, deployment: DeploymentId) -> None:
    """Show a deployment."""
    _deployed(on, on.client.get_agent_deployment(deployment))


def stop(on: Session, deployment: DeploymentId) -> None:
    """Stop a deployment; its address answers no more."""
    on.done(on.client.stop_agent_deployment(deployment), f"stopped {deployment}")


def _deployed(on: Session, one: Any) -> None:
    on.facts(
        one,
        {
            "deployment": one.deployment_id,
            "agent": one.agent_id,
            "status": one.status,
            "deployed": one.deployed_at,
            "answers at": one.endpoint_url,
        },
    )


def said(result: object) -> object:
    """Return an agent's answer out of what came of its work; the rest is for --json."""
    if isinstance(result, dict):
        return cast("dict[str, object]", result).get("response", cast(object, result))
    return result


def _value(text: str | None) -> object:
    """Read an input: JSON if it is JSON, else the text itself."""
    if text is None:
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    return found
