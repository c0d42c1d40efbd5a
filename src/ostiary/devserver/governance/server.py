"""The governance service on its sockets; started beside a vault, on the vault's event loop.

Neighbour: `ostiary.devserver.server` owns one of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

from ..http.domain import HttpDomain
from ..options import GovernanceOptions, Options
from ..vault import Vault
from .commands import Governance
from .endpoints import Endpoints
from .traces import Traces

__all__ = ["GovernanceServer"]


@final
class GovernanceServer:
    """A governance server in `home`; start and stop once."""

    def __init__(
        self, vault: Vault, home: Path, options: Options, governance: GovernanceOptions
    ) -> None:
        self._traces = Traces(home / "governance.db")
        try:
            self.service = Governance(vault, self._traces, governance)
            if options.demo:
                self.service.load_demo()
            self.http = HttpDomain(
                "governance",
                home,
                Endpoints(self.service, options).app,
                self.service.gauges,
                options,
                port=governance.port,
            )
        except BaseException:
            self._traces.close()
            raise

    async def start(self) -> None:
        await self.http.start()

    async def stop(self, grace: float) -> None:
        try:
            await self.http.stop(grace)
        finally:
            self._traces.close()
