"""Everybody at once: most agents on one event loop, the others on threads; then one alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ostiary import AsyncOstiary, Ostiary
from ostiary.fleet import Fleet, FleetStream
from ostiary.workflow import TelemetryCounters, TelemetryPipeline

from .agents import Agent, Shared
from .rounds import take_part_on_loop, take_part_on_thread
from .services import TIMEOUT, Services

Show = Callable[[float], None]


@dataclass(frozen=True)
class Ran:
    """How long the agents took, and what they cost."""

    seconds: float
    cpu: float
    """Of this process, which holds the agents and their clients, and no service."""


async def run_agents(
    services: Services,
    agents: Sequence[Agent],
    threads: int,
    rounds: int,
    alone: Agent,
    alone_rounds: int,
    show: Show,
) -> tuple[Ran, TelemetryCounters]:
    """Run all agents, the last `threads` of them on threads; then `alone`, by itself.

    Returns what the many took, and what became of everybody's reports.
    """
    split = len(agents) - threads
    with (
        Ostiary(**services.client()) as blocking,
        Ostiary(**services.client(person=True)) as blocking_person,
    ):
        # Its memory holds what all of them report in this time: nothing waits, nothing drops.
        pipeline = TelemetryPipeline(blocking.workflow, overflow="raise", max_queue=1_000_000)
        signer = (await asyncio.to_thread(blocking.runtime.list_signing_keys))[0]
        shared = Shared(services.socket, signer, pipeline, threading.Event())
        async with (
            AsyncOstiary(**services.client()) as on_loop,
            AsyncOstiary(**services.client(person=True)) as person,
        ):

            async def work(agent: Agent, client: AsyncOstiary) -> None:
                number = alone_rounds if agent is alone else rounds
                await take_part_on_loop(agent, client, person, shared, number)

            def blocking_work(agent: Agent, client: Ostiary) -> None:
                take_part_on_thread(agent, client, blocking_person, shared, rounds)

            # All at once, and none twice: a second try would be counted by the services alone.
            many = Fleet(work, client=on_loop, concurrency=len(agents), retries=0)
            few = Fleet(blocking_work, client=blocking, concurrency=max(threads, 1), retries=0)
            began, cpu = time.monotonic(), time.process_time()
            ticker = asyncio.create_task(tick(began, show))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(watch(few.stream(agents[split:])))
                    group.create_task(watch(many.stream(agents[:split])))
                ran = Ran(time.monotonic() - began, time.process_time() - cpu)
            except BaseException:
                shared.stopped.set()  # threads are not cancelled
                raise
            finally:
                ticker.cancel()
            show(ran.seconds)
            await watch(many.stream([alone]))
        return ran, await pipeline.aclose(TIMEOUT)


async def watch(stream: FleetStream) -> None:
    """Have a failure end its agent, and no other."""
    async for result in stream:
        if result.error is not None:
            result.input.problem = f"{type(result.error).__name__}: {result.error}"


async def tick(began: float, show: Show) -> None:
    while True:
        await asyncio.sleep(0.1)
        show(time.monotonic() - began)
