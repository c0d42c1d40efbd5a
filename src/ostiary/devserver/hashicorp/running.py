"""The small HashiCorp Vault for the length of a `with` block, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from .server import HashicorpServer

__all__ = ["running_hashicorp"]


@contextmanager
def running_hashicorp(*, names: Sequence[str] = (), **settings: Any) -> Generator[HashicorpServer]:
    """Run a server until the block ends; `address` is where it listens.

    Roles, tokens and policies may be added while it runs: they are only ever looked up.
    """
    loop = asyncio.SelectorEventLoop()
    thread = threading.Thread(target=loop.run_forever, name="ostiary-hashicorp", daemon=True)
    thread.start()
    server = HashicorpServer(names=names, **settings)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
