"""`policy add|ls|rm|simulate`: who may do what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, cast

import msgspec
import typer
from rich.text import Text

from ...errors import InvalidArgumentError
from ..completion import agent_names, policy_names
from ..session import Home, Json, Socket, session

__all__ = ["commands"]

commands = typer.Typer(
    help="Allow agents what they need; whatever no policy allows is denied.",
    no_args_is_help=True,
)

_ACTIONS = "retrieve, list, use, store, delete, rotate"


@commands.command("add")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The policy's own name.", show_default=False)
    ],
    principal: Annotated[
        str,
        typer.Option(
            "--principal",
            metavar="agent:GLOB",
            help="Whom it concerns, such as agent:build-*.",
            show_default=False,
        ),
    ],
    resource: Annotated[
        list[str],
        typer.Option(
            "--resource",
            "--resources",
            metavar="GLOB",
            help="Which paths, such as 'openai/*'. May be repeated, or separated by commas.",
            show_default=False,
        ),
    ],
    action: Annotated[
        list[str],
        typer.Option(
            "--action",
            "--actions",
            metavar="ACTION",
            help=f"One of {_ACTIONS}. May be repeated, or separated by commas.",
            show_default=False,
        ),
    ],
    max_ttl: Annotated[
        int,
        typer.Option("--max-ttl", metavar="SECONDS", min=1, help="The longest lease it grants."),
    ] = 300,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="NAME=VALUE",
            help="What must hold as well, such as max_uses_per_hour=60, time_window=09:00-17:00 "
            "or allowed_operations=sign. May be repeated; a value may be JSON.",
            show_default=False,
        ),
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Keep it without effect.")] = False,
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Add a policy, or replace the one of that name."""
    with session(home, socket, json) as on:
        policy = on.admin.policy_add(
            name,
            principal=principal,
            resources=_listed(resource),
            actions=_listed(action),
            max_ttl=max_ttl,
            enabled=not disabled,
            conditions=_conditions(condition or ()),
        )
        if json:
            on.screen.document(policy)
        else:
            on.screen.note(f"policy {name} is {'kept without effect' if disabled else 'in force'}")


@commands.command("ls")
def ls(home: Home = None, socket: Socket = None, json: Json = False) -> None:
    """List the policies."""
    with session(home, socket, json) as on:
        found = on.admin.policy_list()
        if json:
            on.screen.document({"policies": found})
            return
        on.screen.table(
            ("policy", "principal", "resources", "actions", "max ttl", "conditions"),
            (
                (
                    policy.name if policy.enabled else f"{policy.name} (disabled)",
                    policy.principal,
                    policy.resources,
                    policy.actions,
                    f"{policy.max_ttl} s",
                    _shown(policy.conditions),
                )
                for policy in found
            ),
            empty="there is no policy, so every agent is denied; add one with "
            "`ostiary vault policy add`",
            firm=("policy", "max ttl"),
            right=("max ttl",),
        )


@commands.command("rm")
def rm(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The policy.", autocompletion=policy_names, show_default=False
        ),
    ],
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Remove a policy."""
    with session(home, socket, json) as on:
        on.admin.policy_remove(name)
        if json:
            on.screen.document({"removed": name})
        else:
            on.screen.note(f"removed the policy {name}")


@commands.command("simulate")
def simulate(
    agent: Annotated[
        str,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="Who would ask.",
            autocompletion=agent_names,
            show_default=False,
        ),
    ],
    resource: Annotated[
        str, typer.Option("--resource", metavar="PATH", help="For what.", show_default=False)
    ],
    action: Annotated[
        str, typer.Option("--action", metavar="ACTION", help=f"One of {_ACTIONS}.")
    ] = "retrieve",
    home: Home = None,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Ask what the policies would say, without doing it; exits 0 whatever they say."""
    with session(home, socket, json) as on:
        verdict = on.admin.policy_simulate(agent, resource, action)
        if json:
            on.screen.document(verdict)
            return
        answer = Text("allowed", "green") if verdict.allowed else Text("denied", "red")
        facts: dict[str, object] = {"answer": answer}
        if verdict.allowed:
            facts["by policy"] = verdict.policy_name
            facts["lease"] = f"up to {verdict.lease_ttl} s"
        else:
            facts["because"] = verdict.reason
        on.screen.facts(facts)


def _listed(values: Iterable[str]) -> list[str]:
    return [part for value in values for part in (p.strip() for p in value.split(",")) if part]


def _conditions(pairs: Iterable[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in pairs:
        name, mark, text = pair.partition("=")
        if not mark or not name:
            raise InvalidArgumentError(f"the condition {pair!r} is not NAME=VALUE")
        try:
            value: object = msgspec.json.decode(text)
        except msgspec.DecodeError:
            value = _listed([text]) if name.startswith("allowed_") else text
        found[name] = [value] if name.startswith("allowed_") and isinstance(value, str) else value
    return found


def _shown(conditions: Mapping[str, object]) -> str:
    given = {name: value for name, value in conditions.items() if value is not None}
    return " ".join(f"{name}={_value(value)}" for name, value in given.items())


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(str(one) for one in cast("list[object]", value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
