"""Many governed streams at once; starts an embedded service for itself."""

from __future__ import annotations

import asyncio

from ostiary.devserver import running
from ostiary.governance import (
    AsyncGovernanceClient,
    GovernanceBlock,
    collect_stream,
    is_token_event,
)

COMMANDS = ["write a poem", "draw up a plan", "delete all production data", "count the chairs"]


async def work(client: AsyncGovernanceClient, command: str) -> str:
    """Stream one command; hold its events to their order, and to a minute in all."""
    try:
        run = await collect_stream(client.run_stream(command, timeout=60, strict=True))
    except GovernanceBlock as block:
        return f"{command}: blocked, see {block.trace_id}"
    return f"{command}: {run.text}"


async def main(url: str, token: str) -> None:
    async with AsyncGovernanceClient(url, token) as client:
        for line in await asyncio.gather(*(work(client, command) for command in COMMANDS)):
            print(line)

        async for event in client.run_stream("one two three four"):
            if is_token_event(event):
                print(f"stopped after {event.data['text']!r}")
                break  # closes the connection; the server need not go on

        print(f"scores: {await client.governance.status_async()}")


if __name__ == "__main__":
    with running(tcp=False) as server:
        assert server.governance_token is not None
        asyncio.run(main(server.governance_unix_url, server.governance_token.reveal()))
