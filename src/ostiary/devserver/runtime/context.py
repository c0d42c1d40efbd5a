"""What the groups of the runtime share; they find one another through it.

Everything runs on the thread of one event loop, but for what is handed to `workers`.
Neighbour: `server` makes it.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, final

from starlette.routing import BaseRoute

from ...secret import Secret
from ..clock import Clock, iso
from ..documents import Store
from ..faults import DevserverError
from ..options import Options, RuntimeOptions
from ..vault import Vault

if TYPE_CHECKING:
    from .agents import Agents
    from .events import Events

__all__ = ["Context", "Group"]

G = TypeVar("G")


class Group(Protocol):
    """One group of endpoints, such as the agents or the secrets.

    Made with the context, then `start`, `load_demo` with `--demo`, and at the end `stop`.
    `gauges` are figures for `GET metrics`, by name.
    """

    def __init__(self, context: Context) -> None: ...

    def routes(self) -> list[BaseRoute]: ...

    def gauges(self) -> dict[str, int | float]: ...

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None: ...

    def load_demo(self) -> Awaitable[None] | None: ...


@final
class Context:
    """The surroundings of the groups; `group` finds another one.

    `directory` is the runtime's own below the home, for files. `base_url` is where the
    runtime's API answers, on loopback if it listens there. `token` is what its callers show;
    None when nobody is asked for a key.
    """

    def __init__(
        self,
        *,
        options: Options,
        runtime: RuntimeOptions,
        home: Path,
        vault: Vault,
        store: Store,
        workers: ThreadPoolExecutor,
    ) -> None:
        self.options = options
        self.runtime = runtime
        self.home = home
        self.directory = home / "runtime"
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.vault = vault
        self.store = store
        self.clock: Clock = options.clock
        self.workers = workers
        self.base_url = ""
        self.token: Secret | None = None
        self._groups: dict[type, Any] = {}

    # The two that nearly every group asks for.
    agents: Agents
    events: Events

    def add(self, group: Group) -> None:
        """Make a group known to the others."""
        self._groups[type(group)] = group

    def group(self, kind: type[G]) -> G:
        """Return the one group of a class."""
        found: G | None = self._groups.get(kind)
        if found is None:
            raise DevserverError(f"this runtime has no {kind.__name__}; name it among the groups")
        return found

    def new_id(self, prefix: str = "") -> str:
        """Return an id that was never given before: a UUID, behind `prefix-` if there is one."""
        fresh = str(uuid.uuid4())
        return f"{prefix}-{fresh}" if prefix else fresh

    def now(self) -> str:
        """Return the time as it is written on the wire: UTC, `Z`, milliseconds."""
        return iso(self.clock.wall())

    def moment(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.fromtimestamp(self.clock.wall(), UTC)
