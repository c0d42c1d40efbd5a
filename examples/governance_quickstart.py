"""Ask before acting, and read the reasons; needs `ostiary dev --demo` in another terminal."""

from __future__ import annotations

from ostiary.governance import GovernanceBlock, GovernanceClient

COMMANDS = ["create a report", "send an email to everyone", "delete all production data"]


def main() -> None:
    with GovernanceClient() as client:
        for command in COMMANDS:
            try:
                run = client.run(command)
            except GovernanceBlock as block:
                print(f"{command}: BLOCK, {block.message}")
                trace_id = block.trace_id
            else:
                print(f"{command}: {run.decision}, {run.text}")
                trace_id = run.trace_id

            # The decision is on record, whatever it was.
            trace = client.governance.get_trace(trace_id)
            if trace is not None:
                print(f"  policy {trace.policy}, risk {trace.risk_score}: {trace.reason}")

        for event in client.run_stream("create a report"):
            print(f"[{event.type}] {event.data}")


if __name__ == "__main__":
    main()
