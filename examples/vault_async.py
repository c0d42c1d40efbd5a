"""Many leases at once over one connection; needs `ostiary dev --demo` in another terminal."""

from __future__ import annotations

import asyncio

from ostiary.vault import AsyncVaultClient

PATHS = ["openai/api_key", "anthropic/api_key", "github/token", "stripe/api_key"]


async def work(client: AsyncVaultClient, path: str) -> str:
    """Hold a credential just as long as it is needed; leaving gives it back and wipes it."""
    async with client.lease(path) as lease:
        return f"{path}: {len(lease.value.reveal())} characters, {lease.remaining:.0f} s left"


async def main() -> None:
    async with AsyncVaultClient("my-agent", timeout=10) as client:
        for line in await asyncio.gather(*(work(client, path) for path in PATHS)):
            print(line)
        print(f"leases held now: {len(await client.lease_status())}")

        # All or nothing: when one is refused, the others are given back.
        values = await client.retrieve_many(PATHS)
        print(f"retrieved {len(values)} credentials in one go")


if __name__ == "__main__":
    asyncio.run(main())
