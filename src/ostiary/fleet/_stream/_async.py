"""One run of a fleet: inputs in, results out, as they come.

Neighbours: `dispatch` decides, `port` waits, `run` knows what the run is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from ..port import END, AsyncPort, Back, Taken

if TYPE_CHECKING:
    from ..report import FleetResult
    from ..run import Run

__all__ = ["results"]


async def results(run: Run, port: AsyncPort) -> AsyncGenerator[FleetResult, None]:
    """Yield each input's result once; end what was begun, whichever way this is left."""
    early = True
    try:
        await port.open()
        dispatch = run.dispatch()
        while not dispatch.over:
            while (items := dispatch.take()) is not None:
                await port.submit(items)
            event = await port.next(dispatch.room > 0)
            if event is END:
                dispatch.ended = True
            elif isinstance(event, Taken):
                item = run.item(event.input)
                problem = port.prepare(item)
                if problem is None:
                    dispatch.add(item)
                else:
                    run.refuse(item, problem)
            elif isinstance(event, Back):
                run.settle(dispatch, event)
            while run.ready:
                yield run.ready.popleft()
        early = False
    finally:
        run.end()
        await port.aclose(early)
