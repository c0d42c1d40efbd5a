"""`run`, `stream`, `chat` and `agents run`: what governance decides on before it happens."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast

import typer

from .session import Session, add, line, print_json, take_options

__all__ = ["register"]

Text = Annotated[str, typer.Argument(metavar="TEXT", help="What to do.", show_default=False)]
SessionId = Annotated[
    str | None,
    typer.Option(
        "--session", metavar="ID", help="The conversation it belongs to.", show_default=False
    ),
]
AgentId = Annotated[
    str | None,
    typer.Option("--agent", metavar="ID", help="The agent that asks.", show_default=False),
]
Mode = Annotated[
    str | None,
    typer.Option(
        "--mode", metavar="MODE", help="How to work: fast, balanced or deep.", show_default=False
    ),
]
TimeoutMs = Annotated[
    int,
    typer.Option("--timeout-ms", metavar="MS", min=1, help="How long the server may work on it."),
]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    add(commands, "run", run)
    add(commands, "stream", stream)
    add(commands, "chat", chat)
    agents = typer.Typer(help="Have agents do something.", no_args_is_help=True)
    take_options(agents)
    add(agents, "run", agents_run)
    commands.add_typer(agents, name="agents")


def run(
    on: Session,
    text: Text,
    session: SessionId = None,
    agent: AgentId = None,
    mode: Mode = None,
    timeout_ms: TimeoutMs = 30_000,
) -> None:
    """Run a command through governance and print the result."""
    result = on.client.run(text, session, agent, mode, timeout_ms)
    on.answer(
        {
            "result": result.result,
            "trace_id": result.trace_id,
            "output": result.output,
            "mode": result.mode,
            "budget": result.budget,
            "latency_ms": result.latency_ms,
        }
    )


def stream(
    on: Session,
    text: Text,
    session: SessionId = None,
    agent: AgentId = None,
    mode: Mode = None,
    timeout_ms: TimeoutMs = 30_000,
    text_only: Annotated[
        bool, typer.Option("--text", "-t", help="Print the text alone, as it comes.")
    ] = False,
    total_timeout: Annotated[
        float | None,
        typer.Option(
            "--total-timeout",
            metavar="SECONDS",
            help="How long the whole stream may take.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse events that are out of order.")
    ] = False,
) -> None:
    """Run a command through governance and print its events as they come.

    A line each: `[type] data`, or with --json a JSON object. Exits 1 when the stream brings
    an error.
    """
    from ...governance import is_delta_event, is_error_event, is_token_event
    from ...governance.errors import error_event

    failed = None
    written = False
    with on.client.run_stream(
        text, session, agent, mode, timeout_ms, total_timeout, strict=strict
    ) as events:
        for event in events:
            if is_error_event(event):
                failed = error_event(event.data, event.trace_id)
            if on.json:
                print_json(
                    {
                        "type": event.type,
                        "data": event.data,
                        "trace_id": event.trace_id,
                        "timestamp": event.timestamp,
                    },
                    indent=None,
                )
            elif not text_only:
                line(f"[{event.type}] {event.data}")
            elif is_token_event(event) or is_delta_event(event):
                line(str(event.data.get("text", "")), end="")
                written = True
    if written:
        line("")
    if failed is not None:
        raise failed


def chat(
    on: Session,
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="What to say.", show_default=False)
    ],
    session: SessionId = None,
) -> None:
    """Send a message and print the answer."""
    reply = on.client.chat.run(message, session)
    on.answer({"result": reply.result, "session_id": reply.session_id, "trace_id": reply.trace_id})


def agents_run(
    on: Session,
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="The agent's id.", show_default=False)
    ],
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="What it is to do.", show_default=False)
    ],
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="JSON", help="Settings for it, a JSON object.", show_default=False
        ),
    ] = None,
) -> None:
    """Have an agent do a task and print what came of it."""
    result = on.client.agents.run(agent, task, json_object(config, "--config"))
    on.answer(
        {
            "result": result.result,
            "agent_id": result.agent_id,
            "trace_id": result.trace_id,
            "status": result.status,
            "error": result.error,
        }
    )


def json_object(text: str | None, what: str) -> dict[str, Any] | None:
    """Read a JSON object given as an argument."""
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise typer.BadParameter(f"""{what} is a JSON object, such as '{{"depth": 2}}'""")
    return cast("dict[str, Any]", found)
