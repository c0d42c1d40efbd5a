"""`knowledge ...`: what is known, and what of it lies near a question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..screen import counted
from .session import Session, add, read_text, shown, take_options, write

__all__ = ["register"]

ItemId = Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.", show_default=False)]
Query = Annotated[
    str, typer.Argument(metavar="QUESTION", help="What is looked for.", show_default=False)
]
AgentId = Annotated[
    str | None,
    typer.Option(
        "--agent", metavar="ID", help="What this agent may see, and nobody's.", show_default=False
    ),
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="document, code, api_reference or conversation. May be repeated.",
        show_default=False,
    ),
]


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Knowledge and its search.", no_args_is_help=True)
    take_options(group)
    add(group, "add", add_files)
    add(group, "search", search)
    add(group, "context", context)
    add(group, "ls", ls)
    add(group, "show", show)
    add(group, "rm", rm)
    commands.add_typer(group, name="knowledge")


def add_files(
    on: Session,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Text files; - is stdin.", show_default=False),
    ],
    kind: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="What they are, as in `search`.")
    ] = "document",
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent", metavar="ID", help="Whose it is. Default: everybody's.", show_default=False
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="What one file is called. Default: its path.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Add files, which the server cuts into pieces. A file of the same name is replaced."""
    if source is not None and len(files) > 1:
        raise typer.BadParameter("--source is for one file")
    made: list[Any] = []
    for file in files:
        name = source or ("stdin" if str(file) == "-" else str(file))
        found = on.client.ingest_text(
            read_text(file, str(file)), source=name, source_type=kind, agent_id=agent
        )
        made.append(found)
        if not on.json:
            on.screen.note(f"added {name}: {counted(found.chunks, 'piece')}")
    if on.json:
        on.document(made)


def search(
    on: Session,
    query: Query,
    agent: AgentId = None,
    kind: Kind = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=1000, help="How many at most.")
    ] = 5,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold", metavar="SCORE", min=-1.0, max=1.0, help="The least likeness, to 1."
        ),
    ] = 0.3,
) -> None:
    """Search, the nearest first."""
    body: dict[str, Any] = {
        "query": query,
        "source_types": kind or [],
        "limit": limit,
        "similarity_threshold": threshold,
    }
    if agent is not None:
        body["agent_id"] = agent
    found = on.client.search_knowledge(body)
    on.table(
        found,
        ("score", "item", "source", "content"),
        (
            (
                f"{one.similarity_score:.2f}",
                one.item.id,
                one.item.metadata.source,
                shown(one.item.content),
            )
            for one in found.results
        ),
        firm=("score",),
        right=("score",),
        empty="nothing is near enough; a lower --threshold finds more",
    )


def context(
    on: Session,
    query: Query,
    agent: AgentId = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=100, help="How many at most.")
    ] = 5,
) -> None:
    """Print what a model would be given along with a question."""
    body: dict[str, Any] = {"query": query, "max_context_items": limit}
    if agent is not None:
        body["agent_id"] = agent
    found = on.client.get_context(body)
    rows = zip(found.relevance_scores, found.sources, found.context_items, strict=True)
    on.table(
        found,
        ("score", "source", "content"),
        ((f"{score:.2f}", source, shown(item)) for score, source, item in rows),
        firm=("score",),
        right=("score",),
        empty="nothing is known; add something with `ostiary runtime knowledge add FILE`",
    )


def ls(
    on: Session,
    agent: AgentId = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=100, help="How many at most.")
    ] = 20,
    page: Annotated[int, typer.Option("--page", metavar="PAGE", min=1, help="Which of them.")] = 1,
) -> None:
    """List items."""
    found = on.client.list_knowledge(page=page, limit=limit, agent_id=agent)
    on.table(
        found,
        ("item", "source", "type", "agent", "content"),
        (
            (
                one.id,
                one.metadata.source,
                one.metadata.source_type,
                one.metadata.agent_id,
                shown(one.content),
            )
            for one in found.items
        ),
        firm=("type",),
        empty="nothing is known; add something with `ostiary runtime knowledge add FILE`",
    )


def show(on: Session, item: ItemId) -> None:
    """Print an item's content."""
    found = on.client.get_knowledge_item(item)
    if on.json:
        on.document(found)
        return
    write(found.content if found.content.endswith("\n") else found.content + "\n")


def rm(on: Session, item: ItemId) -> None:
    """Forget an item."""
    on.done(on.client.delete_knowledge_item(item), f"deleted {item}")
