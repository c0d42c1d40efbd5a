"""`approvals`, `approve`, `deny`, `policy ...` and `crv ...`: what may happen, and who says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from ...errors import InvalidArgumentError
from ..answers import shown
from ..given import read_object
from ..screen import EXIT_FAILED
from .reading import read_document
from .session import Session, add, take_options
from .states import state

__all__ = ["register"]

_PERMISSION: Final = "ACTION:RESOURCE[:INTENT[:ZONE]]"

Token = Annotated[
    str, typer.Argument(metavar="TOKEN", help="The approval's token.", show_default=False)
]
Comment = Annotated[
    str | None, typer.Option("--comment", "-m", metavar="TEXT", help="Why.", show_default=False)
]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    add(commands, "approvals", approvals)
    add(commands, "approve", approve)
    add(commands, "deny", deny)
    policy = typer.Typer(help="What policy says of an action.", no_args_is_help=True)
    take_options(policy)
    add(policy, "check", check)
    commands.add_typer(policy, name="policy")
    crv = typer.Typer(help="Gates and their validators.", no_args_is_help=True)
    take_options(crv)
    add(crv, "validate", validate)
    add(crv, "ls", validators)
    add(crv, "register", register_validator)
    add(crv, "rm", remove)
    commands.add_typer(crv, name="crv")


# --- approvals


def approvals(
    on: Session,
    token: Annotated[
        str | None,
        typer.Argument(metavar="TOKEN", help="Only this one, whole.", show_default=False),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Those too that were decided or have expired.")
    ] = False,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="ID", help="Of this workflow.", show_default=False),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=500, help="At most so many.")
    ] = 50,
) -> None:
    """List what waits for somebody's leave, the newest first."""
    if token is not None:
        one = on.client.get_approval(token)
        facts: dict[str, object] = {
            "token": one.token,
            "state": state(one.status),
            "action": _named(one.action),
            "risk": None if one.action is None else one.action.get("risk_tier"),
            "asked by": _id(one.principal),
            "why": one.reason,
            "workflow": one.workflow_id,
            "task": one.task_id,
            "asked": one.created_at,
            "until": one.expires_at,
            "decided": one.decided_at,
            "by": one.approver,
            "comment": one.comment,
        }
        on.facts(one, {name: value for name, value in facts.items() if value is not None})
        return
    found = on.client.list_approvals(None if every else "pending", workflow, limit=limit)
    on.table(
        found,
        ("token", "state", "action", "risk", "asked by", "workflow", "until"),
        (
            (
                one.token,
                state(one.status),
                _named(one.action),
                None if one.action is None else one.action.get("risk_tier"),
                _id(one.principal),
                "/".join(part for part in (one.workflow_id, one.task_id) if part),
                one.expires_at,
            )
            for one in found.approvals
        ),
        firm=("state", "risk", "until"),
        spare=("until", "risk", "asked by", "workflow"),
        empty="nothing waits for approval",
    )


def approve(on: Session, token: Token, comment: Comment = None) -> None:
    """Let it happen, once. Nobody can approve what they asked for themselves."""
    on.done(on.client.approve(token, comment), f"approved {token}")


def deny(on: Session, token: Token, comment: Comment = None) -> None:
    """Do not let it happen."""
    on.done(on.client.deny(token, comment), f"denied {token}")


# --- policy


def check(
    on: Session,
    action: Annotated[
        str | None,
        typer.Argument(metavar="ACTION", help="What is to be done.", show_default=False),
    ] = None,
    risk: Annotated[
        str, typer.Option("--risk", metavar="TIER", help="low, medium, high or critical.")
    ] = "low",
    needs: Annotated[
        list[str] | None,
        typer.Option(
            "--needs",
            metavar=_PERMISSION,
            help="A permission that it takes. May be repeated.",
            show_default=False,
        ),
    ] = None,
    principal: Annotated[
        str, typer.Option("--principal", metavar="ID", help="Who wants to do it.")
    ] = "cli",
    kind: Annotated[
        str, typer.Option("--as", metavar="KIND", help="Who that is: agent, human or service.")
    ] = "human",
    has: Annotated[
        list[str] | None,
        typer.Option(
            "--has",
            metavar=_PERMISSION,
            help="A permission that was granted. May be repeated.",
            show_default=False,
        ),
    ] = None,
    tool: Annotated[
        str | None,
        typer.Option("--tool", metavar="NAME", help="The tool it uses.", show_default=False),
    ] = None,
    allows: Annotated[
        list[str] | None,
        typer.Option(
            "--allows",
            metavar="TOOL",
            help="A tool that it may use; without, any. May be repeated.",
            show_default=False,
        ),
    ] = None,
    approval: Annotated[
        str | None,
        typer.Option(
            "--approval",
            metavar="TOKEN",
            help="An approval that was given for it; it serves once.",
            show_default=False,
        ),
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="All of it as JSON, with `principal` and `action`; - is stdin.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Ask policy whether an action may be done. Exits 1 when it may not.

    Where a person has to decide, that is asked for, and the token of the approval printed.
    """
    context: dict[str, Any]
    if document is not None:
        context = {
            "current_state": "idle",
            "audit_log": list[Any](),
            **_object(read_document(document, "the context"), "the context"),
        }
    elif action is not None:
        context = {
            "principal": {
                "id": principal,
                "type": kind,
                "permissions": [_permission(one) for one in has or ()],
            },
            "action": {
                "id": action,
                "name": action,
                "risk_tier": risk,
                "required_permissions": [_permission(one) for one in needs or ()],
                **({"allowed_tools": allows} if allows else {}),
            },
            "current_state": "idle",
            "audit_log": list[Any](),
        }
    else:
        raise typer.BadParameter("say what is to be done, as ACTION or with --from")
    if tool is not None:
        context["tool_name"] = tool
    found = on.client.evaluate_policy(context, approval_token=approval)
    facts: dict[str, object] = {"allowed": found.allowed, "because": found.reason}
    if found.requires_human_approval:
        facts["approval"] = found.approval_token or "needed, and cannot be asked for"
    on.facts(found, facts)
    if found.allowed:
        return
    if found.approval_token and not on.json:
        on.screen.note(f"`ostiary workflow approve {found.approval_token}` would let it pass")
    raise typer.Exit(EXIT_FAILED)


# --- gates


def validate(
    on: Session,
    data: Annotated[
        str,
        typer.Argument(
            metavar="JSON", help="What is to be judged: JSON, @FILE or -.", show_default=False
        ),
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            "-b",
            metavar="VALIDATOR",
            help="A validator to ask. May be repeated.",
            show_default=False,
        ),
    ] = None,
    previous: Annotated[
        str | None,
        typer.Option(
            "--previous",
            metavar="JSON",
            help="What it was before: JSON, @FILE or -.",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="How sure each has to be.",
            show_default=False,
        ),
    ] = None,
    warn: Annotated[
        bool, typer.Option("--warn", help="Only warn of what is found, and block nothing.")
    ] = False,
    gate: Annotated[str, typer.Option("--gate", metavar="NAME", help="What it is called.")] = "cli",
) -> None:
    """Have a change judged by validators. Exits 1 when the gate does not let it pass."""
    if not by:
        raise typer.BadParameter(
            "name at least one validator with --by; `ostiary workflow crv ls` shows them"
        )
    commit: dict[str, Any] = {"id": gate, "data": _json(data, "the data")}
    if previous is not None:
        commit["previous_state"] = _json(previous, "the previous state")
    config: dict[str, Any] = {"name": gate, "validators": by, "block_on_failure": not warn}
    if confidence is not None:
        config["required_confidence"] = confidence
    found = on.client.validate_commit(commit, config)
    if on.json:
        on.document(found)
    else:
        facts: dict[str, object] = {"gate": found.gate_name, "state": state(found.crv_status)}
        if found.failure_code:
            facts["code"] = found.failure_code
        if found.remediation:
            facts["next"] = found.remediation
        on.screen.facts(facts)
        on.screen.table(
            ("validator", "valid", "confidence", "code", "reason"),
            (
                (name, one.valid, one.confidence, one.failure_code, one.reason)
                for name, one in zip(by, found.validation_results, strict=False)
            ),
            firm=("validator", "valid"),
            right=("confidence",),
            empty="",
        )
    if found.blocked_commit:
        raise typer.Exit(EXIT_FAILED)


def validators(on: Session) -> None:
    """List the validators that gates can name."""
    found = on.client.list_validators()
    on.table(
        found,
        ("validator", "type", "built in", "works", "config"),
        (
            (one.validator_id, one.type, one.built_in, one.resolved, shown(one.config))
            for one in found
        ),
        firm=("validator",),
        spare=("config",),
        empty="there are none",
    )


def register_validator(
    on: Session,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What gates call it.", show_default=False)
    ],
    config: Annotated[
        str,
        typer.Argument(
            metavar="JSON",
            help='Its type and parameters, such as {"type": "max_size", "parameters": '
            '{"max_bytes": 1000}}; or @FILE or -.',
            show_default=False,
        ),
    ],
) -> None:
    """Give gates a validator under a name."""
    found = on.client.register_validator(name, read_object(config, "the configuration"))
    verb = "replaced" if found.get("replaced") else "registered"
    on.done(found, f"{verb} {name}")
    if found.get("resolved") is False:
        on.screen.note(f"the server has no such logic: {name} refuses whatever it is shown")


def remove(
    on: Session,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What gates call it.", show_default=False)
    ],
) -> None:
    """Take a registered validator away; gates that still name it let nothing pass."""
    on.client.delete_validator(name)
    on.done({"validator_id": name, "deleted": True}, f"removed {name}")


def _named(action: dict[str, Any] | None) -> object:
    return None if action is None else action.get("name") or action.get("id")


def _id(principal: dict[str, Any] | None) -> object:
    return None if principal is None else principal.get("id")


def _permission(text: str) -> dict[str, str]:
    parts = text.split(":")
    if not 2 <= len(parts) <= 4 or not all(parts[:2]):
        raise InvalidArgumentError(f"a permission is {_PERMISSION}, and {text!r} is not that")
    names = ("action", "resource", "intent", "data_zone")
    return {name: part for name, part in zip(names, parts, strict=False) if part}


def _object(found: object, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"{what} is no JSON object")
    return cast("dict[str, Any]", found)


def _json(text: str, what: str) -> Any:
    from json import loads

    from ..given import read_text

    if text == "-":
        return read_document(Path("-"), what)
    if text.startswith("@"):
        text = read_text(Path(text[1:]), what)
    try:
        return loads(text)
    except (ValueError, RecursionError):
        pass
    raise InvalidArgumentError(
        f"""{what} is no JSON; give it such as '{{"balance": 5}}', @FILE or -"""
    )
