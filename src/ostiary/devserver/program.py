"""The vault as a process: runs until SIGTERM or SIGINT, then stops cleanly.

Prints nothing; the command line does, from `on_ready`. Neighbour: `ostiary dev`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from .options import Options
from .server import VaultServer

__all__ = ["serve"]


def serve(options: Options, *, on_ready: Callable[[VaultServer], object] | None = None) -> int:
    """Run a vault until the process is told to stop; return its exit status.

    `on_ready` is called once it listens. Raises an `OstiaryError` when it cannot start. A
    second signal ends the process without waiting.
    """
    # The whole process is the vault's: nothing it creates is for other users.
    os.umask(0o077)
    # The standard loop, whatever the process prefers: the listener shares one buffer between
    # connections, which is sound only where filling it and taking it are one step.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_serve(options, on_ready))


async def _serve(options: Options, on_ready: Callable[[VaultServer], object] | None) -> int:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        told.set()
        loop.remove_signal_handler(number)

    server = VaultServer(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    await server.start()
    try:
        if on_ready is not None:
            on_ready(server)
        await told.wait()
    finally:
        await server.stop()
    return 0
