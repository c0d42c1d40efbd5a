"""`reviews ...`: tools handed in, what analysis found, what people decided, who signed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer
from rich.console import Group
from rich.text import Text

from ...errors import InvalidArgumentError
from ..screen import EXIT_FAILED, plain
from ..watching import Interval, View, Watch, show
from .session import Session, add, read_text, take_options

if TYPE_CHECKING:
    from ...runtime import ReviewSession, ReviewSessionList, SecurityFinding

__all__ = ["register"]

ReviewId = Annotated[
    str, typer.Argument(metavar="REVIEW", help="The review's id.", show_default=False)
]
By = Annotated[str, typer.Option("--by", metavar="WHO", help="Who decides.", show_default=False)]
Comments = Annotated[
    str | None,
    typer.Option("--comments", "-m", metavar="TEXT", help="Why.", show_default=False),
]

_FINAL: Final = frozenset({"approved", "rejected", "signed"})
_STYLES: Final = {
    "approved": "green",
    "signed": "bold green",
    "rejected": "bold red",
    "pending_review": "yellow",
    "under_review": "yellow",
    "low": "dim",
    "medium": "yellow",
    "high": "red",
    "critical": "bold red",
}


def register(commands: typer.Typer) -> None:
    """Add this group to the domain's."""
    group = typer.Typer(help="Tools under review.", no_args_is_help=True)
    take_options(group)
    add(group, "ls", ls)
    add(group, "queue", queue)
    add(group, "show", show_one)
    add(group, "submit", submit)
    add(group, "approve", approve)
    add(group, "reject", reject)
    add(group, "sign", sign)
    add(group, "signed", signed)
    add(group, "keys", keys)
    commands.add_typer(group, name="reviews")


def ls(
    on: Session,
    status: Annotated[
        str | None,
        typer.Option(
            "--status", metavar="STATUS", help="Such as pending_review.", show_default=False
        ),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option("--author", metavar="WHO", help="Who handed it in.", show_default=False),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=100, help="How many at most.")
    ] = 20,
    page: Annotated[int, typer.Option("--page", metavar="PAGE", min=1, help="Which of them.")] = 1,
    watch: Watch = False,
    interval: Interval = 2.0,
) -> None:
    """List reviews, the newest first."""

    def look() -> View:
        found = on.client.list_review_sessions(page, limit, status, author)
        return View(found, _listed(on, found.sessions, "no review matches", _more(found)))

    show(on, look, watch=watch, interval=interval)


def queue(
    on: Session,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=100, help="How many at most.")
    ] = 20,
    watch: Watch = False,
    interval: Interval = 2.0,
) -> None:
    """List what waits for a decision, the most urgent first."""

    def look() -> View:
        found = on.client.review_queue(limit=limit)
        return View(
            found, _listed(on, found.sessions, "nothing waits for a decision", _more(found))
        )

    show(on, look, watch=watch, interval=interval)


def show_one(on: Session, review: ReviewId, watch: Watch = False, interval: Interval = 2.0) -> None:
    """Show a review and what analysis found; --watch ends when it is decided."""

    def look() -> View:
        session = on.client.get_review_session(review)
        analysis = None
        if session.state.analysis_id:
            analysis = on.client.get_analysis_results(session.state.analysis_id)
        content = {"session": session, "analysis": analysis}
        return View(content, _picture(on, session, analysis), str(session.status) in _FINAL)

    show(on, look, watch=watch, interval=interval)


def submit(
    on: Session,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="A tool as JSON: `name`, `description`, `schema` and `provider`; - is stdin. A "
            "file may hold a list of tools.",
            show_default=False,
        ),
    ],
    by: Annotated[
        str, typer.Option("--by", metavar="WHO", help="Who hands it in.", show_default=False)
    ],
    priority: Annotated[
        str, typer.Option("--priority", metavar="WORD", help="low, normal, high or urgent.")
    ] = "normal",
) -> None:
    """Hand in tools for review. Exits 1 when one of several was refused."""
    tools = [tool for file in files for tool in _tools(file)]
    bodies = [{"tool": tool, "submitted_by": by, "priority": priority} for tool in tools]
    if len(bodies) == 1:
        one = on.client.submit_tool_for_review(bodies[0])
        on.facts(one, {"review": one.review_id, "status": one.status})
        return
    outcomes = on.client.submit_tools_for_review(bodies)
    rows: list[tuple[object, ...]] = []
    content: list[object] = []
    for tool, outcome in zip(tools, outcomes, strict=True):
        error = outcome.error
        made = outcome.response
        rows.append(
            (
                tool.get("name"),
                None if made is None else made.review_id,
                "refused" if made is None else made.status,
                None if error is None else error.message,
            )
        )
        content.append(made if error is None else {"error": error.message})
    on.table(content, ("tool", "review", "status", "why"), rows, firm=("review",), empty="no tool")
    if any(outcome.error is not None for outcome in outcomes):
        raise typer.Exit(EXIT_FAILED)


def approve(on: Session, review: ReviewId, by: By, comments: Comments = None) -> None:
    """Approve a tool, so that it can be signed."""
    _decide(on, review, "approve", by, comments)


def reject(on: Session, review: ReviewId, by: By, comments: Comments = None) -> None:
    """Reject a tool."""
    _decide(on, review, "reject", by, comments)


def sign(
    on: Session,
    review: ReviewId,
    key: Annotated[
        str,
        typer.Option("--key", metavar="ID", help="The key to sign with.", show_default=False),
    ],
) -> None:
    """Sign an approved tool."""
    made = on.client.sign_approved_tool({"review_id": review, "signing_key_id": key})
    on.facts(
        made,
        {
            "signed": made.signed_at,
            "by key": made.signer_id,
            "algorithm": made.signature_algorithm,
            "signature": made.signature,
        },
    )


def signed(
    on: Session,
    review: ReviewId,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check the signature, on this machine. Exits 1 when it does not fit the tool.",
        ),
    ] = False,
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            metavar="FILE",
            help="The signer's public key, PEM. Without it the server is asked, which proves no "
            "more than that it agrees with itself.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show a signed tool."""
    found = on.client.get_signed_tool(review)
    checked: str | None = None
    if verify or public_key is not None:
        from ...runtime.signatures import verify_tool

        verify_tool(found, _public_key(on, found.signer_id, public_key))
        checked = "fits the tool and the key" + (
            "" if public_key is not None else ", which the server itself named"
        )
    if on.json:
        on.document({"signed_tool": found, "verified": None if checked is None else True})
        return
    on.screen.facts(
        {
            "tool": found.tool.name,
            "review": found.review_id,
            "signed": found.signed_at,
            "by key": found.signer_id,
            "algorithm": found.signature_algorithm,
            "signature": found.signature,
            "verified": checked or "not looked at; --verify does",
        }
    )


def keys(on: Session) -> None:
    """List the keys that the server signs with; their public halves are in --json."""
    found = on.client.list_signing_keys()
    on.table(
        found,
        ("key", "algorithm", "made"),
        ((one.key_id, one.algorithm, one.created_at) for one in found),
        firm=("key", "algorithm"),
        empty="the server has no signing key",
    )


def _decide(on: Session, review: str, decision: str, by: str, comments: str | None) -> None:
    body: dict[str, Any] = {"decision": decision, "reviewer_id": by}
    if comments is not None:
        body["comments"] = comments
    made = on.client.submit_human_review_decision(review, body)
    on.done(made, f"{made.get('status', decision)}: {review}")


def _tools(file: Path) -> list[dict[str, Any]]:
    import json

    text = read_text(file, f"{file}")
    found: object = None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        pass
    listed = cast("list[object]", found) if isinstance(found, list) else [found]
    if not listed or not all(isinstance(one, dict) for one in listed):
        raise InvalidArgumentError(f"{file} holds no tool; a tool is a JSON object")
    return cast("list[dict[str, Any]]", listed)


def _public_key(on: Session, key_id: str, file: Path | None) -> str:
    if file is not None:
        return read_text(file, "the public key")
    for key in on.client.list_signing_keys():
        if key.key_id == key_id:
            return key.public_key
    raise InvalidArgumentError(
        f"the server names no key {plain(key_id)}; give the signer's own with --public-key FILE"
    )


def _listed(on: Session, sessions: Sequence[ReviewSession], empty: str, more: str | None) -> Any:
    picture = on.screen.picture(
        ("review", "tool", "status", "risk", "priority", "by", "when"),
        (
            (
                one.review_id,
                one.tool.name,
                _coloured(one.status),
                _critical(one),
                one.priority,
                one.submitted_by,
                one.submitted_at,
            )
            for one in sessions
        ),
        firm=("review", "tool", "status", "when"),
        spare=("by", "priority"),
        empty=empty,
    )
    return picture if more is None else Group(picture, Text(more, "dim"))


def _picture(on: Session, session: ReviewSession, analysis: Any) -> Any:
    state = session.state
    facts: dict[str, object] = {
        "review": session.review_id,
        "tool": f"{session.tool.name}, by {session.tool.provider.name}",
        "status": _coloured(session.status),
        "handed in": session.submitted_at,
        "by": session.submitted_by,
        "priority": session.priority,
    }
    if state.human_reviewer_id:
        facts["reviewer"] = state.human_reviewer_id
    if analysis is None:
        facts["analysis"] = "not done yet"
        return on.screen.card(facts)
    facts["risk"] = f"{analysis.risk_score} of 100"
    findings: list[SecurityFinding] = sorted(
        analysis.findings, key=lambda one: _ORDER.get(str(one.severity), 9)
    )
    table = on.screen.picture(
        ("severity", "sure", "finding", "what to do"),
        (
            (
                _coloured(one.severity),
                f"{one.confidence:.0%}",
                f"{one.title}: {one.description}",
                one.recommendation,
            )
            for one in findings
        ),
        firm=("severity", "sure"),
        right=("sure",),
        empty="analysis found nothing",
    )
    return Group(on.screen.card(facts), Text(), table)


_ORDER: Final = {"critical": 0, "high": 1, "medium": 2, "low": 3}


def _coloured(word: object) -> Text:
    text = plain(word)
    return Text(text, _STYLES.get(text, ""))


def _critical(session: ReviewSession) -> object:
    count = len(session.state.critical_findings or ())
    return Text(f"{count} critical", "bold red") if count else None


def _more(found: ReviewSessionList) -> str | None:
    count, total = len(found.sessions), found.pagination.total
    if total <= count:
        return None
    return f"{count} of {total:,}; --page and --limit show others"
