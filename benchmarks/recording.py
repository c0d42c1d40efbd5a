"""`python -m benchmarks.recording` writes what the embedded servers answer into `recorded/`.

The C server gives these replies out, so that clients are measured with the servers' own words
and without their work. Write them anew when their replies change. `runtime` or `workflow` as an
argument records that one alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from ostiary.devserver import RuntimeOptions, WorkflowOptions, running
from ostiary.runtime import RuntimeClient
from ostiary.workflow import WorkflowClient

from .cases import workflow
from .cases.runtime import AGENT, API, AUTHOR, CALLS, SESSIONS
from .rounds import RECORDED

_THINGS = ("orders", "invoices", "shipments", "contracts", "tickets")
_DEEDS = ("find", "count", "export", "archive")


def tool(number: int) -> dict[str, Any]:
    """Return one of the tools that are submitted: ten or so of each kind, as a team has them."""
    thing, deed = _THINGS[number % 5], _DEEDS[number // 5 % 4]
    return {
        "name": f"{deed}_{thing}_{number}",
        "description": f"{deed.capitalize()} {thing} of one customer between two days.",
        "schema": {
            "type": "object",
            "properties": {
                "customer": {"type": "string", "maxLength": 64, "description": "Its number."},
                "from": {"type": "string", "format": "date"},
                "to": {"type": "string", "format": "date"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
                # Every tenth runs what it is given, and has findings.
                **({"command": {"type": "string"}} if number % 10 == 0 else {}),
            },
            "required": ["customer"],
        },
        "provider": {
            "name": "Back office",
            "public_key_url": "https://tools.example.com/.well-known/pubkey.pem",
        },
    }


def knowledge() -> list[dict[str, Any]]:
    """Return the pieces that a search finds its results among."""
    written = datetime(2031, 5, 6, 10, tzinfo=UTC).isoformat()
    return [
        {
            "id": f"guide-{number:02}",
            "content": (
                f"Late {thing}, part {number}: how {thing} that are late are found, who is told "
                f"of late {thing}, and by when. After nine days they are handed to a person."
            ),
            "metadata": {
                "source": f"guides/{thing}.md",
                "source_type": "document",
                "chunk_index": number,
                "timestamp": written,
                "agent_id": AGENT,
            },
        }
        for number, thing in enumerate(_THINGS * 4)
    ]


def fill(client: RuntimeClient) -> None:
    """Give the runtime behind `client` what the cases ask for."""
    client.create_agent(
        {
            "id": AGENT,
            "name": "Late orders",
            "description": "Finds orders that are late.",
            "system_prompt": "You find orders that are late, and say by how much.",
            "tools": ["find_orders_0"],
            "model": "a-model-of-this-year",
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 1024,
        }
    )
    requests = [{"tool": tool(n), "submitted_by": AUTHOR} for n in range(SESSIONS)]
    refused = [one.error for one in client.submit_tools_for_review(requests) if one.error]
    assert not refused, refused[0]
    for item in knowledge():
        client.add_knowledge_item(item)
    for number, session in enumerate(client.list_review_sessions(limit=SESSIONS).sessions):
        # Either waits for the analysis, if it still runs.
        if number % 2:
            client.claim_review(session.review_id, AUTHOR)
        else:
            decision = {"decision": "approve", "reviewer_id": AUTHOR}
            client.submit_human_review_decision(session.review_id, decision)


def replies() -> dict[str, bytes]:
    """Return the embedded runtime's replies to what the cases ask, by the names of their calls."""
    found: dict[str, bytes] = {}
    with (
        running(runtime=RuntimeOptions(port=0)) as server,
        RuntimeClient(server.runtime_token, server.runtime_unix_url) as client,
    ):
        fill(client)
        for name, call in CALLS.items():
            body = call.body()
            path = call.path.removeprefix(API)
            reply = client.pool.request(call.method, path, json=UNSET if body is None else body)
            found[name] = reply.read()
    return found


def steps() -> dict[str, Callable[[Any], Any]]:
    """Return the tools of the workflow that is run: each gives back a small object."""

    def made(name: str) -> Callable[[Any], Any]:
        def step(call: Any) -> dict[str, Any]:
            late = [{"order": f"A-{n}", "customer": f"C-{n % 12}", "days": n % 9} for n in range(3)]
            seen = {key: call.inputs[key] for key in ("day", "region")}
            return {**seen, "rows": 31, "first": late, "upstream": len(call.upstream)}

        return step

    return {name: made(name) for name in workflow.STEPS}


def workflow_replies() -> dict[str, bytes]:
    """Return the embedded workflow server's replies, by the names of their calls."""
    found: dict[str, bytes] = {}
    with (
        running(workflow=WorkflowOptions(port=0, tools=steps())) as server,
        WorkflowClient(server.workflow_unix_url, server.workflow_token) as client,
    ):
        for name, call in workflow.CALLS.items():
            body = msgspec.Raw(call.content())
            reply = client.pool.request("POST", workflow.API + call.path, json=body)
            found[name] = reply.read()
    return found


def main() -> int:
    wanted = sys.argv[1:] or ["runtime", "workflow"]
    found: dict[str, bytes] = {}
    if "runtime" in wanted:
        found |= replies()
    if "workflow" in wanted:
        found |= workflow_replies()
    for name, body in found.items():
        (RECORDED / f"{name}.json").write_bytes(body)
        print(f"{name}.json: {len(body):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
