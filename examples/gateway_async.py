"""A hundred streams at once, tokens revoked in the middle; starts an embedded gateway."""

from __future__ import annotations

import asyncio

from ostiary.devserver import running
from ostiary.devserver.gateway.running import RunningGateway
from ostiary.gateway import (
    AsyncGatewayClient,
    ModelNotAuthorizedError,
    RateLimitError,
    access_from_environment,
)


async def spoken(client: AsyncGatewayClient, number: int) -> str:
    """Stream one answer and put it together."""
    return "".join([chunk.text async for chunk in client.stream_chat(f"agent {number} reports")])


async def main(gateway: RunningGateway) -> None:
    access = access_from_environment(gateway.environment)
    async with AsyncGatewayClient(access, timeout=60) as client:
        before = await asyncio.gather(*(spoken(client, n) for n in range(50)))
        gateway.revoke()
        after = await asyncio.gather(*(spoken(client, n) for n in range(50, 100)))
        whole = all(f"agent {n} reports" == text for n, text in enumerate([*before, *after]))
        print("every answer is whole:", whole)

        # Early: the connection is closed, and the gateway need not go on.
        async with client.stream_chat("/pace 0.01\n/words 1000") as stream:
            async for chunk in stream:
                if chunk.text:
                    print("left after", repr(chunk.text))
                    break

        try:
            await client.chat("hello", model="openai:gpt-huge")
        except ModelNotAuthorizedError as refused:
            print("refused:", refused)
        try:
            await client.chat("/fail 429 3600")
        except RateLimitError as limited:
            print(f"asked to wait {limited.retry_after:g} seconds, which is too long")
        print(f"{client.usage.calls} calls, {client.usage.total_tokens} tokens")


if __name__ == "__main__":
    with running(demo=True, tcp=False) as server:
        asyncio.run(main(server.gateway))
