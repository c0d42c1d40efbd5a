# Generated from _async.py by tools/unasync.py. Edit that file, not this one.

"""One run of a fleet: inputs in, results out, as they come.

Neighbours: `dispatch` decides, `port` waits, `run` knows what the run is.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from ..port import END, Back, Port, Taken

if TYPE_CHECKING:
    from ..report import FleetResult
    from ..run import Run

__all__ = ["results"]


def results(run: Run, port: Port) -> Generator[FleetResult, None]:
    """Yield each input's result once; end what was begun, whichever way this is left."""
    early = True
    try:
        port.open()
        dispatch = run.dispatch()
        while not dispatch.over:
            while (items := dispatch.take()) is not None:
                port.submit(items)
            event = port.next(dispatch.room > 0)
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
        port.close(early)
