"""A hundred calls of four domains at once through one async client; starts the services too."""

from __future__ import annotations

import asyncio

from ostiary import AsyncOstiary
from ostiary.devserver import RunningVault, running

CALLS = 25


async def calls(server: RunningVault) -> int:
    run = server.gateway.environment
    async with AsyncOstiary(
        gateway={
            "spiffe_jwt_path": run["SPIFFE_JWT_PATH"],
            "trat_file": run["TRAT_FILE"],
            "gateway": run["LLM_GATEWAY_SOCKET"],
        },
        runtime={"base_url": server.runtime_unix_url},
        workflow={"base_url": server.workflow_unix_url},
        governance={"base_url": server.governance_unix_url},
        max_connections=8,
    ) as client:
        answers = await asyncio.gather(
            *(client.gateway.chat(f"Report {n} in a word.") for n in range(CALLS)),
            *(client.runtime.get_status() for _ in range(CALLS)),
            *(client.workflow.health() for _ in range(CALLS)),
            *(client.governance.system.health_async() for _ in range(CALLS)),
        )
        return len(answers)


def main() -> None:
    with running(demo=True) as server:
        print(f"{asyncio.run(calls(server))} answers, 4 domains, one client")


if __name__ == "__main__":
    main()
