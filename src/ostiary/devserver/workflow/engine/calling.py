"""One call of one tool: on the loop or on a thread, under a limit, to be broken off.

A coroutine that is broken off is cancelled and given a moment. A function on a thread cannot
be stopped: it is told, and left behind. Neighbour: `attempt` decides what follows.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ....workflow.enums import SandboxType
from ....workflow.models import SandboxConfig
from ..tools import Tool, ToolCall, ToolError
from ..tools.call import is_coroutine_function
from .equipment import Equipment
from .faults import Interrupted, TimedOut

__all__ = ["RESULT_BYTES", "call_tool", "first", "is_played", "told"]

RESULT_BYTES: Final = 4 * 1024 * 1024
_LONGEST_TOLD: Final = 500

_encode = msgspec.json.Encoder().encode


def is_played(sandbox: SandboxConfig | None) -> bool:
    """Return whether a tool's real work is only played; raise `ValueError` where it cannot be.

    A sandbox that isolates would have to be one: those that this engine has not are refused.
    """
    if sandbox is None or not sandbox.enabled:
        return False
    if sandbox.simulation_mode or sandbox.type in {
        None,
        SandboxType.MOCK,
        SandboxType.SIMULATION,
    }:
        return True
    raise ValueError(
        f"this server has no sandbox of the type {sandbox.type}; use mock or simulation, or run "
        "the task without a sandbox"
    )


async def call_tool(
    equipment: Equipment,
    tool: Tool,
    call: ToolCall,
    *,
    played: bool,
    seconds: float | None,
    interrupt: asyncio.Future[Any] | None,
) -> bytes:
    """Return a tool's result as JSON.

    Raises what the tool raises, `TimedOut` after `seconds`, `Interrupted` when `interrupt` is
    done first. What ends in the moment it is given has ended: its effect is there.
    """
    work = asyncio.ensure_future(_work(equipment, tool, call, played))
    try:
        over = await first(equipment, work, seconds, interrupt)
        if not work.done():
            call.cancelled.set()
            on_thread = not is_coroutine_function(tool.run)
            if on_thread and over is Interrupted:
                await asyncio.wait({work}, timeout=equipment.grace)
            if not work.done():
                work.cancel()
                await asyncio.wait({work}, timeout=equipment.grace)
    except asyncio.CancelledError:  # the engine stops
        call.cancelled.set()
        work.cancel()
        work.add_done_callback(_forget)
        raise
    if not work.done() or work.cancelled():
        work.add_done_callback(_forget)
        if over is TimedOut:
            raise TimedOut
        if over is Interrupted:
            raise Interrupted
        raise ToolError("the tool cancelled itself")
    return _said(work.result())


async def first(
    equipment: Equipment,
    work: asyncio.Future[Any],
    seconds: float | None,
    *interrupts: asyncio.Future[Any] | None,
) -> type[Exception] | None:
    """Wait until work is done; return None, or `TimedOut` or `Interrupted` if that came first."""
    timer = None if seconds is None else asyncio.ensure_future(_elapse(equipment, seconds))
    waited = {one for one in (work, timer, *interrupts) if one is not None}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if timer is not None:
            timer.cancel()
    if work.done():
        return None
    if any(one is not None and one.done() for one in interrupts):
        return Interrupted
    return TimedOut


async def _elapse(equipment: Equipment, seconds: float) -> None:
    await equipment.sleep(seconds)


async def _work(equipment: Equipment, tool: Tool, call: ToolCall, played: bool) -> Any:
    if equipment.faults is not None:
        await equipment.faults(call)
    run = tool.run
    if played:
        if tool.simulate is None:
            return {"simulated": True, "tool": tool.name, "inputs": call.inputs}
        run = tool.simulate
    try:
        if is_coroutine_function(run):
            return await run(call)
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(equipment.workers, _guarded, run, call)
        return await result if inspect.isawaitable(result) else result
    except SystemExit:
        pass  # it would end the server
    raise _exits()


def _guarded(run: Callable[[ToolCall], Any], call: ToolCall) -> Any:
    try:
        return run(call)
    except StopIteration as error:
        # No future takes one.
        problem = str(error)
    except (SystemExit, KeyboardInterrupt):
        raise _exits() from None
    raise RuntimeError(f"StopIteration: {problem}")


def _exits() -> ToolError:
    return ToolError("the tool tried to end the process", retry=False)


def _said(result: Any) -> bytes:
    """Return a result as it is shown from now on, whatever the tool goes on to do with it."""
    try:
        body = _encode(result)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        body = None
    if body is None:
        raise ToolError(f"the tool returned what is no JSON: {type(result).__name__}", retry=False)
    if len(body) > RESULT_BYTES:
        raise ToolError(
            f"the tool returned {len(body)} bytes, and a result has at most {RESULT_BYTES}",
            retry=False,
        )
    return body


def _forget(work: asyncio.Future[Any]) -> None:
    if not work.cancelled():
        work.exception()  # looked at, so that nothing is said of it


def told(error: BaseException) -> str:
    """Return what an exception says in one short line."""
    if isinstance(error, ToolError):
        text = error.message
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TOLD else text[: _LONGEST_TOLD - 3] + "..."
