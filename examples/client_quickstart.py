"""One client for all five domains, under one trace; starts the services for itself."""

from __future__ import annotations

from typing import Any

import ostiary
from ostiary import Ostiary
from ostiary.devserver import RunningVault, running


def settings(server: RunningVault) -> dict[str, Any]:
    """Return where the services are; elsewhere this is a profile or the environment."""
    run = server.gateway.environment
    server.put("services/mail", "a password of the mail service")
    return {
        "vault": {
            "agent_name": "reporter",
            "socket_path": str(server.socket_path),
            "key_path": str(server.add_agent("reporter", allow=["services/*"])),
        },
        "gateway": {
            "spiffe_jwt_path": run["SPIFFE_JWT_PATH"],
            "trat_file": run["TRAT_FILE"],
            "gateway": run["LLM_GATEWAY_SOCKET"],
        },
        "runtime": {"base_url": server.runtime_unix_url},
        "workflow": {"base_url": server.workflow_unix_url},
        "governance": {"base_url": server.governance_unix_url},
    }


def main() -> None:
    with running(demo=True) as server, Ostiary(**settings(server), timeout=10) as client:
        for domain, health in client.check().items():
            print(f"{domain:<12}{'well' if health.ok else 'not well'}: {health.said}")
        with ostiary.trace() as trace:
            decision = client.governance.run("write a report on doors", agent_id="reporter")
            report = client.gateway.chat("Write a report on doors.").text
            with client.vault.lease("services/mail", ttl=60) as lease:
                print(f"{decision.decision}: {report} (sent with {lease.value})")
        called = server.gateway.calls()[-1]
        assert called.request_id == trace.trace_id
        print("one trace through all of it")


if __name__ == "__main__":
    main()
