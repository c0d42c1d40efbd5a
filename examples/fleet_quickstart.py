"""Ask a model about many tickets, here and in other processes; starts an embedded gateway."""

from __future__ import annotations

import os

from ostiary import AsyncOstiary, Ostiary
from ostiary.devserver import running
from ostiary.fleet import Fleet, current

TICKETS = [f"ticket {number}" for number in range(40)]


async def triage(ticket: str, client: AsyncOstiary) -> str:
    reply = await client.gateway.chat(f"How urgent is {ticket}?", idempotency_key=current().key)
    return reply.text


def triage_elsewhere(ticket: str, client: Ostiary) -> tuple[str, int]:
    key = current().key
    return client.gateway.chat(f"How urgent is {ticket}?", idempotency_key=key).text, os.getpid()


def main() -> None:
    with Fleet(triage, concurrency=8).stream(TICKETS) as results:
        for result in results:
            if not result.ok:
                print(f"{result.input} failed: {result.error}")
    print(f"{results.report.done} here, {results.report.failed} failed")

    report = Fleet(triage_elsewhere, executor="processes", workers=2).run(TICKETS)
    processes = {result.value[1] for result in report.results if result.ok}
    print(f"{report.done} elsewhere, {report.failed} failed, {len(processes)} processes")
    assert os.getpid() not in processes


if __name__ == "__main__":  # each of those processes imports this file
    with running(demo=True, tcp=False) as server:
        # What `eval "$(ostiary env)"` puts into a shell.
        os.environ.update(server.gateway.environment)
        main()
