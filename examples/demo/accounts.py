"""What agents and services counted, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ostiary import Ostiary
from ostiary.devserver.admin import AdminClient
from ostiary.governance import TraceResponse
from ostiary.workflow import TelemetryCounters

from .agents import DOMAINS, JOINING, ROUND, Agent
from .ordering import TASKS
from .services import MEMBER, Services, Used

Counts = dict[str, tuple[int, int]]
"""What was counted, here and there; the two must be the same."""


@dataclass
class Accounts:
    """Both sides' counts, and what the gateway was used for; asked before the services stop."""

    counts: Counts
    used: Used


def ask_services(
    admin: AdminClient,
    services: Services,
    agents: Sequence[Agent],
    reports: TelemetryCounters,
    calls_due: int,
) -> Accounts:
    """Ask for it, when the agents have ended and before anything else is done."""
    status = admin.status()
    # What the vault ended itself, by expiry or because a connection went, was not given back.
    ended = sum(len(admin.audit(action=one, limit=1000)) for one in ("expire", "end", "revoke"))
    keys_lent, keys_returned = (
        len(admin.audit(agent=MEMBER, action=one, limit=1000)) for one in ("retrieve", "release")
    )
    used = services.used()
    # Of each agent the last of either sort: reading all of them back would take longer than
    # making them did.
    last = {
        (agent.name, decision): trace_id
        for agent in agents
        for trace_id, decision in agent.traces.items()
    }
    with Ostiary(**services.client()) as client, ThreadPoolExecutor(8) as pool:
        governance, runtime, workflow = client.governance, client.runtime, client.workflow
        # What a service says of its requests counts this one, and so do we.
        metrics, sent = governance.system.metrics(), next(services.governance_requests)
        decisions = governance.governance.status()["decisions"]
        found: list[TraceResponse | None] = list(
            pool.map(governance.governance.get_trace, last.values())
        )
        figures, sent_to_runtime = runtime.get_metrics(), next(services.runtime_requests)
        names = runtime.list_agents()
        worked = sum(one.tasks_completed for one in pool.map(runtime.get_agent_metrics, names))
        reviews = runtime.get_review_statistics()
        approved = sum(1 for _ in workflow.iter_approvals("used", limit=500))
        flows = sum(1 for _ in workflow.iter_workflows("completed", limit=500))
        steps = sum(
            one.data.get("success") is True for one in workflow.iter_events("step_end", limit=1000)
        )
        told = sum(1 for _ in workflow.iter_events("custom", limit=1000))
    read_back = sum(
        trace is not None and (trace.trace_id, trace.decision) == (trace_id, decision)
        for trace, ((_, decision), trace_id) in zip(found, last.items(), strict=True)
    )

    decided = Counter(d for agent in agents for d in agent.traces.values())
    run_flows = sum(agent.flows for agent in agents)
    counts: Counts = {
        "calls made, and due": (calls_of(agents), calls_due),
        "leases granted": (
            sum(agent.granted for agent in agents),
            status.leases_granted - keys_lent,
        ),
        "leases given back": (
            sum(agent.released for agent in agents),
            status.leases_granted - status.leases - ended - keys_returned,
        ),
        "keys lent to the clients, and returned": (keys_lent, keys_returned),
        "allowed": (decided["ALLOW"], decisions["ALLOW"]),
        "throttled": (decided["THROTTLE"], decisions["THROTTLE"]),
        "blocked, as is due": (decided["BLOCK"], decisions["BLOCK"]),
        "events of streams": (
            sum(agent.events for agent in agents),
            sum(agent.events_due for agent in agents),
        ),
        "requests to governance": (sent, metrics.requests_total or 0),
        "traces read back": (len(last), read_back),
        "answers of models": (
            sum(len(agent.ledgers["gateway"].took) for agent in agents),
            used.calls,
        ),
        "tokens to models": (sum(agent.tokens_in for agent in agents), used.prompt_tokens),
        "tokens from models": (sum(agent.tokens_out for agent in agents), used.completion_tokens),
        "agents registered": (sum(agent.registered for agent in agents), len(names)),
        "tasks done": (sum(agent.worked for agent in agents), worked),
        "signed tools": (
            sum(agent.signed for agent in agents),
            reviews.by_status.get("signed", 0),
        ),
        "secrets of agents": (sum(agent.kept for agent in agents), figures.secrets_count or 0),
        "sentences kept": (sum(agent.known for agent in agents), figures.vector_db_items or 0),
        "requests to the runtime": (sent_to_runtime, figures.extra.get("requests_total", 0)),
        "approvals used": (sum(agent.approved for agent in agents), approved),
        "workflows run": (run_flows, flows),
        "tasks of workflows": (TASKS * run_flows, steps),
        "events reported": (reports.reported, told),
    }
    return Accounts(counts, used)


def calls_of(agents: Sequence[Agent]) -> int:
    """Return how many calls have been answered."""
    return sum(len(agent.ledgers[domain].took) for agent in agents for domain in DOMAINS)


def calls_due(agents: int, rounds: int) -> int:
    """Return how many calls so many agents make."""
    return agents * sum(JOINING[domain] + rounds * ROUND[domain] for domain in DOMAINS)
