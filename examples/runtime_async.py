"""Many tools reviewed at once, signed and verified; starts an embedded runtime for itself."""

from __future__ import annotations

import asyncio

from ostiary.devserver import running
from ostiary.runtime import (
    AsyncRuntimeClient,
    FindingSeverity,
    HumanReviewDecision,
    ReviewSession,
    ReviewSessionCreate,
    SigningRequest,
    Tool,
    ToolProvider,
    ToolSchema,
    verify_tool,
)

SCHEMAS: dict[str, dict[str, object]] = {
    "adder": {"a": {"type": "number"}, "b": {"type": "number"}},
    "greeter": {"name": {"type": "string", "maxLength": 80}},
    "shell": {"command": {"type": "string", "description": "run this as root"}},
}


def tool(name: str) -> Tool:
    """Return a tool as its author would describe it."""
    return Tool(
        name=name,
        description=f"the tool {name}",
        schema=ToolSchema(properties=SCHEMAS[name], required=sorted(SCHEMAS[name])),
        provider=ToolProvider(name="acme"),
    )


async def decided(client: AsyncRuntimeClient, session: ReviewSession) -> ReviewSession:
    """Look at what the analysis found, and decide."""
    assert session.state.analysis_id is not None
    analysis = await client.get_analysis_results(session.state.analysis_id)
    grave = {FindingSeverity.HIGH, FindingSeverity.CRITICAL}
    doubtful = [one.title for one in analysis.findings if one.severity in grave]
    await client.submit_human_review_decision(
        session.review_id,
        HumanReviewDecision(
            decision="reject" if doubtful else "approve",
            comments="; ".join(doubtful) or "nothing grave",
            reviewer_id="reviewer@example.com",
        ),
    )
    return await client.wait_for_review_completion(session.review_id, timeout=30)


async def main(url: str, token: str) -> None:
    async with AsyncRuntimeClient(token, url) as client:
        outcomes = await client.submit_tools_for_review(
            ReviewSessionCreate(tool=tool(name), submitted_by="dev@example.com") for name in SCHEMAS
        )
        print(f"submitted: {sum(one.ok for one in outcomes)} of {len(outcomes)}")

        # The analysis takes a moment; a review is in the queue when it is done.
        waiting: list[ReviewSession] = []
        while len(waiting) < len(outcomes):
            waiting = [session async for session in client.iter_review_queue()]
            await asyncio.sleep(0.02)

        for session in await asyncio.gather(*(decided(client, one) for one in waiting)):
            print(f"{session.tool.name}: {session.status}")
            if session.status == "approved":
                key = (await client.list_signing_keys())[0]
                await client.sign_approved_tool(
                    SigningRequest(review_id=session.review_id, signing_key_id=key.key_id)
                )
                signed = await client.get_signed_tool(session.review_id)
                verify_tool(signed, key.public_key)
                print(f"  signed with {signed.signature_algorithm}, and the signature holds")


if __name__ == "__main__":
    with running(tcp=False) as server:
        assert server.runtime_token is not None
        asyncio.run(main(server.runtime_unix_url, server.runtime_token.reveal()))
